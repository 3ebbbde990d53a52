"""Networks built from their configuration, for what can be said without a run."""

from __future__ import annotations

from functools import cache

import pandas as pd
import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from torch import nn

from neuroexp.cost import counting
from neuroexp.settings import callables


@cache
def build(model: str, n_channels: int = 56, window: int = 100, n_outputs: int = 3, dataset: str = "eng") -> nn.Module:
    """Return the network of `model=...` for so many channels, samples and outputs."""
    with initialize_config_module("conf", version_base="1.3"):
        group, _, setting = model.partition(" ")
        words = [f"dataset={dataset}", f"model={group}", *([setting] if setting else [])]
        cfg = compose("config", words)
    settings = OmegaConf.to_container(cfg.model, resolve=True)
    network: nn.Module = callables.build(settings, n_channels=n_channels, window=window, n_outputs=n_outputs)
    return network


def costs(model: str) -> dict[str, float]:
    """Return parameters, MAC, operations and FLOPs (the ENG paper's convention, with and without normalisation) on 56 x 100."""
    network, window = build(model), torch.zeros(1, 56, 100)
    counted = counting.count(network, window)
    found: dict[str, float] = {
        "cost/parameters": counting.parameters(network),
        "cost/mac": counted.macs,
        "cost/operations": counted.operations,
    }
    try:
        found |= {
            "cost/flops": counting.flops(network, window),
            "cost/flops_without_bn": counting.flops(network, window, normalisation=False),
        }
    except ValueError:  # a convention for some networks
        found |= {"cost/flops": float("nan"), "cost/flops_without_bn": float("nan")}
    return found


def layers(model: str) -> pd.DataFrame:
    """Return a row per layer with parameters: name, kind, shape of the output and parameters."""
    network = build(model)
    rows: list[dict[str, object]] = []
    hooks = []
    for name, layer in network.named_modules():
        if list(layer.children()) or not any(True for _ in layer.parameters()):
            continue

        def note(layer: nn.Module, _: object, output: torch.Tensor, name: str = name) -> None:
            shape = " x ".join(str(size) for size in output.shape[1:])
            count = sum(parameter.numel() for parameter in layer.parameters())
            rows.append({"layer": name, "kind": type(layer).__name__, "output": shape, "parameters": count})

        hooks.append(layer.register_forward_hook(note))
    with torch.no_grad():
        network.eval()(torch.zeros(1, 56, 100))
    for hook in hooks:
        hook.remove()
    return pd.DataFrame(rows)
