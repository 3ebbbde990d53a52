"""The published numbers, which live in published.csv alone, and ours beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from experiments.cells import RECORDINGS

FILE = Path(__file__).with_name("published.csv")
TEXTS = ("model", "condition", "unit", "note")


def read(paper: str, artefact: str) -> pd.DataFrame:
    """Return the published numbers of one table or figure.

    Columns: where in the paper, model (as in `model=`; `A - B` is a difference, `A / B` a relative change), window, step,
    condition (`recording.rat=4`), metric (as in MLflow; `sd METRIC` is its spread over recordings), value, sd, unit, note.
    """
    table = pd.read_csv(FILE)
    table[list(TEXTS)] = table[list(TEXTS)].fillna("")
    chosen = table[(table["paper"] == paper) & (table["artefact"] == artefact)]
    if chosen.empty:
        raise ValueError(f"{FILE.name} has nothing of {paper}/{artefact}")
    return chosen.drop(columns=["paper", "artefact"]).reset_index(drop=True)


def beside(scores: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Return a row per published number with ours, computed from `scores` (a row per cell and recording, see `Cells`)."""
    rows = []
    for fact in published.to_dict("records"):
        ours, spread, count = _ours(scores, fact)
        difference = ours - fact["value"]
        within = "" if pd.isna(fact["sd"]) or pd.isna(ours) else "yes" if abs(difference) <= fact["sd"] else "no"
        rows.append(
            {
                "where": fact["where"],
                "network": fact["model"],
                "window": _whole(fact["window"]),
                "step": _whole(fact["step"]),
                "condition": fact["condition"].replace("recording.", ""),
                "score": fact["metric"].replace("test/", "").replace("data/", "").replace("cost/", ""),
                "unit": fact["unit"],
                "ours": ours,
                "ours_sd": spread,
                "n": count,
                "published": fact["value"],
                "published_sd": fact["sd"],
                "difference": difference,
                "within_sd": within,
                "note": fact["note"],
            }
        )
    table = pd.DataFrame(rows)
    empty = [name for name in table if (table[name].isna() | (table[name] == "")).all() and name != "ours"]
    return table.drop(columns=empty)


def _whole(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.0f}"


def _ours(scores: pd.DataFrame, fact: dict[str, Any]) -> tuple[float, float, int]:
    """Return our mean, standard deviation and number of recordings for a published number."""
    chosen = scores
    settings = dict(pair.split("=") for pair in fact["condition"].split())
    settings |= {name: f"{fact[name]:.0f}" for name in ("window", "step") if not pd.isna(fact[name])}
    for name, value in settings.items():
        if name not in chosen:  # recordings that do not say it, of another rat perhaps
            return float("nan"), float("nan"), 0
        chosen = chosen[pd.to_numeric(chosen[name], errors="coerce") == float(value)]
    scale = 100.0 if fact["unit"] == "%" else 1.0
    metric = fact["metric"].removeprefix("sd ")
    if metric not in chosen:
        return float("nan"), float("nan"), 0
    for sign in (" / ", " - "):
        if sign in fact["model"]:
            first, second = (_of(chosen, name, metric) for name in fact["model"].split(sign))
            both = first.index.intersection(second.index)  # recordings that both have
            means = first[both].mean(), second[both].mean()
            return scale * (means[0] / means[1] - 1 if sign == " / " else means[0] - means[1]), float("nan"), len(both)
    values = _of(chosen, fact["model"], metric)
    if fact["metric"].startswith("sd "):
        return scale * values.std(), float("nan"), len(values)
    return scale * values.mean(), scale * values.std(), len(values)


def _of(scores: pd.DataFrame, model: str, metric: str) -> pd.Series:
    """Return a network's values by recording, NaN left out; of all networks when none is named."""
    chosen = scores[scores["model"] == model] if model else scores
    keys = [name for name in RECORDINGS if name in chosen]
    by_recording = chosen.groupby(keys, dropna=False)[metric].mean() if keys else chosen[metric].reset_index(drop=True)
    values: pd.Series = by_recording.dropna()
    return values
