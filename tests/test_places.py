"""Folders with odd names: everything works there, or every command says at once why not."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import LAUNCH, SMALL, refused
from hypothesis import given
from hypothesis import strategies as st

from neuroexp.machine import places
from neuroexp.store.tracking import Store

SHORT = (*SMALL, "window=20", "step=50")


ODD = "a 100% %41%2F?#&;@'q\"$x=,[b]{c}\\ é:x😀 (2) -v "


def test_an_odd_folder_is_a_folder_like_any_other(afresh, commands, tmp_path):
    folder = tmp_path / "--b" / ODD
    (folder / "mine" / "model").mkdir(parents=True)
    (folder / "mine" / "model" / "own.yaml").write_text("_target_: neuroexp.models.mldcnn.MLDCNN\n")
    words = (*SHORT, "--config-dir", "mine", "model=own")  # options behind settings
    done = afresh(*words, folder=folder, HOME="/dev/null", TMPDIR="/nowhere")
    assert done.code == 0, done.out
    [result] = done.results()
    [line] = [line for line in done.out.splitlines() if line.startswith("mlflow server")]
    bare = tmp_path / "bin"
    bare.mkdir()
    (bare / "mlflow").write_text(f'#!{sys.executable}\nimport sys; print(sys.argv[-1], end="")')
    (bare / "mlflow").chmod(0o755)
    pasted = subprocess.run(
        ["bash", "-c", line], env=os.environ | {"PATH": f"{bare}:{os.environ['PATH']}"}, capture_output=True, text=True,
        check=True,
    ).stdout  # fmt: skip
    assert pasted == result["uri"] == places.store(folder)
    store = Store(pasted, str(folder / "outputs" / "artifacts"), "scratch")
    [row] = store.runs()
    assert "\nwindow: 20\n" in store.text(row["run_id"], row["name"], "config.yaml")
    assert {path.name for path in folder.iterdir()} == {"mine", "outputs"}
    assert [path.name for path in folder.parent.iterdir()] == [ODD]  # MLflow makes no folder of the address
    run_id = row["run_id"]
    found = commands(
        [
            (folder, LAUNCH, words),
            (folder, LAUNCH, ["status"]),
            (folder, LAUNCH, ["sync"]),
            (folder, LAUNCH, ["plan", *words, "-m"]),
            (folder, LAUNCH, ["cost", "window=20", "channels=64", "outputs=4", "-cd=mine", "model=own"]),
            (folder, LAUNCH, ["repeat", run_id[:8]]),
            (folder, LAUNCH, ["latency", run_id, "engines=eager", "seconds=1", "threads=1"]),
            (folder, LAUNCH, ["replay", f"run_id={run_id}", "seconds=1"]),
            (folder, LAUNCH, ["report"]),
        ]
    )
    for (code, out, _), says in zip(
        found,
        (
            "skipped",
            "neuroexp --config-dir=mine recording.duration_s=12",
            "every finished run in outputs/cells is in MLflow",
            "1 job: 1 finished, 0 to do",
            "own W20 S10",
            "agree bit for bit",
            "one window at a time",
            "replay.png",
            "in MLflow: experiment reports",
        ),
        strict=True,
    ):
        assert code == 0, out
        assert says in out


def deep(folder: Path, levels: int) -> Path:
    """Return a folder below `folder` whose path grows by 240 characters a level."""
    for level in range(levels):
        folder = folder / f"{level}".ljust(240, "x")
    return folder


def test_a_folder_in_which_nothing_can_be_kept_is_refused_by_every_command(commands, tmp_path):
    names = {
        "${window}": "holds ${, which is read as a reference",
        "a::b": "holds ::, which is read as",
        "two\nlines": "control characters",
        "a\x1b[31mred": r"\x1b[31mred",
        "byte\udcff": "bytes that are no text",
    }
    for name in names:
        (tmp_path / name).mkdir()
    long = deep(tmp_path, 8)
    long.mkdir(parents=True)
    wanted = [(tmp_path / name, LAUNCH, SHORT) for name in names]
    others = ["status", "sync", "plan", "cost", "repeat", "export", "latency", "replay", "fetch"]
    wanted += [(tmp_path / "a::b", LAUNCH, [name, "x=1"]) for name in others]
    wanted += [(tmp_path / "a::b", LAUNCH, ["report"])]
    wanted += [
        (long, LAUNCH, SHORT),
        (long, LAUNCH, ["status"]),
        (long, LAUNCH, ["repeat", "abc"]),
    ]
    found = commands(wanted)
    for said, says in zip(found, [*names.values(), *["holds ::"] * 10], strict=False):
        refused(said, says)
        assert "\x1b" not in said[1]
    refused(found[-3], "too long a path for SQLite", "tracking.uri=")
    refused(found[-2], "holds no launch")
    refused(found[-1], "is not there: name the store with tracking.uri=URI")


def test_a_folder_that_was_removed(tmp_path):
    gone = tmp_path / "gone"
    for words in ("", "status"):
        gone.mkdir()
        line = f"rmdir ../gone; exec {shlex.quote(sys.executable)} -m neuroexp {words}"
        done = subprocess.run(["bash", "-c", line], cwd=gone, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "the folder in which this was typed is not there any more: cd to another one\n"


PATHS = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1).filter(lambda name: "/" not in name)


@given(PATHS)
def test_the_address_of_a_store_leads_back_to_its_file_as_sqlalchemy_reads_it(name):
    from sqlalchemy.engine import make_url

    path = Path("/", name, "mlflow.db")
    assert places.database(places.address(path)) == path
    assert make_url(places.address(path)).database == str(path)


@pytest.mark.parametrize(
    "name", ["plain", "with blanks", "100%", "50% off", "a#b", "a'b", "é", "x=y,z", "[a]", "a+b@c;d&e"]
)
def test_the_store_of_a_folder_that_always_worked_keeps_its_address(name):
    assert places.store(f"/home/{name}") == f"sqlite:////home/{name}/outputs/mlflow.db"


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("sqlite:////abs/m.db", "/abs/m.db"),
        ("sqlite:///m.db", "m.db"),
        ("sqlite:////a%20b/m.db?timeout=5", "/a b/m.db"),
        ("sqlite:///:memory:", None),
        ("sqlite://", None),
        ("postgresql+psycopg2://user@host/mlflow", None),
        ("http://host:5000", None),
    ],
)
def test_addresses_that_people_type(uri, path):
    assert places.database(uri) == (None if path is None else Path(path))
