"""A run's configuration as text, and read back: plain values, in which nothing is left to resolve or to build by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

LONGEST = 1_000_000  # characters; a run's configuration has a few thousand
PARTS = ("dataset", "recording", "model", "task", "trainer", "tracking")


def text(config: Mapping[str, Any]) -> str:
    """Return a resolved configuration as YAML; what looks like an interpolation in it is text."""
    return yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)


def read(text: str) -> dict[str, Any]:
    """Return the configuration that a run keeps as YAML; raises ValueError when it is none.

    Aliases, by which a few lines unfold to gigabytes, are refused: no run writes them.
    """
    if len(text) > LONGEST:
        raise ValueError(f"it has {len(text):,} characters, at most {LONGEST:,} are read")
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise ValueError("it holds YAML aliases, which no run writes")
        config = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"it is no YAML: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(config, dict) or not all(isinstance(config.get(name), dict) for name in PARTS):
        raise ValueError(f"it lacks one of the parts {', '.join(PARTS)}")
    return config


def merged(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with the values of another in place of its own; lists are replaced as a whole."""
    both = dict(config)
    for name, value in changes.items():
        old = both.get(name)
        both[name] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return both
