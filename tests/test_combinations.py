"""Choices that do not go together are refused by name, and all others compose."""

import itertools
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module

from neuroexp.settings import combinations
from neuroexp.settings.combinations import GIVEN, RECORDINGS, SPLITS

CONF = Path(__file__).parent.parent / "conf"


def judged(*words: str) -> str:
    """Return the sentence with which a command line is refused; empty when it is not."""
    with initialize_config_module("neuroexp.conf", version_base="1.3"):
        config = compose("config", list(words))
    try:
        combinations.check(config, {word.partition("=")[0] for word in words})
    except ValueError as error:
        return str(error)
    return ""


def test_every_recording_and_split_has_its_dataset():
    for group, table in (("recording", RECORDINGS), ("split", SPLITS)):
        there = {path.stem for path in (CONF / group).glob("*.yaml")}
        assert there == set(itertools.chain(*table.values()))


@pytest.mark.parametrize("dataset", RECORDINGS)
def test_a_recording_goes_with_its_dataset_alone(dataset):
    for recording in itertools.chain(*RECORDINGS.values()):
        said = judged(f"dataset={dataset}", f"recording={recording}", *split_for(dataset, recording))
        if recording in RECORDINGS[dataset]:
            assert said == "", recording
        else:
            assert said.startswith(f"recording={recording} is for dataset=")
            assert f"dataset={dataset} takes recording={RECORDINGS[dataset][0]}, " in said


def split_for(dataset: str, recording: str) -> list[str]:
    if recording == "hdsemg_crossed" and dataset == "hdsemg":
        return ["split=contraction", "fold=1"]
    return ["split=given"] if recording in GIVEN and dataset == "eng" else []


@pytest.mark.parametrize("dataset", SPLITS)
def test_a_split_goes_with_its_dataset_alone(dataset):
    for split in itertools.chain(*SPLITS.values()):
        recording = ["recording=signatures"] if dataset == "eng" and split == "given" else []
        said = judged(f"dataset={dataset}", f"split={split}", *recording)
        assert (said == "") == (split in SPLITS[dataset]), said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["label=window"], "label=... is for dataset=hdsemg"),
        (["label.tolerance=3", "label=centre"], "is for dataset=hdsemg"),
        (["step=10"], "so there is no step"),
        (["split=given"], "recording=eng_simulated takes split=stimulus or random"),
        (["recording=signatures"], "recording=signatures does not know the stimulus of a CAP; take split=given"),
        (["recording=eng_rats"], "recording=eng_rats takes whole rats for testing; take split=given"),
        (["recording=signatures", "split=given", "dataset.preprocessing.clip_uv=9"], "which were cut elsewhere"),
        (["recording=signatures", "split=given", "dataset.test_share=0.5"], "where the recording says what tests"),
        (["task=decomposition"], "dataset=eng takes task=classification"),
        (["recording=signatures", "split=random"], ""),
        (["recording=eng_rats", "split=random"], ""),
        (["window=60"], ""),
    ],
)
def test_what_says_nothing_of_a_cuff_is_refused(words, says):
    said = judged("dataset=eng", *words)
    assert says in said
    assert (said == "") == (says == "")


def test_every_experiment_goes_together():
    for path in sorted((CONF / "experiment").rglob("*.yaml")):
        assert judged(f"experiment={path.relative_to(CONF / 'experiment').with_suffix('')}") == "", path


def test_of_what_is_not_ours_nothing_is_known():
    own = [f"{group}._target_=mine.of_my_own" for group in ("recording", "split")]
    assert judged("dataset=eng", *own) == ""
    assert judged("dataset=eng", "dataset._target_=mine.dataset", "recording=otb", "label=window") == ""
