"""What a decoder takes: counted by hand on small networks, printed without training, held against a budget."""

import csv
import itertools
import math
import sys

import pytest
import torch
from conftest import SMALL
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from test_plan import begun  # noqa: F401 - a fixture
from torch import nn

from neuroexp.commands import cost
from neuroexp.cost import budget, counting
from neuroexp.cost.devices import devices
from neuroexp.models.engnet import ENGNet
from neuroexp.models.lstm import LSTM
from neuroexp.models.mldcnn import MLDCNN
from neuroexp.settings import keys


class Residual(nn.Module):
    """Its input has to wait until the sum at the end."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv1d(3, 5, 1), nn.ReLU(), nn.Conv1d(5, 3, 1))

    def forward(self, x):
        return x + self.body(x)


class Held(nn.Module):
    """A result that is made first, needed last, and looked at another way in between."""

    def forward(self, x):
        first = x * 2  # 40, beside x: 80
        second = first.repeat(1, 1, 3)  # first and second: 160
        third = second.transpose(1, 2).relu()  # first, second, third: 280
        return third.sum(dim=(1, 2)) + first.sum(dim=(1, 2))


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (nn.Identity(), 40),
        (nn.Flatten(), 40),  # a view takes nothing
        (nn.Sequential(nn.Conv1d(4, 6, 3, padding=1), nn.Conv1d(6, 2, 1)), 40 + 60),  # then 60 + 20
        (nn.Sequential(nn.Conv1d(4, 2, 1), nn.Conv1d(2, 7, 1), nn.Conv1d(7, 1, 1)), 20 + 70),
        (nn.Sequential(nn.Conv1d(4, 6, 1), nn.ReLU(inplace=True)), 40 + 60),
        (nn.Sequential(nn.Conv1d(4, 6, 1), nn.ReLU()), 60 + 60),
        (nn.Sequential(nn.Sequential(nn.Sequential(nn.Conv1d(4, 6, 1))), nn.Conv1d(6, 2, 1)), 40 + 60),
        (nn.Sequential(nn.MaxPool1d(2), nn.BatchNorm1d(4), nn.Flatten(), nn.Linear(20, 3)), 40 + 20),
        (Held(), 280),
    ],
)
def test_activations_alive_at_once(model, values):
    x = torch.randn(1, 4, 10)
    assert counting.activation_kb(model, x) == pytest.approx(4 * values / 1000)
    assert counting.activation_kb(model, x, value_bytes=1) == pytest.approx(values / 1000)


def test_a_residual_keeps_its_input():
    x = torch.randn(1, 3, 10)
    model = Residual().train()
    assert counting.activation_kb(model, x) == pytest.approx(4 * (30 + 50 + 50) / 1000)
    assert counting.activation_kb(model.body, x) == pytest.approx(4 * (50 + 50) / 1000)
    assert model.training


@given(st.lists(st.integers(1, 9), min_size=2, max_size=6), st.integers(1, 12))
def test_a_chain_takes_its_largest_neighbours(widths, time):
    layers = [nn.Conv1d(n_in, n_out, 1) for n_in, n_out in itertools.pairwise(widths)]
    largest = max(a + b for a, b in itertools.pairwise(widths)) * time
    assert counting.activation_kb(nn.Sequential(*layers), torch.randn(1, widths[0], time)) == 4 * largest / 1000


def test_bytes_of_weights():
    model = nn.Sequential(nn.Conv1d(4, 6, 3), nn.BatchNorm1d(6), nn.Flatten(), nn.Linear(48, 2, bias=False))
    assert counting.size_kb(model) == pytest.approx(4 * (72 + 6 + 12 + 96) / 1000)
    scales = 4 * (6 + 2)
    assert counting.size_int8_kb(model) == pytest.approx((72 + 96 + scales + 4 * (6 + 12)) / 1000)
    model[0].weight.requires_grad = False  # not a trained parameter, as in `parameters`
    assert counting.size_kb(model) == pytest.approx(4 * (6 + 12 + 96) / 1000)


def test_what_a_counter_leaves_out_is_named():
    convolutions = counting.count(MLDCNN(4, 20, 2), torch.zeros(1, 4, 20))
    assert (convolutions.counter, convolutions.skipped) == ("fvcore", {"max_pool1d": 2})
    recurrent = counting.count(LSTM(5, 11, 2, hidden=7, layers=2), torch.zeros(1, 5, 11))
    assert recurrent.counter == "torch"
    assert recurrent.macs == 11 * 4 * 7 * ((5 + 7) + (7 + 7)) + 7 * 2
    assert recurrent.skipped["sigmoid_"] == 11 * 2 * 3
    assert not {"mm", "addmm", "view", "t"} & set(recurrent.skipped)


def test_flops_of_other_networks_counted_by_hand():
    # a convolution of 3 taps and 4 channels, ReLU, batch norm, a pool over 2, a dense layer, a sigmoid
    layers = [nn.Conv1d(4, 6, 3), nn.ReLU(), nn.BatchNorm1d(6), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(24, 2)]
    network = nn.Sequential(*layers, nn.Sigmoid())
    by_hand = 48 * (2 * 12 + 1) + 48 + 2 * 48 + 24 * 2 + 2 * (2 * 24 + 1) + 2
    assert counting.flops(network, torch.zeros(1, 4, 10)) == by_hand
    assert counting.flops(network, torch.zeros(1, 4, 10), normalisation=False) == by_hand - 2 * 48
    flat = nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d((1, 4)), nn.AvgPool2d(2))
    assert counting.flops(flat, torch.zeros(1, 1, 6, 10)) == 64 * 19 + 16 * 4 + 4 * 4
    macs = counting.macs(MLDCNN(4, 20, 2), torch.zeros(1, 4, 20))
    assert 2 * macs < counting.flops(MLDCNN(4, 20, 2), torch.zeros(1, 4, 20)) < 2.1 * macs
    with pytest.raises(ValueError, match="no count for LSTM layers"):
        counting.flops(LSTM(5, 11, 2), torch.zeros(1, 5, 11))
    with pytest.raises(ValueError, match="the weights of a Conv2d layer are used without calling it"):
        counting.flops(ENGNet(8, 32, 2), torch.zeros(1, 8, 32))


def test_every_device_has_its_source_and_arithmetic():
    assert {device.precision for device in devices().values()} == {"fp32", "int8"}
    for device in devices().values():
        assert device.pj_per_mac > 0
        assert device.source
        assert 2010 < device.year < 2030
    resnet = 12_501_632  # MAC of the network that MLPerf Tiny measured
    for name, uj in (("gap9", 27.711), ("ndp120", 101.833), ("stm32u575", 3641.998), ("stm32l4r5", 10681.623)):
        assert devices()[name].energy_uj(resnet) == pytest.approx(uj, rel=1e-3)
        assert str(uj) in devices()[name].source
    chip = devices()["stm32u575"]
    assert chip.power_uw(chip.mac_per_s) == pytest.approx(26_200, rel=0.01)  # as MLPerf Tiny measured it
    assert chip.power_uw(1.01 * chip.mac_per_s) is None
    assert math.isinf(devices()["cmos45_int8"].mac_per_s)


COSTS = {
    "cost/ms_per_window": 5.39,
    "cost/size_kb": 400.0,
    "cost/size_int8_kb": 110.0,
    "cost/activation_kb": 80.0,
    "cost/mac": 1e6,
    "cost/mac_rate_hz": 2e8,
}


@pytest.mark.parametrize(
    ("settings", "says", "within"),
    [
        ({}, "", None),
        ({"latency_ms": 5.39}, "within", 1),
        ({"latency_ms": 4.9}, "over: latency 5.39 of 4.9 ms", 0),
        ({"latency_ms": 5.38}, "over: latency 5.39 of 5.38 ms", 0),
        ({"memory_kb": 130}, "within", 1),  # int8, as the device has it
        ({"memory_kb": 130, "device": "rtx3090"}, "over: memory 480 of 130 KB (fp32)", 0),
        ({"mac_per_s": 1e8, "energy_uj": 1e9, "device": "gap9"}, "over: MAC rate 200 of 100 million MAC/s", 0),
        ({"energy_uj": 2, "device": "gap9"}, "over: energy 2.22 of 2 µJ (estimate)", 0),
        ({"energy_uj": 300}, "over: stm32u575 too slow (estimate: 200 of 90 million MAC/s)", 0),
        (
            {"energy_uj": 3},
            "over: energy 291 of 3 µJ (estimate), stm32u575 too slow (estimate: 200 of 90 million MAC/s)",
            0,
        ),
        ({"energy_uj": 2.3, "device": "gap9", "latency_ms": 6}, "within", 1),
    ],
)
def test_verdicts(settings, says, within):
    allowed = budget.read(settings)
    assert budget.verdict(COSTS, allowed) == says
    found = budget.metrics(COSTS, allowed)
    assert found.get("budget/within") == within
    assert {f"budget/{name}_share" for name in allowed.limits} | {"budget/within"} >= set(found)


def test_what_a_run_did_not_record_is_unknown_not_within():
    old = {"cost/macs": 1e6, "cost/ms_per_window": 5.39}
    allowed = budget.read({"memory_kb": 1e9, "latency_ms": 5})
    assert budget.verdict(old, allowed) == "over: latency 5.39 of 5 ms; unknown: memory"
    assert budget.metrics(old, allowed) == {"budget/latency_ms_share": pytest.approx(1.078)}


def test_a_run_of_an_earlier_version_is_held_to_its_own_count_which_says_so():
    old = {"cost/macs": 1e6, "cost/mac_per_s": 2e8}
    allowed = budget.read({"energy_uj": 2, "mac_per_s": 1e8, "device": "gap9"})
    assert budget.verdict(old, allowed) == (
        "over: MAC rate 200 of 100 million MAC/s (counted with normalisation), "
        "energy 2.22 of 2 µJ (estimate, counted with normalisation)"
    )
    assert budget.used(old | COSTS | {"cost/mac": 5e5}, devices()["gap9"])["energy_uj"] == pytest.approx(
        1.1085, rel=1e-3
    )


def test_multiply_accumulates_are_counted_apart_from_other_operations():
    # 4 x 3 weights to 6 channels at 8 places, then 2 for each of 48 normalised values, 48 averaged ones, 6 x 2 weights
    layers = [nn.Conv1d(4, 6, 3), nn.BatchNorm1d(6), nn.Unflatten(1, (6, 1)), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    found = counting.count(nn.Sequential(*layers, nn.Linear(6, 2)), torch.zeros(1, 4, 10))
    assert found.macs == 48 * 12 + 12
    assert found.operations == found.macs + 2 * 48 + 48
    costs = counting.costs(nn.Sequential(*layers, nn.Linear(6, 2)), torch.zeros(1, 4, 10))
    assert (costs["cost/mac"], costs["cost/operations"]) == (found.macs, found.operations)
    assert "cost/macs" not in costs  # in which earlier versions had the operations


@given(st.floats(1e-3, 1e9), st.floats(1e-3, 1e9))
def test_a_verdict_agrees_with_its_share(spent, limit):
    costs, allowed = {"cost/ms_per_window": spent}, budget.read({"latency_ms": limit})
    found = budget.metrics(costs, allowed)
    assert found["budget/latency_ms_share"] == spent / limit
    over = budget.verdict(costs, allowed) != "within"
    assert over == (spent > limit)
    if over:  # the two numbers can be told apart
        left, right = budget.verdict(costs, allowed).removeprefix("over: latency ").removesuffix(" ms").split(" of ")
        assert float(left.replace(",", "")) != float(right.replace(",", ""))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"latency": 3}, "budget.latency is no limit: there are latency_ms, memory_kb, mac_per_s, energy_uj, and the device"),
        ({"energy_uj": -1}, "budget.energy_uj=-1 is no number above 0"),
        ({"energy_uj": True}, "budget.energy_uj=True is no number above 0"),
        ({"memory_kb": float("nan")}, "budget.memory_kb=nan is no number above 0"),
        ({"memory_kb": "much"}, "budget.memory_kb=much is no number above 0"),
        (OmegaConf.create({"memory_kb": -3, "device": "gap9"}), "budget.memory_kb=-3 is no number above 0"),
        (5, "budget=5 is no budget: set one of its values, such as budget.latency_ms=5"),
        ({"device": "abacus"}, "budget.device=abacus is not among the devices: cmos45_fp32, "),
    ],
)  # fmt: skip
def test_a_budget_that_is_none_gets_one_sentence(settings, says):
    with pytest.raises(ValueError, match=says):
        budget.read(settings)


def test_a_budget_changes_no_key():
    config = {"window": 20, "fold": 0, "budget": {"energy_uj": 2}}
    other = config | {"budget": {"energy_uj": None}}
    assert keys.configuration_key(config) == keys.configuration_key(other)
    assert keys.condition_key(config) == keys.condition_key({"window": 20})


def test_a_sweep_is_marked_and_marked_again_when_the_budget_changes(neuroexp):
    sweep = ("-m", "model=mldcnn,mtdcnn", "window=20", "step=50", *SMALL)
    first = neuroexp(*sweep, "budget.memory_kb=300")
    assert first.code == 0, first.out
    assert "over: memory 523 of 300 KB (int8)" in first.text
    small, large = first.results()
    assert (small["budget"], small["scores"]["budget/within"], large["scores"]["budget/within"]) == ("within", 1, 0)
    assert small["name"] == "mldcnn W20 S50 fold0 duration_s=12 units=4 trainer=smoke"  # a budget is no part of a name
    scores = small["scores"]
    assert scores["budget/memory_kb_share"] == pytest.approx(
        (scores["cost/size_int8_kb"] + scores["cost/activation_kb"] / 4) / 300
    )
    assert scores["cost/mac_rate_hz"] == pytest.approx(scores["cost/mac"] * 2048 / 50)
    assert scores["cost/mac_energy_uj"] == pytest.approx(scores["cost/mac"] * 291.3e-6)
    again = neuroexp(*sweep, "budget.energy_uj=2", "budget.device=gap9")
    assert [result["status"] for result in again.results()] == ["skipped", "skipped"]
    assert [result["budget"] for result in again.results()] == [
        "over: energy 3.67 of 2 µJ (estimate)", "over: energy 6.5 of 2 µJ (estimate)",
    ]  # fmt: skip
    mistaken = neuroexp("budget.energy_uj=0")
    assert mistaken.code == 1
    assert "budget.energy_uj=0 is no number above 0" in mistaken.text


def test_the_published_counts_are_printed_without_a_recording(typed, tmp_path):
    words = ("dataset=eng", "model=mobilescapenet,lstm", "channels=56", "outputs=3", "budget.memory_kb=100")
    done = typed(tmp_path, "cost", *words)
    assert done.returncode == 0, done.stderr
    for text in (
        "67,843", "82,798,211", "81,857,411", "40,146,560", "41,089,664", "271.4 KB", "2,867.2 KB",
        "no count for LSTM layers", "unknown",
        "over: memory 792 of 100 KB (int8)", "within", "which leaves out max_pool2d x4", "Estimated energy",
        "Energy is an estimate", "torch's counter (fvcore knows no recurrent layers)", "neuroexp cost --devices",
        "how often they come only a recording says", "56 channels and 3 outputs as typed",
    ):  # fmt: skip
        assert text in done.stdout, text
    assert "µW" not in done.stdout  # without a rate there is no power
    assert list(tmp_path.iterdir()) == []
    assert not done.stderr


def test_devices_are_printed_with_their_sources(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["cost", "--devices"])
    cost.main()
    said = " ".join(capsys.readouterr().out.split())
    for device in devices().values():
        assert device.name in said
    assert "10.1109/ISSCC.2014.6757323" in said
    assert "MLPerf Tiny v1.0" in said


@pytest.mark.slow
def test_rates_follow_from_the_recording(tmp_path, monkeypatch, shared, begun):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEUROEXP_CACHE", str(shared / "cache"))
    [column] = cost.compute(["dataset=eng", "recording.duration_s=14", "fold=0,1"])  # folds cost the same
    assert 10 < column.setting.decisions_hz < 200
    assert column.costs["cost/mac_rate_hz"] == pytest.approx(40_146_560 * column.setting.decisions_hz)
    assert column.setting.source == "simulated rat 6: 56 channels, 3 outputs"
    steps = cost.compute(["model=mldcnn", "window=20", "step=10,50", "recording.duration_s=12"])
    assert [column.setting.decisions_hz for column in steps] == [204.8, 40.96]
    assert steps[0].name == "mldcnn W20 S10"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["channels=64"], "channels and outputs go together"),
        (["channels=64", "outputs=none"], "outputs=none is no whole number of at least 1"),
        (["channels=64", "outputs=3", "window=2o"], "window=2o is no whole number"),
        (["channels=64", "outputs=3", "window=8"], "window=8 is too short for this network"),
        (["channels=64", "outputs=3", "budget.device=abacus"], "budget.device=abacus is not among the devices"),
        (["channels=64", "outputs=3", "window=range(20,30)"], "10 networks do not fit side by side"),
        (["model=nonsense"], "model=nonsense is not there"),
        (["recording=otb", "recording.path=gone.mat"], "gone.mat is not there"),
    ],
)
def test_a_mistake_gets_one_sentence(tmp_path, monkeypatch, capsys, begun, words, says):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["cost", *words])
    with pytest.raises(SystemExit, match=says) as ended:
        cost.main()
    assert "Traceback" not in str(ended.value)


def test_the_table_of_devices_is_whole():
    from importlib.resources import files

    rows = list(csv.DictReader((files("neuroexp.cost") / "devices.csv").read_text().splitlines()))
    assert len(rows) == len(devices())
    assert OmegaConf.load("conf/config.yaml").budget.device in devices()
    assert OmegaConf.load("conf/config.yaml").budget.device == budget.DEVICE
