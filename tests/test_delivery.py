"""What finished runs leave for a store: sent once, to their own store, with their own files; nothing else is touched."""

import contextlib
import json
import shutil
import socket
import sqlite3
import sys
import time
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from experiments.cells import Source
from neuroexp.commands import sync
from neuroexp.machine import files
from neuroexp.store import finished_run, job, ledger, provenance, rivals, runfiles, tracking
from neuroexp.store.delivery import current, deliver
from neuroexp.store.ledger import Cell
from neuroexp.store.open_run import Run, new_record
from neuroexp.store.tracking import Store, StoreError
from neuroexp.sweep import attempt
from neuroexp.sweep.outcome import Outcome

CONFIG = {
    **{group: {} for group in runfiles.GROUPS},
    **dict.fromkeys(runfiles.SETTINGS, 0),
    "window": 20,
    "model": {"_target_": "a.Network", "width": 3},
}


class Outputs:
    """A folder in which somebody works, as `./outputs` of a launch."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.uri = f"sqlite:///{folder}/outputs/mlflow.db"
        self.artifacts = str(folder / "outputs" / "artifacts")
        self.ledger = folder / "outputs" / "cells"

    def store(self) -> Store:
        return Store(self.uri, self.artifacts, "scratch")

    def finish(self, key: str, store: Store | None = None, **changes) -> tuple[Cell, dict]:
        """A cell as a job leaves it that has finished while its store was away, or in `store`."""
        cell = Cell(self.ledger, self.uri, "scratch", key)
        record = new_record(key, f"run {key}", "sweep", {"window": 20, "fold": 0, "seed": 0}, {})
        run = Run(store, record, cell.files)
        run.text(OmegaConf.to_yaml(OmegaConf.create(CONFIG)), "config.yaml")
        run.text(json.dumps(provenance.environment()), "environment.json")
        torch.save({"weight": torch.ones(3)}, cell.files / "model.pt")
        run.tags({runfiles.CHECKSUM: runfiles.sha256(cell.files / "model.pt")})
        run.metrics({"test/f1": 0.5})
        where = {"uri": self.uri, "artifacts": self.artifacts, "experiment": "scratch"}
        record = run.end("FINISHED") | {"scores": {"test/f1": 0.5}, "store": where} | changes
        cell.publish(record)
        return cell, record

    def lose(self) -> None:
        """Have the store be a new one."""
        with contextlib.closing(sqlite3.connect(self.uri.removeprefix("sqlite:///"))) as database:
            for table in ("tags", "params", "metrics", "latest_metrics", "runs"):
                database.execute(f"DELETE FROM {table}")
            database.commit()


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """One store for the tests of this module: to make one takes seconds."""
    made = Outputs(tmp_path_factory.mktemp("work"))
    made.store()
    return made


@pytest.fixture
def sent(outputs, monkeypatch, capsys):
    """Type `neuroexp sync`; return what it says."""
    monkeypatch.chdir(outputs.folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(sys, "argv", ["sync"])

    def run() -> str:
        said = ""
        try:
            sync.main()
        except SystemExit as end:
            said = str(end.code)
        return capsys.readouterr().out + said

    yield run
    shutil.rmtree(outputs.ledger, ignore_errors=True)


@pytest.fixture
def secret(tmp_path):
    folder = tmp_path / "me" / ".ssh"
    folder.mkdir(parents=True)
    (folder / "id").write_text("secret")
    return folder


def contents(store: Store, run_id: str) -> set[str]:
    return {entry.path for entry in store.client.list_artifacts(run_id)}


@pytest.mark.slow
def test_sync_touches_no_folder_that_its_cell_did_not_make(outputs, sent, secret):
    sweep = "2026-01-01_00-00-00-abcd"
    launch = outputs.folder / "outputs" / sweep
    (launch / "1" / "files").mkdir(parents=True)
    (launch / "1" / "files" / "config.yaml").write_text("of an earlier version")
    (launch / "2").mkdir()
    (launch / "2" / "files").symlink_to(secret)
    names = {
        "named": str(secret),
        "climbing": f"{launch}/1/../../../../me/.ssh",
        "outputs": str(outputs.folder / "outputs"),
        "linked": f"{launch}/2/files",
        "replaced": None,
        "within": None,
        "cell": None,
        "earlier": f"{launch}/1/files",
    }
    cells = {}
    for name, folder in names.items():
        cells[name], _ = outputs.finish(name, files=folder, sweep=sweep)
        if name not in ("within", "cell"):
            shutil.rmtree(cells[name].files)
    cells["replaced"].files.symlink_to(secret)
    (cells["within"].files / "key").symlink_to(secret / "id")
    (cells["within"].files / "home").symlink_to(secret)
    whole = cells["cell"].folder
    elsewhere = secret.parent / "cell"
    whole.rename(elsewhere)  # a whole cell that is only linked from the ledger
    whole.symlink_to(elsewhere)

    said = sent()

    assert f"{len(names) - 1} finished runs wait" in said
    assert (secret / "id").read_text() == "secret"
    assert (elsewhere / "files" / "config.yaml").is_file()
    store = outputs.store()
    found = {row["name"].removeprefix("run "): contents(store, row["run_id"]) for row in store.runs()}
    assert found.pop("within") == {"config.yaml", "environment.json", "model.pt"}
    assert found.pop("earlier") == {"config.yaml"}
    assert found == {name: set() for name in ("named", "climbing", "outputs", "linked", "replaced")}
    assert not (launch / "1" / "files").exists()
    assert outputs.store().experiment_id
    assert "is in MLflow" in sent()


def test_sync_sends_to_the_store_of_the_cell_and_makes_nothing_elsewhere(outputs, sent, tmp_path):
    foreign = tmp_path / "theirs" / "mlflow.db"
    for uri in (f"sqlite:///{foreign}", "http://127.0.0.1:9"):
        cell, record = outputs.finish("moved")
        cell.publish(record | {"store": record["store"] | {"uri": uri}})
        said = sent()
        assert f"it names {uri}, and lies in the folder of another store" in said
        assert not cell.record()["sent"]
        shutil.rmtree(outputs.ledger)
    notes = tmp_path / "notes.db"
    notes.write_bytes(b"")
    for path in (foreign, notes):  # a ledger that was made up as a whole
        untrue = Outputs(outputs.folder)
        untrue.uri = f"sqlite:///{path}"
        cell, record = untrue.finish("made up")
        assert f"{path} holds no MLflow store, and none is made there" in sent()
        assert not cell.record()["sent"]
        shutil.rmtree(outputs.ledger)
    assert not foreign.parent.exists()
    assert notes.read_bytes() == b""


def valid(key: str) -> dict:
    record = new_record(key, "name", "sweep", {}, {})
    return record | {"status": "FINISHED", "ended_ms": 1, "scores": {}, "metrics": [["a", 0.5, 1, 0]]}


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_record_is_a_whole_one_or_none(tmp_path, data):
    cell = Cell.at(tmp_path / "cells" / "scratch-000000" / "key")
    whole = valid("key")
    path = cell.folder / "record.json"
    files.write(path, whole)
    assert cell.record() == whole
    name = data.draw(st.sampled_from(sorted(ledger.NEEDED)))
    change = data.draw(st.one_of(st.just("lost"), st.just("cut"), ANY.map(json.dumps), st.binary(max_size=30)))
    true = path.read_bytes()
    if change == "lost":
        record = dict(whole)
        del record[name]
        path.write_text(json.dumps(record))
    elif change == "cut":
        path.write_bytes(true[: data.draw(st.integers(0, len(true) - 1))])
    else:
        path.write_bytes(change if isinstance(change, bytes) else change.encode())
    assert cell.record() is None
    assert ledger.waiting(tmp_path / "cells") == []
    assert ledger.damaged(tmp_path / "cells") == [path]
    other = data.draw(ANY)
    path.write_text(json.dumps(whole | {name: other}))
    read = cell.record()
    assert read is None or json.dumps(read) == json.dumps(whole | {name: other})
    path.write_text(json.dumps(valid("another cell's")))
    assert cell.record() is None


@pytest.mark.parametrize("damage", ["[1]", "null", "{}", "\xff\xfe", "[" * 100_000, "folder"])
def test_a_damaged_record_is_repaired_from_the_store(outputs, sent, damage):
    store = outputs.store()
    name = f"damaged {abs(hash(damage))}"
    cell, record = outputs.finish(name, store)
    run_id = deliver(cell, record, store)
    path = cell.folder / "record.json"
    path.unlink()
    if damage == "folder":
        (path / "within").mkdir(parents=True)
    else:
        path.write_text(damage, encoding="latin-1")
    assert f"{path} is damaged" in sent()
    assert current(cell, store) is None
    assert store.finished(name)["run_id"] == run_id
    assert not path.exists()
    cell.publish(valid(cell.folder.name))
    assert cell.record() is not None
    assert f"{path} is damaged" not in sent()


def test_names_and_locks_of_a_ledger_may_be_anything(tmp_path):
    cell = Cell.at(tmp_path / "cells" / "scratch-000000" / "key")
    for place in (cell.folder / "lock", tmp_path / "cells" / "id", tmp_path / "cells" / "id.lock"):
        for damage in ("folder", "link", b"\xff\xfe", b"no name"):
            files.discard(place)
            place.parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "thesis").write_text("words")
            if damage == "folder":
                (place / "within").mkdir(parents=True)
            elif damage == "link":
                place.symlink_to(tmp_path / "thesis")
            else:
                place.write_bytes(damage)
            with cell.claim() as mine:
                assert mine
                assert cell.covers(cell.claimant())
                with Cell.at(cell.folder).claim(wait_s=0) as other:
                    assert not other
            assert (tmp_path / "thesis").read_text() == "words"
    # a claim that names any other file does not open it
    for claimant in (f"x:{socket.gethostname()}:{tmp_path / 'thesis'}", "x", "", "::", "a:b:\0"):
        assert ledger.claimed(claimant) is None
    assert (tmp_path / "thesis").read_text() == "words"


def test_a_lost_store_gets_the_files_back_or_the_run_is_left_out_by_name(tmp_path, monkeypatch):
    work = Outputs(tmp_path)
    store = work.store()
    ids = {}
    for key in ("kept", "bare"):
        cell, record = work.finish(key, store)
        ids[key] = deliver(cell, record, store)
    work.lose()
    shutil.rmtree(Path(work.artifacts) / ids["bare"])
    store = work.store()
    for key, old in ids.copy().items():
        cell = Cell(work.ledger, work.uri, "scratch", key)
        record = current(cell, store)
        assert (record["run_id"], record["sent"], record["was"]) == (None, False, old)
        with monkeypatch.context() as patch:
            patch.setattr(Store, "fill", away)  # it ends in the middle
            with pytest.raises(StoreError):
                deliver(cell, record, store)
        ids[key] = deliver(cell, current(cell, store), store)
    assert contents(store, ids["kept"]) == {"config.yaml", "environment.json", "model.pt"}
    found = finished_run.read(work.uri, ids["kept"])
    assert runfiles.configuration(found["config.yaml"], "kept")["window"] == 20
    assert torch.equal(finished_run.weights(work.uri, found)["weight"], torch.ones(3))
    with pytest.raises(
        ValueError, match=r"^run bare \(\w+\) is without its files, config.yaml is not there: delete the"
    ):
        finished_run.read(work.uri, ids["bare"])
    source = Source(work.uri, work.artifacts)
    assert list(source.runs("scratch")["name"]) == ["run kept"]
    [said] = source.left_out.values()
    assert said.startswith("run bare (")
    # files that go later, or are damaged where they lie
    folder = Path(work.artifacts) / ids["kept"] / "artifacts"
    for name, content, says in (
        ("config.yaml", "window: 20\nstep", "is damaged, it is no YAML"),
        ("config.yaml", "[1, 2]", "is damaged, it holds no settings"),
        ("config.yaml", "window: 20\n", "is damaged, it lacks step"),
        ("config.yaml", "a: &a [1]\nb: *a\n", "is damaged, it is no YAML"),
        ("config.yaml", "\xff", "is damaged, it is no text"),
        ("config.yaml", None, "is without its files, config.yaml is a folder"),
    ):
        (folder / name).unlink()
        if content is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_text(content, encoding="latin-1")
        source = Source(work.uri, work.artifacts)
        assert source.runs("scratch").empty
        assert any(says in why and "run kept" in why for why in source.left_out.values()), source.left_out
    (folder / "model.pt").write_bytes((folder / "model.pt").read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"^model.pt of the run run kept is damaged, its checksum is another one"):
        finished_run.weights(work.uri, found)
    with pytest.raises(ValueError, match=r"it cannot be read"):
        finished_run.weights(work.uri, found | {"tags": {}})
    (folder / "environment.json").write_text("[]")
    assert source.machine("scratch", ids["kept"]) == "an unknown machine"


def away(self, *words, **named):
    raise StoreError("it went away")


def begin(work: Outputs, key: str, store: Store, tmp_path: Path) -> tuple[job.Job, Cell, Run]:
    tracking = {"uri": work.uri, "artifacts": work.artifacts, "ledger": str(work.ledger)}
    config = {"output": str(tmp_path), "report": ["test/f1"], "tracking": tracking, "experiment": "scratch"}
    this = job.Job(config, 0, "name", "sweep", {}, (), {}, bar=False, parallel=False)
    cell = Cell(work.ledger, work.uri, "scratch", key)
    begun = attempt._begin(this, Outcome.of(this), cell, store, mine=True)
    return this, cell, begun


@pytest.mark.parametrize("rival", ["finished", "training", "gone", "finished at once"])
def test_of_a_suspended_run_and_its_rival_one_counts(outputs, tmp_path, rival, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: where)  # three machines with one store
    store, key = outputs.store(), f"contested {rival}"
    there = [Outputs(tmp_path / name) for name in ("a", "b")]
    for work in there:
        work.uri, work.artifacts = outputs.uri, outputs.artifacts
    where = "a"
    first, cell, run = begin(there[0], key, store, tmp_path)
    run._ended.set()  # suspended: it beats no more
    store.tag(run.run_id, tracking.ALIVE, str(time.time() - 700))
    where = "b"
    second, other, its = begin(there[1], key, store, tmp_path)
    assert store.status(run.run_id) == "KILLED"
    if rival == "finished":
        assert attempt._end(second, Outcome.of(second), other, store, its, {"test/f1": 0.5}).status == "finished"
    elif rival == "gone":
        store.tag(its.run_id, tracking.ALIVE, "no time")
    elif rival == "finished at once":  # after the first has asked, before it has finished
        monkeypatch.setattr(attempt, "taken", lambda *_: None)
        assert attempt._end(second, Outcome.of(second), other, store, its, {"test/f1": 0.5}).status == "finished"
    where = "a"
    result = attempt._end(first, Outcome.of(first), cell, store, run, {"test/f1": 0.5})
    expected = {"training": "elsewhere", "gone": "finished"}.get(rival, "skipped")
    assert result.status == expected
    if rival == "training":
        assert attempt._end(second, Outcome.of(second), other, store, its, {"test/f1": 0.5}).status == "finished"
    done = [row for row in store.runs() if row["tag.neuroexp.key"] == key]
    assert [row["run_id"] for row in done] == [run.run_id if rival == "gone" else its.run_id]
    assert not cell.files.exists()
    loser = its if rival == "gone" else run
    assert store.status(loser.run_id) == "KILLED"
    assert store.client.get_run(loser.run_id).data.tags["error"]


def test_what_was_finished_while_the_store_was_away_does_not_count_twice(outputs, sent):
    store = outputs.store()
    other = Outputs(outputs.folder / "another machine")
    other.uri, other.artifacts = outputs.uri, outputs.artifacts
    cell, _ = outputs.finish("twice")  # its store was away
    there, its = other.finish("twice", store)
    first = deliver(there, its, store)
    assert first in sent()
    [row] = [row for row in store.runs() if row["tag.neuroexp.key"] == "twice"]
    assert row["run_id"] == first
    assert cell.record() | {"sent": True} == cell.record()
    assert not cell.files.exists()


def test_a_run_that_was_deleted_while_it_was_trained_is_sent_as_a_new_one(outputs):
    store = outputs.store()
    cell, record = outputs.finish("deleted", store)
    deleted = record["run_id"]
    store.delete(deleted)
    assert deliver(cell, record, store) != deleted
    assert store.finished("deleted")["run_id"] == cell.record()["run_id"]
    shutil.rmtree(outputs.ledger)


def test_a_run_goes_on_beating_after_a_request_that_failed(outputs, tmp_path, monkeypatch):
    class Shaky(Store):
        """A store that is away once."""

        failed = 0

        def tag(self, run_id: str, name: str, value: str) -> None:
            if self.failed < 2:
                self.failed += 1
                raise StoreError("it is away")
            super().tag(run_id, name, value)

    monkeypatch.setenv("NEUROEXP_STALE_S", "1")
    store = Shaky(outputs.uri, outputs.artifacts, "scratch")
    run = Run(store, new_record("beating", "name", "sweep", {}, {}), tmp_path / "files")
    run.problem = "it is away"  # as after a metric that could not be sent
    deadline = time.monotonic() + 60
    while tracking.ALIVE not in store.client.get_run(run.run_id).data.tags:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert store.failed == 2
    assert run.problem is None
    run.end("KILLED")
    assert run.send()
    for said in ("soon", "-1", "nan"):
        monkeypatch.setenv("NEUROEXP_STALE_S", said)
        with pytest.raises(ValueError, match=f"NEUROEXP_STALE_S={said} is no number of seconds above 0"):
            tracking.stale_s()


def test_signs_of_life_may_be_anything():
    for said, lives in (("x", False), ("nan", False), ("inf", False), ("-1", False), (str(time.time()), True)):
        assert rivals._beats({tracking.ALIVE: said}) is lives
    assert not rivals._beats({})
