"""The normalised pool trains to the same numbers as the modules that it is made of."""

import copy
import ctypes
import resource
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from neuroexp.models import _layers
from neuroexp.models._layers import DepthwiseConv2d, NormalisedPool
from neuroexp.models.mobilescapenet import MobilESCAPENet


def block(kind: str, channels: int = 3) -> NormalisedPool:
    torch.manual_seed(0)
    if kind == "plain":
        return NormalisedPool(nn.Conv2d(channels, 6, 9, padding=4))
    pair = nn.Conv2d(channels, 2 * channels, int(kind), padding=int(kind) // 2, groups=channels), nn.Conv2d(6, 6, 1)
    if kind in "57":  # the same number of filters: depthwise alone
        pair = (
            nn.Conv2d(channels, channels, int(kind), padding=int(kind) // 2, groups=channels),
            nn.Conv2d(channels, 6, 1),
        )
    return NormalisedPool(*pair)


def as_modules(block: NormalisedPool) -> nn.Sequential:
    def own(layer):
        if not isinstance(layer, DepthwiseConv2d):
            return copy.deepcopy(layer)
        plain = nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size, padding="same", groups=layer.groups)
        plain.load_state_dict(layer.state_dict())
        return plain.to(layer.weight.dtype)

    return nn.Sequential(*map(own, block))


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(_layers, "CHUNK_BYTES", 3 * 6 * 12 * 15 * 8)  # three windows: the last chunk is a shorter one


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("kind", ["plain", "3", "5", "7"])
@pytest.mark.parametrize("size", [(12, 15), (7, 9), (2, 3)])
def test_equals_its_modules(kind, negative, size):
    ours = block(kind).double()
    if negative:
        with torch.no_grad():
            ours[-2].weight[::2] *= -0.7
            ours[-2].bias += torch.randn(6)
    theirs = as_modules(ours)
    x = torch.randn(8, 3, *size, dtype=torch.float64)
    one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, expected = ours(one), theirs(other)
    torch.testing.assert_close(y, expected)
    weight = torch.randn_like(expected)
    (y * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(one.grad, other.grad)
    for (name, parameter), other_parameter in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, other_parameter.grad, msg=lambda text, name=name: f"{name}: {text}")
    for buffer, other_buffer in zip(ours.buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(buffer, other_buffer)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_gradients_are_the_derivatives():
    ours = block("5").double()
    names = [name for name, _ in ours.named_parameters()]

    def call(x, *values):
        return torch.func.functional_call(ours, dict(zip(names, values, strict=True)), (x,))

    x = torch.randn(4, 3, 6, 5, dtype=torch.float64, requires_grad=True)
    values = [parameter.detach().clone().requires_grad_() for parameter in ours.parameters()]
    assert torch.autograd.gradcheck(call, (x, *values), atol=1e-6)


def test_an_input_without_gradient_and_a_second_backward_pass():
    ours = block("plain").double()
    theirs = as_modules(ours)
    x = torch.randn(5, 3, 8, 8, dtype=torch.float64)
    for network in (ours, theirs):
        loss = network(x).square().sum()
        loss.backward(retain_graph=True)
        loss.backward()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_bfloat16_is_no_further_off_than_the_modules_in_bfloat16():
    ours, exact = block("5"), as_modules(block("5"))
    low = as_modules(ours)
    x = torch.randn(8, 3, 12, 15)
    outputs = []
    for network, half in ((exact, False), (low, True), (ours, True)):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            y = network(x)
            loss = y.float().square().mean()
        loss.backward()
        outputs.append([y.float(), *(parameter.grad for parameter in network.parameters())])
    for truth, theirs, mine in zip(*outputs, strict=True):
        assert mine.dtype == torch.float32
        assert (mine - truth).norm() <= 1.5 * (theirs - truth).norm() + 0.01 * truth.norm() + 1e-4


@pytest.mark.parametrize("kernel", [3, 5, 7, 9])
@pytest.mark.parametrize("copies", [1, 2])
def test_depthwise_equals_a_convolution(kernel, copies):
    ours = DepthwiseConv2d(4, 4 * copies, kernel).double()
    theirs = as_modules(nn.Sequential(ours))
    x = torch.randn(3, 4, 11, 13, dtype=torch.float64)
    one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    ours(one).square().sum().backward()
    theirs(other).square().sum().backward()
    torch.testing.assert_close(one.grad, other.grad)
    for mine, plain in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, plain.grad)


FAULTS = """
import resource, torch
from neuroexp.machine import memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        torch.empty(64 << 20, dtype=torch.uint8).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with memory.kept():
    inside = min(faults() for _ in range(12))  # the heap takes a few rounds to settle
print(inside, faults())
"""


@pytest.mark.process
def test_freed_memory_stays_inside_the_context_and_goes_after_it():
    """Page faults tell: what is freed and asked for again costs none while it is kept."""
    if sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"):
        pytest.skip("no glibc here")
    # in a process of its own: what other tests have freed here could be used again
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    inside, after = map(int, done.stdout.split())
    pages = 3 * (64 << 20) / resource.getpagesize()
    assert inside < 0.01 * pages
    assert after > 0.5 * pages


def test_a_network_trains_as_its_modules_do():
    torch.manual_seed(0)
    ours = MobilESCAPENet(56, 100, 3)
    theirs = copy.deepcopy(ours)
    theirs.features = nn.Sequential(
        *(as_modules(layer) if isinstance(layer, NormalisedPool) else layer for layer in theirs.features)
    )
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    x, y = torch.randn(12, 100, 56).mT, torch.arange(12) % 3
    losses = []
    for network in (ours, theirs):
        optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
        curve = []
        for _ in range(4):
            optimizer.zero_grad()
            loss = cross_entropy(network(x), y)
            loss.backward()
            optimizer.step()
            curve.append(loss.item())
        losses.append(curve)
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), atol=1e-3, rtol=1e-3)
