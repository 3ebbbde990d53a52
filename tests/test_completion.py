"""Tab completes: what is answered, and that bash, zsh and fish put it where the cursor is."""

import contextlib
import os
import pty
import re
import select
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from neuroexp.commands import COMMANDS, completion
from neuroexp.commands.completion import SHELLS, answers
from neuroexp.completion import paths, runs
from neuroexp.completion.line import Answer, Line, split, written
from neuroexp.machine import files
from neuroexp.store import ledger
from neuroexp.sweep import launch
from neuroexp.terminal import usage


def after(text: str) -> list[str]:
    """Return what the last word of a command line may become."""
    return [answer.word for answer in answers(split(f"neuroexp {text}"))]


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def old(tmp_path) -> Path:
    """Outputs that MLflow wrote, with five finished runs."""
    with zipfile.ZipFile(Path(__file__).parent / "stores" / "4e279ef.zip") as kept:
        kept.extractall(tmp_path)
    return tmp_path / "outputs"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ex", ["export", "experiment="]),
        ("pla", ["plan"]),
        ("--vers", ["--version"]),
        ("model=mld", ["model=mldcnn", "model=mldrsnet"]),
        ("model=mobilescapenet/E", [f"model=mobilescapenet/E{n}" for n in range(6)]),
        ("-m model=mldcnn,mld", ["model=mldcnn,mldrsnet"]),
        ("-m experiment=protocol/i", ["experiment=protocol/intensity"]),
        ("dataset=", ["dataset=eng", "dataset=hdsemg"]),
        ("recording.du", ["recording.duration_s="]),
        ("dataset=eng recording.rat", ["recording.rat="]),
        ("recording.rat", []),
        ("recording=otb recording.disc", ["recording.discard_channels=", "recording.discard_units="]),
        ("model=nonsense recording.disc", []),
        ("~trainer.callbacks.e", ["~trainer.callbacks.early_stopping."]),
        ("+recording.du", ["+recording.duration_s="]),
        ("trainer.deterministic=", ["trainer.deterministic=true", "trainer.deterministic=false"]),
        ("dataset=eng window=", ["window=100"]),
        ("tim", ["timeout_min="]),
        ("budget.device=ga", ["budget.device=gap9"]),
        ("hydra/laun", ["hydra/launcher="]),
        ("hydra/launcher=b", ["hydra/launcher=basic"]),
        ("hydra.launcher._targ", []),
        ("--cfg ", ["job", "hydra", "all"]),
        ("--resol", ["--resolve"]),
        ("plan --", ["--multirun", "--config-dir", "--config-name", "--help"]),
        ("plan model=mtd", ["model=mtdcnn"]),
        ("cost --dev", ["--devices"]),
        ("cost cha", ["channels="]),
        ("export 1 f", ["forms="]),
        ("export 1 forms=onnx,in", ["forms=onnx,int8"]),
        ("export 1 model=", []),
        ("latency 1 engines=eager,eag", []),
        ("replay 1 speed=", ["speed=1", "speed=max"]),
        ("replay 1 recording=ot", ["recording=otb"]),
        ("replay 1 recording=otb recording.disc", ["recording.discard_channels=", "recording.discard_units="]),
        ("replay 1 model=", []),
        ("report budget/", ["budget/pareto"]),
        ("report recording.sub", ["recording.subject="]),
        ("fetch --only ", []),
        ("completion ", [*SHELLS]),
        ("completion bash ", []),
        ("nonsense", []),
    ],
)
def test_a_word_becomes_what_can_stand_there(text, expected):
    assert after(text) == expected


def test_the_first_word_is_any_command_any_group_or_any_setting():
    found = after("")
    assert {*COMMANDS, "window=", "recording.", "hydra/"} <= set(found)
    assert {f"{group}=" for group, _ in usage.groups() if "/" not in group} <= set(found)
    assert not set(COMMANDS) & set(after("window=20 "))


def test_every_thing_and_setting_of_the_table_is_known():
    for command in COMMANDS.values():
        assert after(f"{command.name} --hel") == ["--help"]
        for name in command.own:
            assert f"{name}=" in after(f"{command.name} {name[:-1]}")


def test_engines_and_forms_are_those_of_exported_decoders():
    from neuroexp.deploy import engines

    assert completion.ENGINES == engines.ENGINES
    assert tuple(engines.FILES) == completion.FORMS


def test_configurations_of_ones_own_are_read_and_never_obeyed(tmp_path):
    (tmp_path / "own" / "recording").mkdir(parents=True)
    (tmp_path / "own" / "recording" / "mine.yaml").write_text("_target_: os.system\ncommand: touch ran\nquiet_s: 1\n")
    (tmp_path / "own" / "evil.yaml").write_text(
        "defaults: [config]\nhydra: {sweeper: {_target_: os.system, command: touch ran}, searchpath: ['pkg://evil']}\n"
    )
    (tmp_path / "evil.py").write_text("open('ran', 'w')")
    assert after("--config-dir o") == ["own/"]
    assert after("--config-dir own --config-name ev") == ["evil"]
    assert after("--config-dir own recording=mi") == ["recording=mine"]
    assert after("--config-dir=nowhere -cd own recording=mi") == ["recording=mine"]  # the last one counts
    assert after("-cd own --config-dir=nowhere recording=mi") == []
    assert after("--config-dir own recording=mine recording.") == ["recording.command=", "recording.quiet_s="]
    assert after("--config-dir own --config-name evil recording.du") == []
    assert after("--config-dir nowhere model=mtd") == ["model=mtdcnn"]
    assert after("--config-dir own recording=mine plan") == []
    (tmp_path / "own" / "recording" / "mine.yaml").write_text("{")
    assert after("--config-dir own recording=mine recording.") == []
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "outputs").exists()


FIRST = "60ba5c49"  # of the newest run of that store


def change(path: Path, statement: str, *values: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as file, file:
        assert file.execute(statement, values).rowcount


def test_run_ids_are_those_of_the_store_the_newest_first(old, monkeypatch, tmp_path):
    found = after("export ")
    assert found[:2] == [FIRST, "5c6116d2"]
    assert len([word for word in found if re.fullmatch("[0-9a-f]{8}", word)]) == 5
    [answer] = answers(split("neuroexp repeat 60"))
    assert answer.word == FIRST
    assert answer.what.startswith("mobilescapenet W100")
    assert after("latency run_id=60") == [f"run_id={FIRST}"]
    assert FIRST in after("replay ")
    assert after(f"export {FIRST} 60") == []  # one run is enough
    assert after(f"export {FIRST}f") == [path.name for path in (old / "artifacts").glob(f"{FIRST}*")]
    change(old / "mlflow.db", "UPDATE runs SET run_uuid = ? WHERE run_uuid LIKE '5c61%'", f"{FIRST}eeee")
    assert len(set(after("export 60"))) == 2  # more letters tell these apart
    change(old / "mlflow.db", "UPDATE runs SET status = 'FAILED' WHERE run_uuid LIKE ?", f"{FIRST}e%")
    change(old / "mlflow.db", "UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid LIKE 'd4%'")
    assert after("export 60") == [FIRST]
    assert after("export d4") == []
    elsewhere = old.rename(tmp_path / "else where")
    assert after("export 6") == []
    assert after(f"export tracking.uri=sqlite:///{elsewhere}/mlflow.db 6".replace("else where", "else\\ where")) == [
        FIRST
    ]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{elsewhere}/mlflow.db")
    assert after("export 6") == [FIRST]


def test_a_store_that_is_no_store_or_is_written_to_answers_nothing_or_what_is_there(old):
    with contextlib.closing(sqlite3.connect(old / "mlflow.db")) as file:
        file.execute("BEGIN IMMEDIATE")
        assert after("export 6") == [FIRST]
    (old / "mlflow.db").write_bytes(b"no database" * 100)
    assert after("export 6") == []
    (old / "mlflow.db").unlink()
    (old / "mlflow.db").mkdir()
    assert after("export 6") == []


def test_runs_of_a_server_are_known_by_what_their_cells_say(old, monkeypatch):
    server = "http://server:5000"
    for number, uri in enumerate((server, server, "http://other:5000")):
        files.write(old / "cells" / "a" / f"k{number}" / ledger.RECORD, record(f"k{number}", number, uri))
    files.write(old / "cells" / "a" / "k4" / ledger.RECORD, record("k4", 9, server) | {"run_id": None})
    (old / "cells" / "a" / "k5").mkdir()
    (old / "cells" / "a" / "k5" / ledger.RECORD).write_text("{")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    assert [answer.word for answer in runs.beginning("")] == ["1" * 8, "0" * 8]
    assert [answer.word for answer in runs.beginning("1")] == ["1" * 8]


def record(key: str, number: int, uri: str) -> dict:
    return {
        "uid": "f" * 32, "key": key, "name": key, "sweep": "s", "began_ms": 1, "ended_ms": number, "status": "FINISHED",
        "parameters": {}, "tags": {}, "dataset": {}, "metrics": [], "scores": {}, "run_id": str(number) * 32, "sent": True,
        "store": {"uri": uri, "artifacts": "", "experiment": "e"},
    }  # fmt: skip


def test_paths_take_the_quotes_that_hydra_wants(tmp_path):
    (tmp_path / "my data" / "deep").mkdir(parents=True)
    (tmp_path / "my data" / "S1 (2).mat").touch()
    (tmp_path / "my data" / ".hidden").touch()
    (tmp_path / "plain.mat").touch()
    (tmp_path / "line\nbreak").touch()
    assert after("recording.path=") == ["recording.path='my data/", "recording.path=plain.mat"]
    assert after("recording.path=my") == ["recording.path='my data/"]
    inside = after("recording.path=my\\ data/")
    assert inside == ["recording.path='my data/S1 (2).mat'", "recording.path='my data/deep/"]
    assert after("recording.path=\\'my\\ data/S") == ["recording.path='my data/S1 (2).mat'"]
    assert after("recording.path=my\\ data/.h") == ["recording.path='my data/.hidden'"]
    assert after("export 1 recording.path=my\\ data/S") == ["recording.path=my data/S1 (2).mat"]  # no word of Hydra's
    assert after("sync ") == ["my data/"]
    assert after("export 1 to=") == ["to=my data/"]
    assert after("recording.path=nowhere/") == []


def test_launches_are_offered_the_newest_first(tmp_path):
    for name in ("2026-01-01_00-00-00-aaaa", "2026-01-02_00-00-00-bbbb", "cells"):
        (tmp_path / "outputs" / name).mkdir(parents=True)
    for path in (tmp_path / "outputs").glob("2026*"):
        (path / launch.LAUNCH).touch()
    assert after("status ") == [
        "outputs/2026-01-02_00-00-00-bbbb", "outputs/2026-01-01_00-00-00-aaaa", "outputs/",
    ]  # fmt: skip
    assert after("status outputs/ce") == ["outputs/cells/"]


TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20)


@given(TEXT)
def test_no_line_is_too_odd_to_be_answered(text):
    line = split(f"neuroexp {text}")
    assert isinstance(line, Line)
    for shell in SHELLS:
        written(Answer("model=a b"), line, shell, text)


@given(st.lists(TEXT, max_size=3), st.text("abc=./: '\"\\()$", max_size=12))
def test_what_is_written_is_read_back_as_the_answer(before, word):
    line = Line(tuple(before), "", False)
    [back] = shlex.split(shlex.quote("neuroexp") + " " + (written(Answer(f"x{word}y"), line, "bash") or "''"))[1:]
    assert back == f"x{word}y"


@given(st.text("ab'()= ", min_size=1, max_size=8))
def test_a_quoted_path_is_the_path_to_hydra(name):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).touch()
        [value] = paths.values(f"{folder}/")
    [override] = OverridesParser.create().parse_overrides([f"x={value}"])
    assert override.value() == f"{folder}/{name}"


@pytest.mark.parametrize(
    ("text", "part", "reply"),
    [
        ("model=mldc", "mldc", "mldcnn "),
        ("model=", "=", "mldcnn "),
        ("model=mldc", "model=mldc", "model=mldcnn "),  # without = among the marks that break words
        ('"model=mldc', '"model=mldc', "model=mldcnn"),  # nothing is put behind an open quotation
        ("model=mldc", "mldcXYZ", "mldcnn "),  # the cursor in the middle of a word
    ],
)
def test_bash_is_given_what_it_replaces(text, part, reply):
    assert written(Answer("model=mldcnn"), split(f"neuroexp {text}"), "bash", part) == reply


def test_completion_is_there_for_three_shells(capsys, monkeypatch):
    for shell in SHELLS:
        monkeypatch.setattr(sys, "argv", ["neuroexp", shell])
        completion.main()
        assert f"neuroexp completion {shell}" in capsys.readouterr().out
    for words in ([], ["tcsh"], ["bash", "a", "b", "c"]):
        monkeypatch.setattr(sys, "argv", ["neuroexp", *words])
        with pytest.raises(SystemExit) as end:
            completion.main()
        assert "completion is there for bash, zsh, fish" in str(end.value)


PROGRAM = """#!/bin/sh
[ "$1" = completion ] && exec "{python}" -m neuroexp "$@"
printf '<%s>\\n' "$@"
"""
READY = "READY-"
STARTS = {  # each reads the line that the help of neuroexp completion names, from the file that it names
    "bash": (
        ["bash", "-i"], ".bashrc", f"PS1={READY}\nPATH=$HOME/bin:$PATH\n" + 'eval "$(neuroexp completion bash)"\n'
    ),
    "zsh": (["zsh", "-i"], ".zshrc", f"PS1={READY}\npath=($HOME/bin $path)\n" + 'eval "$(neuroexp completion zsh)"\n'),
    "fish": (
        ["fish", "-i"], ".config/fish/config.fish",
        f"function fish_prompt; echo {READY}; end\nset -gx PATH $HOME/bin $PATH\nneuroexp completion fish | source\n",
    ),
}  # fmt: skip
PRESSED = {  # what is typed, Tab for every tab in it -> the words that the program then gets
    "model=mldc\t step\t10\n": ["model=mldcnn", "step=10"],
    "repeat 60\t trac\tx\n": ["repeat", FIRST, "tracking.uri=x"],
    "-m model=mldcnn,mtd\t\n": ["-m", "model=mldcnn,mtdcnn"],
    "recording.path=my\tS\t\n": ["recording.path='my data/S1 (2).mat'"],
    "dataset=eng recording.rat\t4\n": ["dataset=eng", "recording.rat=4"],
    "sync my\t\n": ["sync", "my data/"],
}


@pytest.mark.process
@pytest.mark.parametrize("shell", SHELLS)
def test_tab_completes_in_a_terminal(shell, old, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    home = tmp_path / "home"
    words, settings, text = STARTS[shell]
    for path, content in (("bin/neuroexp", PROGRAM.format(python=sys.executable)), (settings, text)):
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_text(content)
    (home / "bin" / "neuroexp").chmod(0o755)
    (tmp_path / "my data").mkdir()
    (tmp_path / "my data" / "S1 (2).mat").touch()
    environment = {name: value for name, value in os.environ.items() if name not in ("ENV", "BASH_ENV", "ZDOTDIR")}
    environment |= {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config"), "TERM": "xterm", "PYTHONSAFEPATH": "1"}
    process, terminal = pty.fork()
    if not process:
        os.chdir(tmp_path)
        os.execvpe(words[0], words, environment)
    try:
        until(terminal, READY)
        for typed, expected in PRESSED.items():
            os.write(terminal, f"neuroexp {typed}".encode())
            until(terminal, "\r\n".join(f"<{word}>" for word in expected))
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(terminal)


def until(terminal: int, words: str) -> None:
    """Wait until a terminal shows these words."""
    shown, end = "", time.monotonic() + 100
    while words not in re.sub(r"\x1b(\[[?0-9;>=]*[a-zA-Z]|[()][A-Z0-9]|[=>]|\][^\x07]*\x07)", "", shown):
        ready, _, _ = select.select([terminal], [], [], max(0.0, end - time.monotonic()))
        assert ready, f"{words} was not shown: {shown}"
        shown += os.read(terminal, 65536).decode(errors="replace")


@pytest.mark.process
def test_bash_completes_what_a_script_asks(tmp_path):
    (tmp_path / "neuroexp").write_text(PROGRAM.format(python=sys.executable))
    (tmp_path / "neuroexp").chmod(0o755)
    script = """eval "$(./neuroexp completion bash)"
COMP_WORDS=(./neuroexp model = mld) COMP_CWORD=3 COMP_LINE='./neuroexp model=mld' COMP_POINT=20
_neuroexp && printf '<%s>' "${COMPREPLY[@]}"; complete -p neuroexp"""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.startswith("<mldcnn ><mldrsnet >complete")
    assert not done.stderr


@pytest.mark.process
def test_an_answer_is_quick_and_imports_neither_mlflow_nor_torch(old):
    for text, heavy in (
        ("neuroexp export 6", {"hydra"}),
        ("neuroexp model=m", {"hydra"}),
        ("neuroexp recording.du", set()),
    ):
        words = [sys.executable, "-X", "importtime", "-m", "neuroexp", "completion", "fish", text]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
        assert done.stdout
        assert not imported & ({"mlflow", "torch", "numpy", "scipy", "matplotlib"} | heavy), text
