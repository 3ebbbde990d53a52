"""What `--help` prints; Hydra's own takes a second, most of it to list the groups."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

TEXT = """neuroexp: experiments on decoding the peripheral nervous system.
One command is one training and one run in MLflow; -m sweeps over comma-separated values.

Examples:
  python -m neuroexp
  python -m neuroexp -m window=20,60 step=10,50
  python -m neuroexp dataset=eng model=mobilescapenet recording.rat=6
  python -m neuroexp recording=otb model=mldrsnet window=20 dataset.align=true trainer.max_epochs=20
  python -m neuroexp -m fold=range(5) hydra/launcher=joblib hydra.launcher.n_jobs=4

Groups (choose with group=option):
{groups}

Any value of the configuration can be set (key=value); most typed: window, step, fold, seed.

Show the resolved configuration without running:   python -m neuroexp --cfg job --resolve
What a sweep will take, before it starts:          neuroexp plan -m window=20,60
What a decoder would cost, without training it:    neuroexp cost dataset=eng model=mobilescapenet
The newest launch, from another terminal:          neuroexp status
Send what was finished while MLflow was away:      neuroexp sync
Does a recorded run give the same scores again?    neuroexp repeat RUN_ID
A trained run as files for a device:               neuroexp export RUN_ID
How late a trained run decides, engine by engine:  neuroexp latency RUN_ID
A recording or live stream through a trained run:  neuroexp replay run_id=RUN_ID
The best decoder within a budget, from a checkout: python -m experiments.budget.pareto budget.energy_uj=5
Hydra's own flags:                                 python -m neuroexp --hydra-help"""


def text() -> str:
    """Return the help with the groups as they lie in the package."""
    return TEXT.format(groups="\n".join(f"  {group}: {', '.join(options)}" for group, options in groups()))


def groups(group: str = "") -> Iterator[tuple[str, list[str]]]:
    """Yield every group of the package's configuration, below `group`, with its options."""
    place: Traversable = files("neuroexp.conf")
    for part in group.split("/") if group else []:
        place = place / part
    found = sorted(place.iterdir(), key=lambda entry: entry.name)
    options = [entry.name.removesuffix(".yaml") for entry in found if entry.name.endswith(".yaml")]
    if group and options:
        yield group, options
    for entry in found:
        if entry.is_dir() and entry.name not in ("hydra", "__pycache__"):
            yield from groups(f"{group}/{entry.name}" if group else entry.name)
