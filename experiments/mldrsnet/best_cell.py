"""Tables 7 and 8, Figs. 8 and 9 of Ma et al.: each network at the window and step at which it is published best."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from .. import comparison, pictures, published
from ..artefact import Artefact
from ..cells import Cells, Source
from ..mldrsnet import BESIDE, BEST, EXPERIMENT, GAMED, NETWORKS, SCORES


def make(source: Source) -> Artefact:
    """Return the networks compared at their best cells."""
    artefact = Artefact("mldrsnet/best_cell", "Networks at their best cells (Tables 7, 8; Figs. 8, 9)")
    artefact.notes.append(
        "Published: ML-DCNN above both others in all scores (P < 0.001), ML-DRSNet and MT-DCNN not told apart; precision "
        "of ML-DRSNet against MT-DCNN P = 0.962, 0.290, 0.541 at 10, 30, 50 % MVC, of ML-DCNN against ML-DRSNet P < "
        "0.001, 0.05, 0.01; identified units of ML-DRSNet against MT-DCNN at 30 % P = 0.653."
    )
    return at_cells(source, artefact, BEST, published.read("mldrsnet", "window_step"))


def at_cells(
    source: Source, artefact: Artefact, places: Mapping[str, tuple[int, int]], facts: pd.DataFrame
) -> Artefact:
    """Fill an artefact with the networks compared, each at one window and step, over all intensities and at each."""
    runs = source.runs(EXPERIMENT)
    if not runs.empty:
        runs = pd.concat(
            runs[(runs["model"] == name) & (runs["window"] == window) & (runs["step"] == step)]
            for name, (window, step) in places.items()
        )
    artefact.runs = runs
    cells = Cells(runs, ("model", "window", "step"))
    artefact.tables[artefact.name.rpartition("/")[2]] = published.beside(cells.scores, facts)
    have = set(runs["model"]) if not runs.empty else set()
    artefact.missing = [f"{name} at window={w} step={s}" for name, (w, s) in places.items() if name not in have]
    if runs.empty:
        return artefact
    by = ["recording.mvc"] if "recording.mvc" in cells.recordings else []
    artefact.tables["scores"] = Cells(runs, ("model", "window", "step", *by)).summary((*SCORES, *BESIDE))
    artefact.notes.append(GAMED)
    comparison.add(artefact, cells, SCORES)
    for level in sorted(runs["recording.mvc"].unique()) if by else ():
        chosen = Cells(runs[runs["recording.mvc"] == level], cells.factors)
        comparison.add(artefact, chosen, ("test/precision", "test/identified_units"), part=f"{level:g} % MVC")
    drawn = pictures.figure(artefact.title, 9, 6, artefact.simulated)
    for axes, score in zip(drawn.subplots(2, 2).ravel(), SCORES, strict=True):
        means, spreads = (_by_intensity(cells.scores, score, by, how) for how in ("mean", "std"))
        known = {
            (fact["condition"].rpartition("=")[2] + " % MVC" if fact["condition"] else "all", fact["model"]): fact[
                "value"
            ]
            for fact in facts[facts["metric"] == score].to_dict("records")
        }
        pictures.bars(axes, means, spreads, {key: v for key, v in known.items() if key[0] in means.index})
        axes.set_ylabel(score.rpartition("/")[2].replace("_", " "))
        if score != "test/identified_units":
            axes.set_ylim(0, 1.05)
    pictures.legend(drawn)
    artefact.figures[artefact.name.rpartition("/")[2]] = drawn
    return artefact


def _by_intensity(scores: pd.DataFrame, score: str, by: list[str], how: str) -> pd.DataFrame:
    """Return a statistic of a score: a row for all recordings and one per intensity, a column per network."""
    rows = {"all": scores.groupby("model")[score].agg(how)}
    for column in by:
        for level, group in scores.groupby(column):
            rows[f"{level:g} % MVC"] = group.groupby("model")[score].agg(how)
    table = pd.DataFrame(rows).T
    return table[pictures.ordered(table, NETWORKS)]
