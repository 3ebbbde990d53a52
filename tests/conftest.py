"""Shared recordings and the command line as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from hypothesis import settings

from neuroexp import parser
from neuroexp.fetch import fetch
from neuroexp.recording import Recording
from neuroexp.recordings import hdsemg_simulated

ROOT = Path(__file__).parent.parent
settings.register_profile("neuroexp", deadline=None)  # a loaded machine is no failure
settings.load_profile("neuroexp")
if (
    signal.getsignal(signal.SIGINT) == signal.SIG_IGN
):  # as in the background of a shell, whose children ignore Ctrl-C too
    signal.signal(signal.SIGINT, signal.default_int_handler)
if "PYTEST_XDIST_WORKER" in os.environ:  # several at once: threads that fight over cores take ten times as long
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@dataclass
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    folder: Path

    @property
    def text(self) -> str:
        """The output with its line breaks undone, so that a wrapped sentence can be found."""
        return " ".join(self.out.split())

    def results(self) -> list[dict]:
        """The results of the latest launch."""
        launches = sorted(
            (path for path in (self.folder / "outputs").iterdir() if path.name[:2] == "20"),
            key=lambda path: path.stat().st_mtime_ns,
        )
        found = [*launches[-1].glob("result.json"), *launches[-1].glob("*/result.json")]
        return sorted((json.loads(path.read_text()) for path in found), key=lambda result: result["job"])


@pytest.fixture
def neuroexp(tmp_path: Path) -> Callable[..., Outcome]:
    """Run `python -m neuroexp ...` in an empty folder, as a real process."""

    def run(*words: str, folder: Path = tmp_path, **environment: str) -> Outcome:
        done = subprocess.run(
            [sys.executable, "-m", "neuroexp", *words],
            cwd=folder,
            env=os.environ | {"PYTHONWARNINGS": "default", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, folder)

    return run


COMMANDS = """
import json, os, sys, time, traceback
import importlib
from neuroexp import tracking, training  # what takes seconds, once for all

done = []
for number, (folder, module, words, environment) in enumerate(json.loads(sys.stdin.read())):
    began = time.monotonic()
    main = importlib.import_module(module).main
    if os.fork() == 0:
        out = os.open(os.path.join(sys.argv[1], f"{number}.txt"), os.O_CREAT | os.O_WRONLY)
        os.dup2(out, 1), os.dup2(out, 2)
        sys.argv, code = [module, *words], 0
        os.environ.update(environment)
        try:
            os.chdir(folder)
            main()
        except SystemExit as end:
            code = end.code
            if isinstance(code, str):
                print(code, file=sys.stderr)
                code = 1
        except BaseException:
            traceback.print_exc()
            code = 70
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code or 0)
    code = os.waitstatus_to_exitcode(os.wait()[1])
    with open(os.path.join(sys.argv[1], f"{number}.txt"), encoding="utf-8") as file:
        done.append([code, file.read(), time.monotonic() - began])
print(json.dumps(done))
"""
LAUNCH = "neuroexp.__main__"
Said = tuple[int, str, float]  # exit code, output, seconds


@pytest.fixture
def commands(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Said]]:
    """Run commands one after another, each in a process forked from one that has imported all.

    Each is a folder, a module, words and, if need be, environment.
    """

    def run(wanted: Sequence[tuple], **environment: str) -> list[Said]:
        full = [(str(folder), module, list(words), *(rest or [{}])) for folder, module, words, *rest in wanted]
        line = [sys.executable, "-c", COMMANDS, str(tmp_path_factory.mktemp("said"))]
        done = subprocess.run(
            line, input=json.dumps(full), env=os.environ | environment, capture_output=True, text=True, timeout=900,
            check=False, cwd="/",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return [(code, out, seconds) for code, out, seconds in json.loads(done.stdout.splitlines()[-1])]

    return run


@pytest.fixture
def several(tmp_path: Path, commands: Callable[..., list[Said]]) -> Callable[[Sequence[Sequence[str]]], list[Outcome]]:
    """Run several short launches one after another, in one folder."""

    def run(wanted: Sequence[Sequence[str]]) -> list[Outcome]:
        said = commands([(tmp_path, LAUNCH, words) for words in wanted], PYTHONWARNINGS="default")
        return [Outcome(code, out, tmp_path) for code, out, _ in said]

    return run


def refused(said: Said, *words: str) -> None:
    """Check that a command ended at once with one sentence that holds `words`."""
    code, out, seconds = said
    assert code == 1, out
    assert len(out.strip().splitlines()) == 1, out
    assert seconds < 60, out  # MLflow alone would try for two minutes; the rest is a machine that is busy
    for word in words:
        assert word in out


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put tests that start processes first: what is left for one worker at the end is short."""
    items.sort(key=lambda item: item.path.stem not in STARTING)


STARTING = {
    "test_browser",
    "test_cli",
    "test_cli_eng",
    "test_device",
    "test_disks",
    "test_export",
    "test_launchers",
    "test_places",
    "test_replay",
    "test_survival",
}

# A short, strong recording: the smallest that all splits can cut.
SMALL = ("recording.duration_s=12", "recording.units=4", "trainer=smoke")


@pytest.fixture(scope="session")
def simulated() -> Recording:
    """The default simulated recording."""
    return hdsemg_simulated.read()


@pytest.fixture(scope="module")
def one_parser() -> Iterator[None]:
    """Parse the MATLAB files of a module's tests in one process, where each would take a start of its own."""
    with parser.kept():
        yield


@pytest.fixture(scope="session")
def sample_recording() -> Path:
    """The openhdemg sample recording, downloaded once; tests of it are skipped offline."""
    folder = Path(os.environ.get("NEUROEXP_DATA", ROOT / "data"))
    try:
        return fetch(folder)
    except RuntimeError as error:
        pytest.skip(f"the sample recording cannot be downloaded: {error}")


def cell(*values: object, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Return a MATLAB cell array."""
    cells = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):
        cells[place] = value
    return cells.reshape(shape or (len(values), 1))


def write_otb(path: Path, recording: Recording, **changes: object) -> Path:
    """Write a recording the way OTBioLab+ exports it; `changes` replace variables."""
    n_samples, n_channels = recording.signal.shape
    spikes = np.zeros((n_samples, len(recording.spike_trains)), dtype=np.float32)
    for unit, train in enumerate(recording.spike_trains):
        spikes[train, unit] = 1
    columns = [recording.signal, spikes]
    texts = [f"Muscle - AUX 3 - GR08MM1305 ({i + 1})[uV]" for i in range(n_channels)]
    prefixes = ["", "1 - 4 - "]
    texts += [f"{prefixes[i % 2]}Decomposition of Muscle - GR08MM1305 ({i + 1})[a.u]" for i in range(spikes.shape[1])]
    columns.append(spikes)
    texts += [f"Source for decomposition of Muscle - GR08MM1305 ({i + 1})[a.u]" for i in range(spikes.shape[1])]
    if recording.force is not None:
        columns.append(recording.force[:, None])
        texts.append("acquired data[ %(MVC)]")
    contents = {
        "Data": cell(np.concatenate(columns, axis=1), shape=(1, 1)),
        "Description": cell(*texts),
        "SamplingFrequency": np.array([[recording.rate_hz]]),
        "OTBFile": "unknown",
    } | changes
    scipy.io.savemat(path, {name: value for name, value in contents.items() if value is not None}, format="5")
    return path


def write_demuse(path: Path, recording: Recording, **changes: object) -> Path:
    """Write a recording the way DEMUSE stores its results; `changes` replace variables."""
    assert recording.grid is not None
    grid = recording.grid
    signals = np.empty(grid.shape, dtype=object)
    for row, column in np.ndindex(grid.shape):
        channel = grid[row, column]
        signals[row, column] = np.empty((0, 0)) if channel < 0 else recording.signal[None, :, channel].astype(float)
    contents = {
        "SIG": signals,
        "MUPulses": cell(*(train[None] + 1 for train in recording.spike_trains), shape=(1, -1)),
        "fsamp": recording.rate_hz,
        "discardChannelsVec": np.zeros(grid.shape),
        "ref_signal": recording.force[None] if recording.force is not None else np.empty((0, 0)),
        "startSIGInt": 2.0,
        "stopSIGInt": 8.0,
        "IED": 8,
    } | changes
    scipy.io.savemat(path, {name: value for name, value in contents.items() if value is not None}, format="5")
    return path
