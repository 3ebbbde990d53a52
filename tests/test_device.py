"""The benchmark of a GPU: without one it measures everything in small, and whatever ends it, what it has measured stays."""

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import device_card, device_gather, device_mldrsnet, device_prediction, device_trainings, device_worker
from benchmarks.device import supervise
from benchmarks.device_alone import configured
from benchmarks.device_here import Here, Variant
from benchmarks.device_record import Record
from benchmarks.device_steps import DECAY, EAGER, GRAPH, LR, Training, settings, tensors
from benchmarks.device_together import Side, Stacked
from neuroexp.data import segments, splits
from neuroexp.data.fold import Fold
from neuroexp.models.mldcnn import MLDCNN
from neuroexp.models.mldrsnet import MLDRSNet
from neuroexp.models.mtdcnn import MTDCNN

ROOT = Path(__file__).parent.parent
SECTIONS = {
    module.NAME for module in (device_card, device_mldrsnet, device_prediction, device_trainings, device_gather)
}
CPU = torch.device("cpu")
# what a machine with a GPU may lack, as if it were not installed, for every process that is started
WITHOUT = """
from importlib import metadata
from importlib.machinery import PathFinder

ABSENT = {"hydra", "omegaconf", "mlflow", "fvcore", "filelock", "rich", "matplotlib"}
find, named = PathFinder.find_spec, metadata.Distribution.from_name

def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in ABSENT else find(name, path, target)

def from_name(name):
    if name.partition("-")[0] in ABSENT:
        raise metadata.PackageNotFoundError(name)
    return named(name)

PathFinder.find_spec, metadata.Distribution.from_name = staticmethod(find_spec), staticmethod(from_name)
"""


def command(folder: Path, *words: str) -> tuple[list[str], dict[str, str]]:
    """Return the command as it is typed in a checkout, and its environment."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}
    return [sys.executable, "benchmarks/device.py", "--to", str(folder), *words], environment


@pytest.mark.process
def test_without_a_gpu_and_without_much_else_every_section_is_measured_in_small(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(WITHOUT)
    line, environment = command(tmp_path / "out", "--minutes", "9")
    environment["PYTHONPATH"] = str(tmp_path)
    hidden = [sys.executable, "-c", "import mlflow"]
    assert subprocess.run(hidden, env=environment, capture_output=True, check=False).returncode == 1
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode, done.stderr) == (0, "")

    [kept] = (tmp_path / "out").glob("*.json")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {kept.name, kept.with_suffix(".md").name}
    content, tables = json.loads(kept.read_text()), kept.with_suffix(".md").read_text()
    assert content["ended"] == "everything was measured that the time allowed"
    assert "device.py --to" in content["command"]
    assert content["machine"]["packages"]["torch"] == torch.__version__
    assert {"card", "processor", "python", "cuda", "revision"} <= content["machine"].keys()
    measured = {row["section"] for row in content["rows"] if row["figures"]}
    assert measured == SECTIONS
    assert len({(row["section"], str(row["variant"])) for row in content["rows"]}) == len(content["rows"])
    foreseen = ("there is no GPU", "No module named 'filelock'", device_worker.OVER)
    for row in content["rows"]:
        assert bool(row["figures"]) != row.get("failed", "").endswith(foreseen), row
        shown = row.get("failed") or f"{next(value for value in row['figures'].values() if value is not None):.4g}"
        assert shown in done.stdout
        assert shown in tables

    def figures(section, **variant):
        rows = (row for row in content["rows"] if row["section"] == section)
        return [row["figures"] for row in rows if row["figures"] and variant.items() <= row["variant"].items()]

    assert all(found["against_eager_fp32"] == 0 for found in figures("mldrsnet", how=device_mldrsnet.PRODUCT))
    assert all(found["largest"] == 0 for found in figures("prediction", precision="fp32"))
    assert all(0 < found["largest"] < 0.2 < found["spread"] * 2 for found in figures("prediction", precision="bf16"))
    assert figures("trainings", how=device_trainings.PROCESSES, together=2)
    assert figures("trainings", how=device_trainings.LOOP, together=1)
    assert figures("trainings", how=EAGER, together=2)


@pytest.mark.process
def test_a_killed_command_leaves_whole_files_and_no_process(tmp_path):
    line, environment = command(tmp_path)
    process = subprocess.Popen(line, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    rows, deadline = [], time.monotonic() + 300
    while len(rows) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
        for path in tmp_path.glob("*.json"):
            rows = json.loads(path.read_text())["rows"]  # whole whenever it is read
    [worker] = [int(word) for word in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    process.kill()
    process.wait()
    [kept] = tmp_path.glob("*.json")
    assert json.loads(kept.read_text())["rows"][:2] == rows[:2]
    assert "TFLOP/s" in kept.with_suffix(".md").read_text()
    while time.monotonic() < deadline and Path(f"/proc/{worker}").exists():
        time.sleep(0.05)
    assert not Path(f"/proc/{worker}").exists()


WORKER = """
import os, signal, sys, time
from pathlib import Path
from benchmarks.device_record import Record

record = Record(Path(sys.argv[1]))
record.section("s", "A section", {"name": "name"})
for name in "abc":
    if record.has("s", {"name": name}):
        continue
    record.note(measuring={"section": "s", "variant": {"name": name}, "until": time.time() + 0.2})
    if name == "a":
        os.kill(os.getpid(), signal.SIGSEGV)
    if name == "b":
        time.sleep(600)
    record.add("s", {"name": name}, {"figure": 1.0})
"""


@pytest.mark.process
def test_what_dies_or_never_ends_is_a_row_and_the_next_goes_on(tmp_path, capfd):
    path = tmp_path / "record.json"
    Record(path).note(minutes=1)
    words = [sys.executable, "-c", WORKER, str(path)]
    assert supervise(words, path, time.time() + 300) == "everything was measured that the time allowed"
    rows = {row["variant"]["name"]: row.get("failed") for row in Record(path).content["rows"]}
    assert rows == {
        "a": "the process that measured it was ended by SIGSEGV",
        "b": "not finished in its time",
        "c": None,
    }
    assert "SIGSEGV" in capfd.readouterr().out
    broken = [sys.executable, "-c", "raise SystemExit(3)"]
    assert supervise(broken, path, time.time() + 300).endswith("exit code 3")
    assert supervise([sys.executable, "-c", "import time; time.sleep(600)"], path, time.time()) == "the time was over"


@pytest.mark.process
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--minutes", "0"), "0 is no number of minutes above 0"),
        (("--minutes", "many"), "many is no number of minutes above 0"),
        (("--minutes", "nan"), "nan is no number of minutes above 0"),
        (("--to", "/proc/nowhere"), "--to /proc/nowhere: nothing can be written there"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, words, sentence):
    line, environment = command(tmp_path, *words)
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def section(*variants):
    """Return a section of these variants; one that is an error is raised by the section itself."""

    def each(here):
        for name, measure in variants:
            if isinstance(measure, Exception):
                raise measure
            yield Variant({"name": name}, measure, needs_s=0)

    return SimpleNamespace(NAME="s", TITLE="A section", COLUMNS={"name": "name", "figure": "figure"}, variants=each)


def test_a_variant_that_fails_is_a_row_with_its_sentence(tmp_path, capsys):
    def bad():
        raise RuntimeError("CUDA out of memory.\nTried to allocate 2 GiB")

    record = Record(tmp_path / "record.json")
    parts = section(
        ("fine", lambda: {"figure": 2.5}), ("bad", bad), ("late", lambda: {"figure": 1.0}), ("", OSError("no"))
    )
    record.section(parts.NAME, parts.TITLE, parts.COLUMNS)
    device_worker._section(Here(CPU, record), parts, time.time() + 60, last=False)
    rows = Record(record.path).content["rows"]
    assert [row["figures"] for row in rows] == [{"figure": 2.5}, {}, {"figure": 1.0}, {}]
    assert [row.get("failed") for row in rows] == [None, "RuntimeError: CUDA out of memory.", None, "OSError: no"]
    assert [len(line.split()) for line in capsys.readouterr().out.splitlines()] == [0, 2, 2, 2, 6, 2, 2]


def test_what_a_share_of_the_time_leaves_out_is_measured_at_the_end_or_noted(tmp_path):
    record = Record(tmp_path / "record.json")
    parts = section(("one", lambda: {"figure": 1.0}))
    record.section(parts.NAME, parts.TITLE, parts.COLUMNS)
    device_worker._section(Here(CPU, record), parts, time.time() - 1, last=False)
    assert record.content["rows"] == []
    device_worker._section(Here(CPU, record), parts, time.time() - 1, last=True)
    assert [row["failed"] for row in record.content["rows"]] == [device_worker.OVER]


def test_an_error_of_the_card_asks_for_a_new_process_and_others_do_not():
    unrecorded = ValueError("this network cannot be recorded")
    unrecorded.__cause__ = RuntimeError("CUDA error: operation not permitted when stream is capturing")
    assert not device_worker.harmless(unrecorded)
    assert not device_worker.harmless(RuntimeError("CUDA error: an illegal memory access was encountered"))
    assert device_worker.harmless(ValueError("there is no GPU"))
    assert device_worker.harmless(ModuleNotFoundError("No module named 'triton'"))
    assert device_worker.harmless(torch._dynamo.exc.Unsupported("graph break"))


@hypothesis.settings(max_examples=30)
@given(st.dictionaries(st.text(min_size=1, max_size=5), st.none() | st.integers() | st.floats() | st.text(max_size=9)))
def test_a_record_is_json_and_a_table_whatever_is_measured(tmp_path_factory, figures):
    path = tmp_path_factory.mktemp("record") / "record.json"
    record = Record(path)
    record.section("s", "A section", {"name": "name"} | {key: key for key in figures})
    line = record.add("s", {"name": "one"}, figures)

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    [row] = json.loads(path.read_text(), parse_constant=refuse)["rows"]
    assert Record(path).has("s", {"name": "one"})
    assert set(row["figures"]) == set(figures)
    assert line.split()[0] == "one"
    assert path.with_suffix(".md").is_file()


def folds(count: int) -> list[Fold]:
    """Return folds of one recording of noise."""
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((4000, 3)).astype(np.float32)
    starts = segments.window_starts(4000, 16, 10)
    labels = (rng.random((len(starts), 2)) < 0.2).astype(np.float32)
    parts = [splits.random(starts, 16, splits.Timeline(4000, 2048.0), fold, seed=0) for fold in range(count)]
    return [Fold(signal, starts, 16, labels, part, 8, 0) for part in parts]


@pytest.mark.parametrize("build", [MLDCNN, MTDCNN])
def test_stacked_networks_train_as_each_would_alone(build):
    def made(seed):
        torch.manual_seed(seed)
        return build(3, 16, 2, dropout=0.0)

    parts = folds(2)
    side = Side(parts, 3, 8)
    batches = list(itertools.islice(side.batches(), 5))
    stacked = Stacked([made(seed) for seed in range(3)])
    with settings("fp32", CPU):
        together = Training(stacked, stacked.tensors(), side.gather, batches[0], EAGER).losses(iter(batches), 5)
    length = len(parts[0].signal)
    for number in range(3):
        fold, network = parts[number % 2], made(number)
        own = [(starts[number] - number % 2 * length, labels[number]) for starts, labels in batches]
        for starts, _ in own:  # training windows of its own fold, each once
            assert np.isin(starts, fold.starts[fold.split.train]).all()
        with settings("fp32", CPU):
            alone = Training(network, tensors(network), fold.gather, own[0], EAGER).losses(iter(own), 5)
        torch.testing.assert_close(together[:, number], alone, rtol=1e-4, atol=1e-5)
        weight = next(network.parameters())
        torch.testing.assert_close(stacked.tensors()[0][number], weight, rtol=1e-3, atol=1e-6)


def test_a_training_starts_again_from_the_same_weights_and_says_what_it_lacks():
    [fold] = folds(1)
    torch.manual_seed(0)
    network = MLDRSNet(3, 16, 2)
    batch = fold.starts[:8], fold.labels[:8]
    with settings("fp32", CPU, deterministic=True):
        assert torch.are_deterministic_algorithms_enabled()
        training = Training(network, tensors(network), fold.gather, batch, EAGER)
        first = training.losses(itertools.repeat(batch), 3)
        training.reset()
        torch.testing.assert_close(training.losses(itertools.repeat(batch), 3), first, rtol=0, atol=0)
        assert first[-1] < first[0]
        with pytest.raises(ValueError, match="there is no GPU"):
            Training(network, tensors(network), fold.gather, batch, GRAPH)
    assert not torch.are_deterministic_algorithms_enabled()
    with pytest.raises(ValueError, match="tf32"), settings("tf32", CPU):
        pass
    with settings("bf16", CPU):
        assert network(fold.gather(batch[0])).dtype == torch.bfloat16


def test_figures_rest_on_the_published_network_and_the_configured_training():
    network = MLDRSNet(64, 20, 15)
    assert device_mldrsnet.macs(network, torch.zeros(1, 64, 20)) == pytest.approx(729e6, rel=0.01)
    assert network.training
    optimizer = configured("optimizer/adam.yaml")
    assert (optimizer["lr"], optimizer["weight_decay"]) == (LR, DECAY)
    assert configured("trainer/paper.yaml")["max_epochs"] == device_trainings.EPOCHS
