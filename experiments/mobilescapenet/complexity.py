"""Table V of Gökdağ et al.: parameters and floating-point operations."""

from __future__ import annotations

import pandas as pd

from .. import networks, published
from ..artefact import Artefact
from ..cells import Source
from ..mobilescapenet import NETWORKS


def make(source: Source) -> Artefact:
    """Return what the networks cost, counted on the networks themselves."""
    artefact = Artefact("mobilescapenet/complexity", "Model complexity (Table V)", computed=True)
    models = {name: name for name in NETWORKS} | {"escapenet, pool stride 2": "escapenet model.pool_stride=2"}
    costs = pd.DataFrame([{"model": name, "window": 100} | networks.costs(model) for name, model in models.items()])
    artefact.tables["complexity"] = published.beside(costs, published.read("mobilescapenet", "complexity"))
    artefact.tables["networks"] = costs.drop(columns="window").rename(columns=lambda name: name.removeprefix("cost/"))
    artefact.notes = [
        "FLOPs in the convention that reproduces the paper (found by fitting, not stated): two per multiply-accumulate, one "
        "per bias and ReLU, the kernel's area per pooled value, two per normalised value. With normalisation "
        "MobilESCAPE-Net has 82,798,211 (Table V's 82.8 M), without it 81,857,411 (the introduction's 81.8 M).",
        "81.8 M is 81,857,411 cut off, not rounded; the published 92.47 % fewer FLOPs come from the rounded 82.8 M and 1.1 G.",
        "1.1 G is ESCAPE-Net's 1,151,899,651 in the same convention, cut off as well: twice its 573,440,768 "
        "multiply-accumulates, and what biases, ReLUs and pools add. From the whole numbers the reduction is 92.81 %.",
        "99.92 % fewer parameters are 99.926 % cut off; abstract and conclusions have 99.9 %.",
        "mac: multiply-accumulates of convolutions and products; operations: as fvcore counts, with two per normalised value.",
        "The published 91.8 M parameters and 1.1 GFLOP of ESCAPE-Net belong to pools of stride 1; with stride 2, as in its "
        "authors' code, the reduction is 98.8 % of the parameters, not 99.92 %.",
    ]
    return artefact
