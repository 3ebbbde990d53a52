"""What a job leaves in its folder comes back as it was, also from files of earlier versions."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroexp.sweep import outcome
from neuroexp.sweep.outcome import RESULT, Outcome

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
OUTCOMES = st.builds(
    Outcome,
    job=st.integers(0, 10**6),
    name=WORDS,
    log=WORDS,
    report=st.lists(WORDS, max_size=3).map(tuple),
    status=st.sampled_from(["finished", "skipped", "elsewhere", "failed", "killed", "left"]),
    scores=st.dictionaries(WORDS, st.floats(allow_nan=False), max_size=3),
    notes=st.lists(WORDS, max_size=2).map(tuple),
    run_id=st.none() | WORDS,
    **dict.fromkeys(("error", "uri", "link", "unsent", "budget"), WORDS),
    foreseen=st.booleans(),
    seconds=st.floats(0, 1e9),
)
# as versions before this class wrote them
EARLIER = {
    "finished": {
        "job": 3, "name": "mldcnn W20 S10 fold0", "status": "finished", "scores": {"test/f1": 0.5}, "report": ["test/f1"],
        "log": "outputs/x/3/job.log", "uri": "sqlite:////x/mlflow.db", "link": "http://127.0.0.1:5000/#/", "run_id": "ab12",
        "notes": ["x.mat: said"], "budget": "within", "seconds": 12.5,
    },
    "unsent": {
        "job": 0, "name": "a", "status": "finished", "scores": {}, "report": [], "log": "l", "seconds": 1, "unsent": None,
        "run_id": None,
    },
    "failed": {
        "job": 0, "name": "a", "status": "failed", "scores": {}, "report": ["test/f1"], "log": "l", "seconds": 1.0,
        "error": "no such file", "foreseen": True,
    },
    "left": {"job": 1, "name": "b", "status": "left", "scores": {}, "report": ["test/f1"], "log": "l", "seconds": 0},
}  # fmt: skip


@given(there=OUTCOMES)
def test_an_outcome_is_read_back_as_it_was_written(there, tmp_path_factory):
    folder = tmp_path_factory.mktemp("job")
    there.write(folder)
    assert outcome.read(folder / RESULT) == there
    dataclasses.replace(there, unended=True).write(folder)
    assert outcome.read(folder / RESULT) == there


@pytest.mark.parametrize("name", EARLIER)
def test_what_earlier_versions_left_is_read(name, tmp_path):
    facts = EARLIER[name]
    path = tmp_path / RESULT
    path.write_text(json.dumps(facts))
    found = outcome.read(path)
    assert found is not None
    for field in dataclasses.fields(Outcome):
        value = getattr(found, field.name)
        said = facts.get(field.name)
        empty = field.default if field.default is not dataclasses.MISSING else {}
        assert value == (empty if said is None else tuple(said) if isinstance(said, list) else said), field.name


@pytest.mark.parametrize(
    "change", [{"status": "well"}, {"job": 0.5}, {"uri": 1}, {"scores": {"a": "b"}}, {"notes": "a"}, {"foreseen": 1}]
)
def test_what_no_job_wrote_is_not_taken_for_an_outcome(change, tmp_path):
    path = tmp_path / RESULT
    path.write_text(json.dumps(EARLIER["failed"] | change))
    assert outcome.read(path) is None
    path.write_text(json.dumps({key: value for key, value in EARLIER["failed"].items() if key != "error"}))
    assert outcome.read(path) is None  # a failure says why
