"""Which numbers of an artefact come from trainings that had not converged: a column of its tables, a line under its figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from neuroexp.evaluation.convergence import CONVERGED, MARK

from . import pictures
from .sweeps import same

if TYPE_CHECKING:
    from experiments.artefact import Artefact

COLUMN = "not_converged"
SETTINGS = {
    "network": "model",
    "first": "model",
    "second": "model",
}  # columns of tables named otherwise
VALUES = ("ours", "mean", "score", "f1", "macro_f1", "difference")  # a row without any of its own is of no training
WORDS = (
    f"{COLUMN.replace('_', ' ')}: of how many of the runs behind a row the validation loss was lowest in the last tenth of "
    "the epochs. Longer training may change these numbers: neither agreement nor difference says much about the paper."
)

COLOUR = "#A33B00"


def mark(artefact: Artefact) -> Artefact:
    """Add to an artefact of trained networks which of its numbers are of trainings that had not converged; return it."""
    if artefact.runs.empty or not artefact.trained or _settled(artefact.runs):
        return artefact
    artefact.tables = {name: _marked(table, artefact.runs) for name, table in artefact.tables.items()}
    artefact.notes.append(WORDS)
    for figure in artefact.figures.values():
        said = f"{MARK} not converged: {in_words(artefact.runs)}"
        if figure.legends:  # which has the place below the axes
            figure.legends[0].set_title(said)
            figure.legends[0].get_title().set(fontsize=8, color=COLOUR)
        else:
            figure.supxlabel(said, fontsize=8, color=COLOUR)
    return artefact


def in_words(runs: pd.DataFrame) -> str:
    """Return of how many runs of each network the training had not converged."""
    counts = {pictures.name(model): count(part) for model, part in runs.groupby("model")}
    return ", ".join(f"{name} {words}" for name, words in counts.items() if words) + " runs"


def count(runs: pd.DataFrame) -> str:
    """Return `3 of 6`, how many runs had not converged, and how many do not say; nothing when all had."""
    values = runs[CONVERGED] if CONVERGED in runs else pd.Series(math.nan, runs.index)
    failed, unknown = int((values == 0).sum()), int(values.isna().sum())
    words = f"{failed} of {len(runs)}" if failed else ""
    return ", ".join(filter(None, [words, f"{unknown} of {len(runs)} unknown" if unknown else ""]))


def _settled(runs: pd.DataFrame) -> bool:
    return CONVERGED in runs and bool((runs[CONVERGED] == 1).all())


def _marked(table: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the counts of the runs behind each row, before its note; one that has them stays as it is."""
    if COLUMN in table:
        return table
    own = [name for name in VALUES if name in table]
    rows = table.to_dict("records")
    return counted(
        table, [runs[:0] if own and all(pd.isna(row[name]) for name in own) else behind(row, runs) for row in rows]
    )


def counted(table: pd.DataFrame, groups: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return a table with how many of its runs had not converged in each row, before its note; without, when all had."""
    words = [count(runs) for runs in groups]
    if not any(words):
        return table
    marked = table.copy()
    marked.insert(list(table).index("note") if "note" in table else len(table.columns), COLUMN, words)
    return marked


def behind(row: Mapping[str, Any], runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that a row of a table can come from: those with the settings that its columns name."""
    settings = dict(pair.split("=") for pair in str(row.get("condition", "")).split() if "=" in pair)
    chosen = pd.Series(True, runs.index)
    models = pd.Series(False, runs.index)
    for column, value in {**row, **settings}.items():
        name = next((name for name in _names(str(column)) if name in runs), None)
        if name is None or value == "":
            continue
        parts: Sequence[str] = [word.strip() for word in _levels(str(value))]
        found = runs[name].map(lambda level, parts=parts: any(same(level, part) for part in parts))
        if name == "model":
            models |= found
        elif found.any():  # else it says it in words of its own
            chosen &= found
    return runs[chosen & (models if models.any() else True)]


def _names(column: str) -> list[str]:
    """Return which setting of a run a column of a table may be."""
    return [SETTINGS.get(column, column), f"recording.{column}", f"dataset.{column}"]


def _levels(value: str) -> list[str]:
    """Return the networks of a difference or a ratio, else the value alone."""
    for sign in (" / ", " - "):
        if sign in value:
            return value.split(sign)
    return [value]
