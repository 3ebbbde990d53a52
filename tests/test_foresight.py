"""What needs more memory than there is, is refused before the memory is taken, with what would fit."""

import functools
import random
import re

import numpy as np
import pytest
import torch
from test_architecture import compose_with, options
from torch import nn

from neuroexp.data import preparation
from neuroexp.data.fold import Fold
from neuroexp.data.splits import Split
from neuroexp.machine import foreign, memory
from neuroexp.recordings import eng_simulated
from neuroexp.settings import callables
from neuroexp.training import foresight

GB = 10**9


@pytest.fixture
def small(monkeypatch):
    """A machine of 2 GB, of which a process's own take some."""
    monkeypatch.setattr(memory, "physical_bytes", lambda: 2 * GB)


class Wide(nn.Module):
    """A network that keeps a map of 64 channels."""

    def __init__(self, n_channels: int, window: int, n_outputs: int):
        super().__init__()
        self.map, self.readout = nn.Conv1d(n_channels, 64, 3, padding=1), nn.Linear(64, n_outputs)

    def forward(self, x):
        return self.readout(self.map(x).sigmoid().mean(dim=2))


def fold(window: int, batch_size: int, count: int = 60_000) -> Fold:
    signal = np.random.default_rng(0).standard_normal((count + window, 2)).astype(np.float32)
    starts = np.arange(count)
    train, validation, test = np.split(starts, [count - 20, count - 10])
    return Fold(signal, starts, window, np.ones((count, 1), np.float32), Split(train, validation, test), batch_size, 0)


def refusal(check, *words) -> str:
    with pytest.raises(ValueError, match="of memory, there are 1.5 GB for it") as caught:
        check(*words)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", options("model"))
def test_every_network_can_be_followed_without_values(name):
    config = compose_with(f"model={name}").model
    build = functools.partial(callables.build, config, ())
    shape = {"n_channels": 56, "window": 100, "n_outputs": 3}
    found = foresight.sizes(build, shape)
    assert found is not None
    if found.weights < GB / 10:
        assert found.weights == sum(weight.nbytes for weight in build(**shape).parameters())
    assert found.kept >= 56 * 100 * 4  # at least the window itself


def test_what_a_window_keeps_is_its_maps():
    found = foresight.sizes(Wide, {"n_channels": 2, "window": 1000, "n_outputs": 1})
    assert found.largest == 64 * 1000 * 4
    assert found.kept == (2 + 64) * 1000 * 4 + 64 * 4  # the window, the sigmoid, the mean


def test_values_are_left_as_they_were_and_a_network_that_looks_at_them_is_not_judged(small):
    before = torch.get_rng_state()
    foresight.sizes(Wide, {"n_channels": 2, "window": 10, "n_outputs": 1})
    assert torch.equal(before, torch.get_rng_state())

    class Curious(Wide):
        def forward(self, x):
            return super().forward(x if x.max() > 0 else -x)

    foresight.check(fold(20_000, 500), Curious, on_gpu=False)


def test_a_batch_that_does_not_fit_names_the_batch_and_the_window_that_do(small):
    said = refusal(foresight.check, fold(20_000, 500), Wide, False)
    assert said.startswith("training with window=20000 and dataset.batch_size=500 takes about")
    batch = int(re.search(r": dataset\.batch_size=(\d+) or", said)[1])
    window = int(re.search(r"or window=(\d+) would fit", said)[1])
    assert 2 <= batch < 500
    assert 1000 < window < 20_000
    foresight.check(fold(20_000, batch), Wide, on_gpu=False)
    foresight.check(fold(window, 500), Wide, on_gpu=False)
    refusal(foresight.check, fold(20_000, round(1.1 * batch)), Wide, False)
    refusal(foresight.check, fold(round(1.1 * window), 500), Wide, False)


def test_a_batch_is_never_more_than_there_are_windows(small):
    foresight.check(fold(20_000, 10**6, count=100), Wide, on_gpu=False)


def test_a_network_too_large_to_be_built_is_refused_by_its_shape(small):
    build = functools.partial(callables.build, compose_with("model=escapenet").model, ())
    shape = {"n_channels": 56, "window": 100_000, "n_outputs": 3}
    said = refusal(foresight.check_prediction, build, shape)
    window = int(re.search(r"window=(\d+) would fit", said)[1])
    assert 50 < window < 1000
    foresight.check_prediction(build, shape | {"window": window})


def test_a_simulation_too_long_is_refused_with_the_longest_that_fits(small):
    said = refusal(lambda: eng_simulated.read(duration_s=1000))
    longest = int(re.search(r"recording\.duration_s=(\d+) would fit", said)[1])
    assert 30 < longest < 100
    eng_simulated.read(duration_s=longest)


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_windows_too_wide_to_be_cut_are_refused_with_the_widest_that_fits(classes, small):
    counts = [(1000, 400)] * classes
    said = refusal(preparation._check_memory, "rat", 100_000, counts)
    assert said.startswith("rat: window=100000 around")
    widest = int(re.search(r"window=(\d+) would fit", said)[1])
    assert 500 < widest < 2000
    preparation._check_memory("rat", widest, [(1000, 400)] * 3)  # of all classes, however many were known
    refusal(preparation._check_memory, "rat", round(1.2 * widest), [(1000, 400)] * 3)


def test_limits_of_control_groups(tmp_path):
    groups, root = tmp_path / "cgroup", tmp_path / "fs"
    (root / "memory/job/step").mkdir(parents=True)
    (root / "user.slice").mkdir()
    (root / "memory/job/memory.limit_in_bytes").write_text("3000\n")
    (root / "memory/job/step/memory.limit_in_bytes").write_text("2000\n")
    (root / "memory.max").write_text("9000\n")
    (root / "user.slice/memory.max").write_text("max\n")
    groups.write_text("4:memory:/job/step\n2:cpuacct:/elsewhere\n0::/user.slice\n")
    assert sorted(foreign._limits(groups, root)) == [2000, 3000, 9000]
    assert not list(foreign._limits(tmp_path / "nowhere", root))


def test_looking_ahead_draws_no_random_number():
    class Drawing(Wide):
        """A network whose weights are drawn in every way there is."""

        def __init__(self, n_channels: int, window: int, n_outputs: int):
            super().__init__(n_channels, window, n_outputs)
            self.drawn = random.random(), np.random.random(), torch.rand(1, device="cpu").item()  # noqa: NPY002

    shape = {"n_channels": 2, "window": 10, "n_outputs": 1}
    drawn = []
    for look in (False, True):
        random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
        if look:
            assert foresight.sizes(Drawing, shape) is not None
        network = Drawing(**shape)
        drawn.append((network.drawn, network.map.weight.flatten().tolist()))
    assert drawn[0] == drawn[1]
