"""Networks: every yaml has its file, every network its shape, gradients and published size."""

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn

from neuroexp.cost import counting
from neuroexp.models.engnet import ENGNet
from neuroexp.models.escapenet import ESCAPENet
from neuroexp.models.mldcnn import MLDCNN
from neuroexp.models.mldrsnet import RSBUCW, MLDRSNet
from neuroexp.models.mobilescapenet import MobilESCAPENet
from neuroexp.models.mtdcnn import MTDCNN

ROOT = Path(__file__).parent.parent
NAMES = sorted(path.stem for path in (ROOT / "conf" / "model").glob("*.yaml"))


def build(name: str, window: int = 60, n_outputs: int = 15) -> nn.Module:
    config = OmegaConf.load(ROOT / "conf" / "model" / f"{name}.yaml")
    return instantiate(config, n_channels=64, window=window, n_outputs=n_outputs)


def test_every_yaml_has_its_file_and_every_file_its_yaml():
    files = sorted(path.stem for path in (ROOT / "neuroexp" / "models").glob("*.py") if path.stem[0] != "_")
    assert files == NAMES


WINDOWS = {"engnet": (32, 37, 140), "escapenet": (20, 37)}  # the shortest it takes; more would be gigabytes


@pytest.mark.parametrize("n_outputs", [1, 5])
@pytest.mark.parametrize(("name", "window"), [(name, w) for name in NAMES for w in WINDOWS.get(name, (20, 37, 140))])
def test_shape_and_gradients(name, window, n_outputs):
    model = build(name, window, n_outputs)
    x = torch.randn(4, window, 64).transpose(1, 2)  # as gathered: not contiguous
    logits = model(x)
    assert logits.shape == (4, n_outputs)
    logits.sum().backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_autocast(name):
    model = build(name).eval()
    x = torch.randn(3, 64, 60)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = model(x).float()
    torch.testing.assert_close(low, model(x), atol=0.1, rtol=0.1)


@pytest.mark.parametrize(
    ("name", "window", "published"),
    [
        ("mldrsnet", 20, 12_575_695),
        ("mldrsnet", 140, 12_575_695),
        ("mldcnn", 20, 184_783),
        ("mldcnn", 60, 348_623),
        ("mldcnn", 100, 512_463),
        ("mldcnn", 140, 676_303),
        ("mtdcnn", 20, 1_681_999),
        ("mtdcnn", 60, 4_139_599),
        ("mtdcnn", 100, 6_597_199),
        ("mtdcnn", 140, 9_054_799),
    ],
)
def test_parameters(name, window, published):
    assert counting.parameters(build(name, window)) == published


def test_mldrsnet_mac():
    assert counting.macs(build("mldrsnet", 20), torch.randn(1, 64, 20)) == 727_752_192


@pytest.mark.parametrize(("layer", "gates"), [(nn.LSTM, 4), (nn.GRU, 3)])
def test_macs_of_recurrent_layers(layer, gates):
    found = counting.macs(layer(5, 7, num_layers=2, batch_first=True), torch.randn(1, 11, 5))
    assert found == 11 * gates * 7 * ((5 + 7) + (7 + 7))


def test_macs_of_convolutions_that_keep_their_size():
    x = torch.randn(1, 3, 10, 12)
    assert counting.macs(nn.Conv2d(3, 6, 5, padding="same"), x) == 6 * 3 * 25 * 120
    assert counting.macs(nn.Conv2d(3, 6, 3, padding="same", groups=3), x) == 6 * 9 * 120


@pytest.mark.parametrize(
    ("name", "variant", "published"),
    [
        ("escapenet", {}, 91_837_635),
        ("escapenet", {"pool_stride": 2}, 5_821_635),
        ("mobilescapenet", {"head": "flatten"}, 624_899),
        ("mobilescapenet", {"kernels": [9, 5, 3], "filters": [64, 64, 128], "head": "flatten"}, 2_782_659),
        ("mobilescapenet", {}, 67_843),
        ("mobilescapenet", {"kernels": [9, 5, 3], "filters": [64, 64, 128]}, 62_915),
        ("mobilescapenet", {"kernels": [15, 7, 5, 3]}, 79_619),
        ("mobilescapenet", {"filters": [256, 512, 512, 512]}, 967_171),
    ],
)
def test_parameters_of_the_eng_networks(name, variant, published):
    config = OmegaConf.load(ROOT / "conf" / "model" / f"{name}.yaml")
    assert counting.parameters(instantiate(config, n_channels=56, window=100, n_outputs=3, **variant)) == published


def test_macs_and_flops_of_the_eng_networks():
    signature = torch.randn(1, 56, 100)
    assert counting.macs(ESCAPENet(56, 100, 3), signature) == 573_440_768
    assert counting.flops(ESCAPENet(56, 100, 3), signature) == 1_151_899_651  # published as 1.1 G
    network = MobilESCAPENet(56, 100, 3)
    assert counting.macs(network, signature) == 40_146_560
    assert counting.flops(network, signature) == 82_798_211  # Table V
    assert counting.flops(network, signature, normalisation=False) == 81_857_411  # the introduction
    with pytest.raises(ValueError, match="convention has no count for LSTM layers"):
        counting.flops(nn.LSTM(4, 4), torch.randn(2, 1, 4))


@pytest.mark.parametrize(
    ("network", "words", "says"),
    [
        (ESCAPENet, {"pool_stride": 3}, "model.pool_stride=3 must be 1"),
        (MobilESCAPENet, {"kernels": [9, 5]}, "model.kernels has 2 values and model.filters 4, one of each per block"),
        (MobilESCAPENet, {"kernels": [8, 5, 3, 3]}, "must be odd"),
        (MobilESCAPENet, {"filters": [64, 64, 64, 100]}, "100 is no multiple of 64"),
        (MobilESCAPENet, {"head": "mean"}, "model.head=mean is neither gap nor flatten"),
        (
            MobilESCAPENet,
            {"window": 15},
            "window=15 with 56 channels is too short for 4 pools, both must be at least 16",
        ),
        (ENGNet, {"window": 31}, "window=31 is too short for ENGNet, its smallest window is 32 samples"),
    ],
)
def test_what_makes_no_network(network, words, says):
    with pytest.raises(ValueError, match=says):
        network(**{"n_channels": 56, "window": 100, "n_outputs": 3} | words)


def test_engnet_keeps_its_norms():
    model = ENGNet(56, 100, 3, dropout=0)
    torch.manual_seed(0)
    x = torch.randn(8, 56, 100)
    with torch.no_grad():
        before = model.eval()(x)
        model.spatial.weight *= 100
        model.readout.weight *= 100
        far = model(x)
        model.spatial.weight *= 3
        model.readout.weight *= 3
        assert torch.allclose(model(x), far, atol=1e-5)  # beyond the norm nothing changes
        assert not torch.allclose(before, far)


def test_escapenet_pools_as_if_nothing_lay_outside():
    model = ESCAPENet(5, 9, 2)
    x = torch.rand(1, 1, 5, 9)
    pooled = model.features[3:5](x)
    assert pooled.shape == x.shape
    assert pooled[0, 0, 4, 8] == x[0, 0, 4, 8]
    assert pooled[0, 0, 1, 2] == x[0, 0, 1:3, 2:4].max()


def test_ms_per_window_is_measured_and_leaves_the_mode():
    model = build("mldcnn", 20).train()
    assert 0 < counting.ms_per_window(model, torch.randn(1, 64, 20), budget_s=0.02) < 1000
    assert model.training


@pytest.mark.parametrize("window", [20, 60])
def test_mtdcnn_equals_separate_branches(window):
    torch.manual_seed(0)
    model = MTDCNN(64, window, 7).eval()
    x = torch.randn(5, 64, window)
    shared = model.stem(x)
    separate = torch.cat([model.branch(unit).eval()(shared) for unit in range(7)], dim=1)
    torch.testing.assert_close(model(x), separate, atol=1e-6, rtol=1e-5)


def test_mtdcnn_branch_gradients_are_separate():
    model = MTDCNN(8, 20, 3).eval()
    model(torch.randn(2, 8, 20))[:, 1].sum().backward()
    touched = model.branches[0].weight.grad.reshape(3, -1).abs().sum(dim=1) > 0
    assert touched.tolist() == [False, True, False]


@pytest.mark.parametrize("network", [MLDCNN, MTDCNN])
def test_a_window_too_short_names_the_smallest_valid_one(network):
    with pytest.raises(ValueError, match="window=15 is too short.*16 samples"):
        network(64, 15, 3)
    assert network(64, 16, 3)(torch.randn(2, 64, 16)).shape == (2, 3)


def test_mldrsnet_takes_the_shortest_window():
    assert MLDRSNet(4, 1, 2).eval()(torch.randn(2, 4, 1)).shape == (2, 2)


def test_rsbu_shrinks_softly():
    torch.manual_seed(0)
    unit = RSBUCW(4, 4, 1).eval()
    x = torch.randn(2, 4, 6, 6)
    residual = unit.residual(x)
    size = residual.abs().mean(dim=(2, 3))
    alpha = unit.attention(size)
    assert ((alpha > 0) & (alpha < 1)).all()
    threshold = (alpha * size)[:, :, None, None]
    expected = torch.sign(residual) * torch.relu(residual.abs() - threshold)
    torch.testing.assert_close(unit(x), torch.relu(expected + x))
