"""The published numbers, which live in published.csv alone, and ours beside them."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan, nan
from pathlib import Path
from typing import Any

import pandas as pd

from . import statistics
from .artefact import number
from .cells import REPEATS
from .sweeps import RECORDINGS

FILE = Path(__file__).with_name("published.csv")
TEXTS = ("model", "condition", "sd_over", "unit", "note")
OVER = {
    "": "",
    "class": "recordings x classes",
}  # what a published standard deviation is over, recordings unless it says


@dataclass(frozen=True)
class Ours:
    """Our counterpart of a published number."""

    mean: float = nan
    sd: float = nan
    n: int = 0  # recordings
    by_subject: pd.Series | None = None  # what an interval can be computed from


def read(paper: str, artefact: str) -> pd.DataFrame:
    """Return the published numbers of one table or figure.

    Columns: where in the paper, model (as in `model=`; `A - B` is a difference, `A / B` a relative change), window, step,
    condition (`recording.rat=4`), metric (as in MLflow; `sd METRIC` is its spread over recordings), value, sd, what that is
    over (recordings; `class`: every class of every recording), unit, note.
    """
    table = pd.read_csv(FILE)
    table[list(TEXTS)] = table[list(TEXTS)].fillna("")
    chosen = table[(table["paper"] == paper) & (table["artefact"] == artefact)]
    if chosen.empty:
        raise ValueError(f"{FILE.name} has nothing of {paper}/{artefact}")
    return chosen.drop(columns=["paper", "artefact"]).reset_index(drop=True)


def beside(scores: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Return a row per published number with ours, computed from `scores` (a row per cell and recording, see `Cells`).

    `interval` is the 95 % interval of the difference over subjects, the published number taken as it stands.
    """
    rows = []
    for fact in published.to_dict("records"):
        ours = _ours(scores, fact)
        rows.append(
            {
                "where": fact["where"],
                "network": fact["model"],
                "window": _whole(fact["window"]),
                "step": _whole(fact["step"]),
                "condition": fact["condition"].replace("recording.", ""),
                "score": fact["metric"].replace("test/", "").replace("data/", "").replace("cost/", ""),
                "unit": fact["unit"],
                "ours": ours.mean,
                "ours_sd": ours.sd,
                "n": ours.n,
                "published": fact["value"],
                "published_sd": fact["sd"],
                "sd_is_over": OVER[fact["sd_over"]],
                "difference": ours.mean - fact["value"],
                "interval": _interval(ours, fact["value"]),
                "note": fact["note"],
            }
        )
    table = pd.DataFrame(rows)
    empty = [name for name in table if (table[name].isna() | (table[name] == "")).all() and name != "ours"]
    return table.drop(columns=empty)


def _interval(ours: Ours, value: float) -> str:
    if ours.by_subject is None or isnan(ours.mean):
        return ""
    low, high = statistics.interval(ours.by_subject.to_numpy(dtype=float))
    return statistics.NO_INTERVAL if isnan(low) else f"{number(low - value)} to {number(high - value)}"


def _whole(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.0f}"


def _ours(scores: pd.DataFrame, fact: dict[str, Any]) -> Ours:
    """Return what we have for a published number."""
    chosen = scores
    settings = dict(pair.split("=") for pair in fact["condition"].split())
    settings |= {name: f"{fact[name]:.0f}" for name in ("window", "step") if not pd.isna(fact[name])}
    for name, value in settings.items():
        if name not in chosen:  # recordings that do not say it, of another rat perhaps
            return Ours()
        chosen = chosen[pd.to_numeric(chosen[name], errors="coerce") == float(value)]
    scale = 100.0 if fact["unit"] == "%" else 1.0
    metric = fact["metric"].removeprefix("sd ")
    if metric not in chosen:
        return Ours()
    for sign in (" / ", " - "):
        if sign in fact["model"]:
            first, second = (_of(chosen, name, metric) for name in fact["model"].split(sign))
            both = first.index.intersection(second.index)  # recordings that both have
            first, second = scale * first[both], scale * second[both]
            if sign == " / ":
                return Ours(scale * (first.mean() / second.mean() - 1), n=len(both))
            return Ours((first - second).mean(), n=len(both), by_subject=_by_subject(first - second))
    values = scale * _of(chosen, fact["model"], metric)
    if fact["metric"].startswith("sd "):
        return Ours(values.std(), n=len(values))
    spread = scale * _of_classes(chosen, fact["model"], metric).std() if fact["sd_over"] else values.std()
    return Ours(values.mean(), spread, len(values), _by_subject(values))


def _of(scores: pd.DataFrame, model: str, metric: str) -> pd.Series:
    """Return a network's values by recording, NaN left out; of all networks when none is named."""
    chosen = scores[scores["model"] == model] if model else scores
    keys = [name for name in RECORDINGS if name in chosen]
    by_recording = chosen.groupby(keys, dropna=False)[metric].mean() if keys else chosen[metric].reset_index(drop=True)
    values: pd.Series = by_recording.dropna()
    return values


def _of_classes(scores: pd.DataFrame, model: str, metric: str) -> pd.Series:
    """Return the scores of every class on every recording of which `metric` (`test/macro_f1`) is the mean."""
    begin = metric.replace("/macro_", "/") + "_"
    return pd.concat(
        [_of(scores, model, name) for name in scores if str(name).startswith(begin)] or [pd.Series(dtype=float)]
    )


def _by_subject(values: pd.Series) -> pd.Series | None:
    """Return values by recording as means over a subject's recordings; None where they are of no recording."""
    if values.index.names == [None]:
        return None
    subject = [name for name in values.index.names if name not in REPEATS]
    return values.groupby(level=subject).mean() if subject else values.iloc[:1]
