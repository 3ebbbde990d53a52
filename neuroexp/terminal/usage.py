"""What `--help` prints; Hydra's own takes a second, most of it to list the groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable

TEXT = """neuroexp: experiments on decoding the peripheral nervous system.
One line is one training and one run in MLflow; -m sweeps over comma-separated values.

  neuroexp
  neuroexp -m window=20,60 step=10,50
  neuroexp dataset=eng model=mobilescapenet recording.rat=6
  neuroexp recording=otb model=mldrsnet window=20 dataset.align=true trainer.max_epochs=20
  neuroexp -m fold=range(5) hydra/launcher=joblib hydra.launcher.n_jobs=4

Commands (neuroexp COMMAND --help):
{commands}

Groups (choose with group=option):
{groups}

Any value of the configuration can be set (key=value); most typed: window, step, fold, seed.

Show the resolved configuration without running:   neuroexp --cfg job --resolve
Hydra's own flags:                                 neuroexp --hydra-help"""


def text(commands: Mapping[str, str]) -> str:
    """Return the help with the commands, a line each, and the groups as they lie in the package."""
    shown = "\n".join(f"  {name:<10} {line}" for name, line in commands.items())
    return TEXT.format(
        commands=shown, groups="\n".join(f"  {group}: {', '.join(options)}" for group, options in groups())
    )


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
