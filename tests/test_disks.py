"""Disks that are full or read-only, folders and stores that are none, options anywhere: one sentence, and nothing is lost."""

import errno
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import LAUNCH, SMALL, refused, write_otb

from neuroexp.machine import places
from neuroexp.recordings import hdsemg_simulated
from neuroexp.store import tracking
from neuroexp.store.ledger import Cell
from neuroexp.store.tracking import Store, StoreError

SHORT = (*SMALL, "window=20", "step=50")


@pytest.fixture
def mounted() -> Iterator:
    """Mount something on a folder until the end of a test; needs the rights to do so."""
    done = []

    def mount(folder: Path, *words: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        tried = subprocess.run(["mount", *words, str(folder)], capture_output=True, text=True, check=False)
        if tried.returncode:
            pytest.skip(f"no disk can be made here: {tried.stderr.strip()}")
        done.append(folder)

    yield mount
    for folder in reversed(done):
        subprocess.run(["umount", str(folder)], check=True)


def read_only(mounted, folder: Path) -> None:
    mounted(folder, "--bind", str(folder))
    subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)


def test_outputs_that_cannot_be_written_are_told_before_anything_starts(commands, mounted, tmp_path):
    for name in ("file", "dangling", "loop", "cells", "text", "folder", "cell", "ro", "rostore", "full"):
        (tmp_path / name).mkdir()
    (tmp_path / "file" / "outputs").touch()
    (tmp_path / "dangling" / "outputs").symlink_to("nowhere/else")
    (tmp_path / "loop" / "outputs").symlink_to("outputs")
    (tmp_path / "cells" / "outputs").mkdir()
    (tmp_path / "cells" / "outputs" / "cells").touch()
    (tmp_path / "text" / "outputs").mkdir()
    (tmp_path / "text" / "outputs" / "mlflow.db").write_text(
        "my notes on the runs of last week, of which some went well"
    )
    (tmp_path / "folder" / "outputs" / "mlflow.db").mkdir(parents=True)
    ledger = tmp_path / "cell" / "outputs" / "cells"
    ledger.mkdir(parents=True)
    Cell(ledger, places.store(tmp_path / "cell"), "scratch", "key").folder.parent.touch()
    wanted = [
        ("file", "outputs is a file, where a folder is needed: move it away"),
        ("dangling", "outputs is a link that leads to nothing"),
        ("loop", "outputs is a link that leads to nothing"),
        ("cells", "outputs/cells is a file, where a folder is needed"),
        ("text", "mlflow.db is no SQLite database: move it away"),
        ("folder", "mlflow.db is a folder, where a file is needed"),
        ("cell", "is a file, where a folder is needed"),
        ("ro", "ro/outputs"),
        ("rostore", "rostore/outputs/mlflow.db cannot be written, its disk is read-only"),
        ("full", "is full, 0.0 MB are left: make room, then the same command goes on"),
    ]
    read_only(mounted, tmp_path / "ro" / "outputs")
    store = tmp_path / "rostore" / "outputs" / "mlflow.db"
    store.parent.mkdir()
    Store(places.address(store), str(store.parent / "artifacts"), "scratch")
    kept = store.stat().st_mtime_ns
    mount = subprocess.run(["mount", "--bind", str(store), str(store)], check=True)
    subprocess.run(["mount", "-o", "remount,ro,bind", str(store)], check=True)
    mounted(tmp_path / "full", "-t", "tmpfs", "-o", "size=32k", "tmpfs")
    try:
        found = commands([(tmp_path / name, LAUNCH, SHORT) for name, _ in wanted])
        sweeps = commands([(tmp_path / name, LAUNCH, ["-m", *SHORT]) for name in ("dangling", "text", "full")])
        reading = commands(
            [
                (tmp_path / "rostore", LAUNCH, ["repeat", "abc"]),
                (tmp_path / "text", LAUNCH, ["latency", "abc"]),
            ]
        )
    finally:
        subprocess.run(["umount", str(store)], check=True)
    for said, (_, says) in zip(found, wanted, strict=True):
        refused(said, says)
    for said, says in zip(sweeps, ("leads to nothing", "is no SQLite database", "is full"), strict=True):
        refused(said, says)
    refused(reading[0], "its disk is read-only")
    refused(reading[1], "is no SQLite database")
    assert store.stat().st_mtime_ns == kept
    assert (tmp_path / "text" / "outputs" / "mlflow.db").read_text().startswith("my notes")
    assert mount.returncode == 0


def test_a_disk_that_fills_up_costs_nothing_that_is_finished(commands, mounted, tmp_path):
    folder = tmp_path / "disk"
    mounted(folder, "-t", "tmpfs", "-o", "size=8m", "tmpfs")
    [(code, out, _)] = commands([(folder, LAUNCH, SHORT)])
    assert code == 0, out
    filler = folder / "filler"

    def fill(leave: int) -> None:
        left = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
        filler.write_bytes(bytes(max(0, left - leave)))

    other = (*SHORT, "seed=1")
    for leave in (150_000, 600_000):  # too little for checkpoints, and for what a run keeps at its end
        fill(leave)
        [said, after] = commands([(folder, LAUNCH, other), (folder, LAUNCH, ["-m", *other])])
        refused(
            (*said[:2], 0), f"the disk of {folder}", "is full", "MB are left: make room, then the same command goes on"
        )
        assert after[0] == 1
        assert "Traceback" not in after[1]
        assert "is full" in after[1]
        filler.unlink()
    again, new = commands([(folder, LAUNCH, SHORT), (folder, LAUNCH, other)])
    assert (again[0], new[0]) == (0, 0), again[1] + new[1]
    assert "skipped" in again[1]
    assert "finished" in new[1]


def test_a_store_of_another_mlflow_says_which_command_helps(tmp_path):
    made, path = tmp_path / "mlflow.db", tmp_path / "it's mine" / "mlflow.db"
    Store(places.address(made), str(tmp_path / "artifacts"), "scratch")
    path.parent.mkdir()
    shutil.copy(made, path)
    uri = places.address(path)
    with sqlite3.connect(path) as file:
        file.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    with pytest.raises(
        StoreError, match="is of another version than MLflow .* here: .*`mlflow db upgrade 'sqlite:"
    ) as said:
        tracking.experiments(uri)
    assert "\n" not in str(said.value)


OPTIONS = [
    (LAUNCH, ["window=20", "--config-dir", "nowhere"], "nowhere' not found"),
    (LAUNCH, ["window=20", "--config-name", "nothing"], "--config-name=nothing: no folder"),
    (LAUNCH, ["window=20", "-cd"], "argument --config-dir/-cd: expected one argument"),
    (LAUNCH, ["window=20", "--nonsense"], "unrecognized arguments: --nonsense"),
    (LAUNCH, ["window=20", "--run", "-m"], "--multirun and --run do not go together"),
    (LAUNCH, ["-m", "window=20", "--cfg", "job"], "leave -m out, and give each setting one value"),
    (LAUNCH, ["--info", "all", "window=20,60", "-m"], "leave -m out, and give each setting one value"),
    (LAUNCH, ["--cfg", "job", "window=20,60"], "window"),
    (LAUNCH, ["--experimental-rerun", "config.pickle"], "neuroexp repeat RUN_ID trains a recorded run again"),
    (LAUNCH, ["trainer.devices=2"], "trainer.devices=2: a job trains on one device"),
    (LAUNCH, ["trainer.devices=[0,1]"], "trainer.devices=[0, 1]: a job trains on one device"),
    (LAUNCH, ["+trainer.num_nodes=2"], "trainer.num_nodes=2: a job trains on one device"),
    (LAUNCH, ["plan", "window=20", "--config-dir", "nowhere"], "--config-dir=nowhere is no folder"),
    (LAUNCH, ["plan", "window=20", "--config-name", "nothing", "-m"], "--config-name=nothing: no folder"),
    (LAUNCH, ["plan", "window=20", "--cfg", "job"], "--cfg is an option of a training or sweep alone"),
    (LAUNCH, ["plan", "trainer.devices=2"], "trainer.devices=2: a job trains on one device"),
    (LAUNCH, ["cost", "window=20", "--info"], "--info is an option of a training or sweep alone"),
    (LAUNCH, ["cost", "window=20", "-cd"], "expected one argument"),
]


def test_options_behind_settings_work_or_are_one_sentence(commands, tmp_path):
    (tmp_path / "my, own [x]").mkdir()
    (tmp_path / "my, own [x]" / "mine.yaml").write_text("defaults: [config, _self_]\nwindow: 23\n")
    works = [
        (tmp_path, LAUNCH, ["window=20", "--cfg", "job", "model=mtdcnn"]),
        (
            tmp_path,
            LAUNCH,
            ["step=20", "-cd", "my, own [x]", "seed=3", "--config-name", "mine", "--cfg", "job", "--resolve"],
        ),
        (
            tmp_path,
            LAUNCH,
            ["cost", "channels=8", "-cd", "my, own [x]", "outputs=2", "--config-name", "mine"],
        ),
    ]
    found = commands([*works, *((tmp_path, module, words) for module, words, _ in OPTIONS)])
    for (code, out, _), says in zip(found, ("mtdcnn", "window: 23", "W23"), strict=False):
        assert code == 0, out
        assert says in out
    assert f"uri: {places.store(tmp_path)}" in found[1][1]
    for said, (_, _, says) in zip(found[len(works) :], OPTIONS, strict=True):
        refused(said, says)


def test_with_chdir_paths_count_from_where_the_command_was_typed(commands, tmp_path):
    write_otb(tmp_path / "mine.mat", hdsemg_simulated.read(duration_s=12, units=4))
    words = [
        "recording=otb",
        "recording.path=mine.mat",
        "trainer=smoke",
        "window=20",
        "step=50",
        "tracking.ledger=cells",
    ]
    [single, swept] = commands(
        [(tmp_path, LAUNCH, [*words, "hydra.job.chdir=true"]), (tmp_path, LAUNCH, ["-m", *words])]
    )
    assert single[0] == swept[0] == 0, single[1] + swept[1]
    assert "finished" in single[1]
    assert "skipped" in swept[1]  # the same cell
    assert len(list((tmp_path / "cells").glob("*/*/record.json"))) == 1


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "make room, then the same command goes on"),
        (errno.EDQUOT, "a quota, or the disk of another folder"),
        (errno.EROFS, "its disk is read-only"),
        (errno.EACCES, "change its permissions"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_what_the_system_refuses_is_told_with_the_place(number, says, tmp_path):
    error = OSError(number, os.strerror(number), str(tmp_path / "file"))
    for said in (places.trouble(error), places.trouble(OSError(number, os.strerror(number)), tmp_path)):
        assert str(tmp_path) in said
        assert says in said
    try:
        try:
            raise error
        except OSError as cause:
            raise RuntimeError("PytorchStreamWriter failed") from cause
    except RuntimeError as wrapped:
        told = places.told(wrapped)
    assert told is None if number == errno.EACCES else says in told
