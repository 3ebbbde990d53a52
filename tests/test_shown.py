"""Text out of files, stores and overrides never commands a terminal."""

import json
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from conftest import LAUNCH, SMALL
from hypothesis import given
from hypothesis import strategies as st
from test_display import row

from neuroexp.machine.command import command
from neuroexp.sweep import launch, summary
from neuroexp.terminal.shown import lines, plain

EVIL = "a\x1b[2J\x1b]0;t\x07b\x9b31m\u202ec\u200bd\r\ne\ud800"
SAID = r"a\x1b[2J\x1b]0;t\x07b\x9b31m\u202ec\u200bd\r\ne\ud800"


@given(st.text(st.characters(codec=None)), st.integers(1, 60))
def test_what_is_shown_is_one_line_of_visible_characters(text, longest):
    shown = plain(text, longest)
    assert len(shown) <= longest
    assert all(unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in shown)
    shown.encode()
    assert plain(shown, longest) == shown


@given(
    st.text(
        st.characters(
            categories=["L", "N", "P", "S", "Mn"], exclude_characters="\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0"
        ),
        max_size=200,
    )
)
def test_what_people_write_stays_as_it_is(text):
    assert plain(text) == text
    assert lines(f"{text}\n{text}") == f"{text}\n{text}"


def test_what_is_too_long_keeps_its_beginning_and_end():
    assert plain("a" * 300 + "b" * 300, 11) == "aaaaa…bbbbb"
    assert plain("x" * 11, 11) == "x" * 11


def test_a_foreign_text_is_written_out():
    assert plain(EVIL) == SAID


def harmless(out: str) -> None:
    assert all(c.isprintable() or c == "\n" for c in out), repr(out)


def test_tables_of_a_launch(capsys):
    evil = EVIL.replace("\ud800", "")
    words = dict.fromkeys(("name", "error", "log", "link", "unsent", "budget", "run_id"), evil)
    summary.summary([row(status, uri=f"sqlite:////{evil}", **words) for status in ("finished", "failed")])
    out = capsys.readouterr().out
    harmless(out)
    assert r"\x1b[2J" in out
    assert r"--backend-store-uri 'sqlite:////a\x1b[2J" in out


def test_status_of_a_launch_whose_files_were_tampered_with(typed, tmp_path):
    place = tmp_path / "outputs" / "2026-01-01_00-00-00-abcd"
    (place / "1").mkdir(parents=True)
    launch.write(
        place,
        {"command": [EVIL, "a b"], "jobs": 2, "host": EVIL, "name": EVIL, "cluster": False, "began": 0},
        launch.LAUNCH,
    )
    row("failed", name=EVIL, error=EVIL, log=EVIL).write(place)
    running = {"job": 1, "name": EVIL, "log": EVIL, "began": 0, "uri": "", "artifacts": "", "experiment": EVIL}
    launch.write(place / "1", running, launch.RUNNING)
    done = typed(tmp_path, "status")
    assert done.returncode == 0, done.stderr
    harmless(done.stdout + done.stderr)
    assert SAID[:20] in done.stdout


def test_names_and_sentences_out_of_what_was_typed(commands, tmp_path):
    path = "recording.path='gone\x1b[31m\u202e.mat'"
    found = commands(
        [
            (tmp_path, LAUNCH, ["recording=otb", path, *SMALL[2:]]),
            (tmp_path, LAUNCH, ["model=\x1b[31m"]),
            (tmp_path, LAUNCH, ["win\x1b[31mdow=2"]),
            (tmp_path, LAUNCH, ["plan", "recording=otb", path]),
            (tmp_path, LAUNCH, ["repeat", "\x1b[31m"]),
            (tmp_path, LAUNCH, ["sync", "\x1b[31m"]),
            (tmp_path, LAUNCH, ["status", "\x1b[31m"]),
            (tmp_path, LAUNCH, ["report", "tracking.uri=sqlite:///\x1b[31m.db"]),
        ]
    )
    for code, out, _ in found:
        assert code == 1, out
        harmless(out)
        assert "Traceback" not in out
        assert r"\x1b[31m" in out
    [result] = Path(tmp_path, "outputs").glob("*/result.json")
    harmless(json.loads(result.read_text())["name"])


@pytest.mark.process
def test_a_reader_that_has_read_enough_is_no_error(tmp_path):
    line = f"{sys.executable} -m neuroexp cost --devices | head -1"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stderr == ""
    full = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m neuroexp cost --devices > /dev/full"], capture_output=True, text=True,
        cwd=tmp_path, check=False,
    )  # fmt: skip
    assert full.returncode == 1
    assert len(full.stderr.splitlines()) == 1
    assert "no room was given" in full.stderr


@pytest.mark.parametrize("error", [ValueError(EVIL), SystemExit(EVIL), OSError(EVIL)])
def test_what_a_command_ends_with(error):
    @command
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as said:
        main()
    harmless(str(said.value))
