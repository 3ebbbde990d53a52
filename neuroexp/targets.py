"""Which callables a configuration may name by `_target_`: a configuration from elsewhere must not run whatever it likes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.utils import get_object

from neuroexp import typecheck

OWN = ("neuroexp", "torch.nn", "torch.optim", "torchmetrics", "pytorch_lightning")


def check(node: Any, where: str, trusted: Sequence[str]) -> None:
    """Check every `_target_` of a configuration, wherever it stands, and the values that are passed to it.

    Raises ValueError for a callable that may not be named, and for a value that does not fit its parameter.
    """
    if isinstance(node, dict):
        if "_target_" in node:
            check_name(node["_target_"], trusted)
            found = get_object(node["_target_"])
            check_home(node["_target_"], found, trusted)
            typecheck.check(found, node, where)
        for name, value in node.items():
            check(value, f"{where}.{name}" if where else name, trusted)
    elif isinstance(node, list):
        for value in node:
            check(value, where, trusted)


def check_name(target: Any, trusted: Sequence[str]) -> None:
    """Raise ValueError unless `target` lies in this package, torch's networks and optimizers, Lightning, or a trusted module.

    To be called before the target is imported: importing a module runs it.
    """
    if not isinstance(target, str) or not _inside(target, (*OWN, *trusted)):
        raise ValueError(
            f"_target_={target} is outside {', '.join(OWN)}: if it is yours, add its module to trusted=[...] to let it run"
        )


def check_home(target: str, found: Any, trusted: Sequence[str]) -> None:
    """Raise ValueError when `target`, though its name begins well, leads to something that was defined elsewhere."""
    home = getattr(found, "__module__", None) or type(found).__module__
    if not _inside(str(home), (*OWN, *trusted, "torch", "lightning_fabric")):
        raise ValueError(f"_target_={target} leads to {home}, which a configuration may not name")


def _inside(name: str, modules: Sequence[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)
