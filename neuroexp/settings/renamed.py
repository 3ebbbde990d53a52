"""What has had another name: runs that were recorded under it are still read, and their keys stay what they were."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

NOW = {  # by the name under which a run may have been recorded
    "neuroexp.launch.Launch": "neuroexp.sweep.launch.Launch",
    "neuroexp.preparation.Preprocessing": "neuroexp.data.preparation.Preprocessing",
    "neuroexp.segments.label_centre": "neuroexp.data.segments.label_centre",
    "neuroexp.segments.label_step": "neuroexp.data.segments.label_step",
    "neuroexp.segments.label_window": "neuroexp.data.segments.label_window",
    "neuroexp.splits.blocked": "neuroexp.data.splits.blocked",
    "neuroexp.splits.contraction": "neuroexp.data.splits.contraction",
    "neuroexp.splits.given": "neuroexp.data.splits.given",
    "neuroexp.splits.random": "neuroexp.data.splits.random",
    "neuroexp.splits.stimulus": "neuroexp.data.splits.stimulus",
}
FIRST = {new: old for old, new in NOW.items()}


def current(node: Any) -> Any:
    """Return a configuration with every callable under the name that it has now."""
    return _with(node, lambda name: NOW.get(name, name))


def original(node: Any) -> Any:
    """Return a configuration with every callable under its first name, which no move changes."""
    return _with(node, lambda name: FIRST.get(name, name))


def _with(node: Any, name: Callable[[Any], Any]) -> Any:
    if isinstance(node, Mapping):
        return {
            key: name(value) if key == "_target_" and isinstance(value, str) else _with(value, name)
            for key, value in node.items()
        }
    return [_with(value, name) for value in node] if isinstance(node, list) else node
