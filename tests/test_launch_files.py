"""The small files of a launch, damaged in every way: what can be read is shown, the rest is named, and nothing raises."""

import json
import os
import socket
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_delivery import ANY

from neuroexp.commands import status
from neuroexp.machine import files
from neuroexp.store.ledger import Cell
from neuroexp.sweep import launch, leftovers, progress, summary

SWEEP = "2026-01-01_00-00-00-abcd"
FACTS = {
    "name": SWEEP,
    "jobs": 3,
    "cluster": False,
    "began": 1.0,
    "host": "another",
    "command": ["-m", "window=20,60,140"],
}
DONE = {
    "job": 0,
    "name": "mldcnn W20",
    "status": "finished",
    "scores": {"test/f1": 0.5},
    "report": ["test/f1"],
    "log": "x",
}
RUNS = {"job": 1, "name": "mldcnn W60", "began": 1.0, "log": "x", "uri": "u", "artifacts": "a", "experiment": "e"}
FILES = ("launch.json", "0/result.json", "0/running.json", "1/running.json", "1/progress.json")


@pytest.fixture
def launched(tmp_path):
    """A launch of three jobs: one is done, one runs, one has not begun."""
    folder = tmp_path / "outputs" / SWEEP

    def write():
        files.discard(folder)
        for name, facts in zip(
            FILES, (FACTS, DONE | {"seconds": 3.0}, RUNS | {"job": 0}, RUNS, {"epoch": 2, "epochs": 9}), strict=True
        ):
            files.write(folder / name, facts)
        return folder

    return write


@pytest.fixture
def shown(monkeypatch, capsys):
    def show(folder) -> str:
        monkeypatch.setattr(sys, "argv", ["status", str(folder)])
        said = ""
        try:
            status.main()
        except SystemExit as end:
            said = str(end.code)
        return capsys.readouterr().out + said

    return show


DAMAGES = [
    "[1]",
    "null",
    "{}",
    "1",
    '"a"',
    "[" * 100_000,
    "{",
    "",
    "\xff\xfe",
    '{"job": "0"}',
    '{"status": null}',
    "folder",
]


@pytest.mark.parametrize("name", FILES)
def test_status_names_what_is_damaged_and_shows_the_rest(launched, shown, name):
    whole = shown(launched())
    assert "1 of 3 jobs: 1 finished" in whole
    assert "mldcnn W60: running for" in whole
    for damage in DAMAGES:
        path = launched() / name
        if damage == "folder":
            path.unlink()
            (path / "within").mkdir(parents=True)
        else:
            path.write_text(damage, encoding="latin-1")
        said = shown(path.parents[name.count("/")])
        if name != "1/progress.json":
            assert f"{path} is damaged" in " ".join(said.split()), damage
        if name.startswith("1/"):
            assert "1 of 3 jobs: 1 finished" in said
        files.write(path, {"job": 5})  # what a job writes afterwards takes its place
        assert json.loads(path.read_text()) == {"job": 5}


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_file_says_the_bar_and_the_table_can_be_drawn(launched, data, capsys):
    folder = launched()
    for name in FILES:
        facts = json.loads((folder / name).read_text())
        for key in data.draw(st.sets(st.sampled_from(sorted(facts)), max_size=2)):
            facts[key] = data.draw(ANY)
        (folder / name).write_text(json.dumps(facts))
    rows, now = launch.results(folder), [facts for _, facts in launch.unended(folder)]
    progress.line(3, rows, now)
    if rows:
        summary.summary(rows)
    launch.facts(folder)
    capsys.readouterr()


def test_the_next_launch_clears_up_after_a_killed_one_and_touches_nothing_else(tmp_path):
    outputs = tmp_path / "outputs"
    key = "0123456789abcdef0123"
    cells = {name: Cell.at(outputs / "cells" / "scratch-000000" / key.replace("0", name)) for name in "abc"}
    foreign = outputs / "cells" / "my-notes" / "of today"
    for folder in (*(cell.folder for cell in cells.values()), foreign):
        (folder / "files").mkdir(parents=True)
        for name in ("files/config.yaml", "record.123.part", "last.ckpt"):
            (folder / name).touch()
    for cell in cells.values():
        (cell.folder / "lock").touch()
    (tmp_path / "mine").mkdir()
    linked = outputs / "cells" / "scratch-000000" / key
    linked.symlink_to(foreign)
    dead, alive, cluster, other = (outputs / f"2026-01-01_00-00-0{number}-abcd" for number in range(4))
    for folder in (dead, alive, cluster, other):
        (folder / "0" / "files").mkdir(parents=True)
        for name in (f"0/result.{2**22 + 1}.part", f"0/result.{os.getpid()}.part", "0/files/x", "alive"):
            (folder / name).touch()
        facts = FACTS | {"host": "another" if folder == other else socket.gethostname(), "cluster": folder == cluster}
        files.write(folder / "launch.json", facts)
    before = {path for path in outputs.rglob("*") if path.is_file()}
    with cells["b"].claim() as mine, files.lock(alive / "alive"):
        assert mine
        (cells["b"].folder / "record.9.part").touch()
        leftovers.clear(outputs / "cells")
        assert cells["b"].files.is_dir()
        assert (cells["b"].folder / "record.9.part").exists()
    gone = before - {path for path in outputs.rglob("*") if path.is_file()}
    killed = {cells[name].folder / file for name in "ac" for file in ("files/config.yaml", "record.123.part")}
    claimed = {cells["b"].folder / "record.123.part"}
    assert gone == killed | claimed | {dead / "0" / f"result.{2**22 + 1}.part", dead / "0" / "files" / "x"}
