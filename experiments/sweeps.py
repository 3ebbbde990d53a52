"""What an experiment sweeps over, as its configuration says, and which of it was not run."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

RECORDINGS = ("recording.subject", "recording.mvc", "recording.rat", "recording.path")
CONF = Path(__file__).parent.parent / "conf" / "experiment"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def missing(runs: pd.DataFrame, factors: Sequence[str], experiment: str, narrowed: Mapping[str, str]) -> list[str]:
    """Return which cells of an experiment's sweep have no run, a sentence per level of the first of `factors`.

    `narrowed` replaces what a factor goes through, in Hydra's notation.
    """
    swept = grid(experiment) | dict(narrowed)
    names = [*factors, *(name for name in RECORDINGS if name in swept and name not in factors)]
    expected = list(itertools.product(*(values(swept[name]) for name in names)))
    have = [] if runs.empty else [tuple(runs[name]) for name in names if name in runs]
    found = list(zip(*have, strict=True)) if len(have) == len(names) else []
    absent = [cell for cell in expected if not any(all(map(same, other, cell)) for other in set(found))]
    sentences = []
    for level in dict.fromkeys(cell[0] for cell in absent):
        group = [cell for cell in absent if cell[0] == level]
        whole = sum(cell[0] == level for cell in expected)
        named = [" ".join(f"{name}={value}" for name, value in zip(names[1:], cell[1:], strict=True)) for cell in group]
        shown = "; ".join(named[:4]) + (f" and {len(named) - 4} more" if len(named) > 4 else "")
        sentences.append(f"{level}: no run of {len(group)} of {whole} cells" + (f" ({shown})" if shown else ""))
    if "fold" in swept and not runs.empty:
        folds = values(swept["fold"])
        lacking = [fold for fold in folds if not any(same(value, fold) for value in set(runs["fold"]))]
        if lacking:
            sentences.append(f"no run of folds {', '.join(lacking)} of {len(folds)}")
    return sentences


def same(value: Any, word: str) -> bool:
    """Return whether a setting has the value that a word names; 1, 1.0 and True are not told apart by how they are written."""
    try:
        return float(value) == float(word)
    except (TypeError, ValueError):
        return str(value).lower() == word.lower()


def grid(experiment: str) -> dict[str, str]:
    """Return what an experiment sweeps over: setting -> values, in Hydra's notation."""
    path = CONF / f"{experiment}.yaml"
    swept: dict[str, str] = yaml.load(path.read_text(), LOADER)["hydra"]["sweeper"]["params"]
    return {name: str(words) for name, words in swept.items()}


def values(words: str) -> list[str]:
    """Return what a sweep over `words` (`1,2,3`, `range(5)`) goes through, in Hydra's own reading."""
    [override] = OverridesParser.create().parse_overrides([f"x={words}"])
    return [str(value) for value in override.sweep_string_iterator()] if override.is_sweep_override() else [words]
