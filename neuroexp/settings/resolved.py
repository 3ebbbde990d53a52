"""A resolved configuration: plain values, in which nothing is left to resolve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml


def text(config: Mapping[str, Any]) -> str:
    """Return a resolved configuration as YAML; what looks like an interpolation in it is text."""
    return yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)


def merged(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with the values of another in place of its own; lists are replaced as a whole."""
    both = dict(config)
    for name, value in changes.items():
        old = both.get(name)
        both[name] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return both
