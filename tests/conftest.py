"""Shared recordings and the command line as a user runs it."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import ready_store
import scipy.io
from filelock import FileLock
from forked import READY, WARNINGS, Forks, Running
from hypothesis import settings

from neuroexp.machine import garbage

garbage.seldom()  # until everything is imported

from neuroexp.data.recording import Recording  # noqa: E402
from neuroexp.downloads.sample import fetch  # noqa: E402
from neuroexp.matlab import parser  # noqa: E402
from neuroexp.recordings import hdsemg_simulated  # noqa: E402

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.pop("NEUROEXP_DATA", ROOT / "data"))  # where no command of a test looks unless it is told to
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


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the workers of a session share."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def once(shared: Path) -> Callable[[str, Callable[[Path], None]], Path]:
    """Have one of the session's workers make a folder, however many need it; return it."""

    def made(name: str, make: Callable[[Path], None]) -> Path:
        folder = shared / name
        with FileLock(f"{folder}.lock"):
            if not (folder / "made").exists():
                shutil.rmtree(folder, ignore_errors=True)  # of one that failed
                folder.mkdir()
                make(folder)
                (folder / "made").touch()
        return folder

    return made


@pytest.fixture(scope="session", autouse=True)
def _ready_tables(shared: Path) -> None:
    ready_store.install(shared / READY)


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Iterator[Forks]:
    """What runs commands in processes forked from one that has imported everything."""
    forks = Forks(tmp_path_factory.mktemp("said"), shared)
    yield forks
    forks.close()


@pytest.fixture
def neuroexp(tmp_path: Path, forks: Forks) -> Callable[..., Outcome]:
    """Run `python -m neuroexp ...` in an empty folder, in a forked process."""

    def run(*words: str, folder: Path = tmp_path, **environment: str) -> Outcome:
        done, _ = forks.run(folder, LAUNCH, words, WARNINGS | environment)
        return Outcome(done.returncode, done.stdout, folder)

    return run


@pytest.fixture
def begin(forks: Forks) -> Callable[..., Running]:
    """Start `python -m neuroexp ...` in a folder, in a forked process, and leave it running."""

    def run(folder: Path, *words: str, **environment: str) -> Running:
        return forks.start(folder, LAUNCH, words, environment)

    return run


@pytest.fixture
def afresh(tmp_path: Path) -> Callable[..., Outcome]:
    """Run `python -m neuroexp ...` in an empty folder, in an interpreter of its own, as a user does."""

    def run(*words: str, folder: Path = tmp_path, **environment: str) -> Outcome:
        done = subprocess.run(
            [sys.executable, "-m", "neuroexp", *words],
            cwd=folder,
            env=os.environ | WARNINGS | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, folder)

    return run


@pytest.fixture
def typed(forks: Forks) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `neuroexp COMMAND ...` in a folder, in a forked process; stdout and stderr come apart."""

    def run(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return forks.run(folder, LAUNCH, words, environment, apart=True)[0]

    return run


LAUNCH = "neuroexp.__main__"
Said = tuple[int, str, float]  # exit code, output, seconds


@pytest.fixture
def commands(forks: Forks) -> Callable[..., list[Said]]:
    """Run commands one after another, each in a forked process.

    Each is a folder, a module, words and, if need be, environment.
    """

    def run(wanted: Sequence[tuple], **environment: str) -> list[Said]:
        said = []
        for folder, module, words, *rest in wanted:
            done, seconds = forks.run(folder, module, words, environment | (rest or [{}])[0])
            said.append((done.returncode, done.stdout, seconds))
        return said

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


MARKS = {  # of every test that needs one of these fixtures
    "process": {"forks", "afresh", "one_parser"},
    "slow": {"prepared", "models", "cut_off"},
    "network": {"sample_recording"},
    "slurm": {"cluster"},
    "postgresql": {"postgres"},
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their fixtures, and put those first that start processes: what one worker is left with is short."""
    for item in items:
        for mark, fixtures in MARKS.items():
            if fixtures & set(getattr(item, "fixturenames", ())):
                item.add_marker(mark)
    items.sort(key=lambda item: item.get_closest_marker("process") is None)


def pytest_collection_finish() -> None:
    """Look for garbage as usual from here on, but not among what was imported."""
    gc.collect()
    gc.freeze()
    garbage.usual()


def pytest_configure(config: pytest.Config) -> None:
    """Let no test start Python where only those are wanted that start no process."""
    starts_workers = bool(getattr(config.option, "numprocesses", None)) and not hasattr(config, "workerinput")
    if "not process" not in config.option.markexpr or starts_workers:
        return

    def refuse(event: str, words: tuple) -> None:
        if event == "subprocess.Popen" and words[0] == sys.executable:
            raise AssertionError(f"a test that starts {words[1]} is to be marked: @pytest.mark.process")

    sys.addaudithook(refuse)


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
    try:
        return fetch(DATA)
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
