"""Tables 2, 5 and 6, Figs. 4, 6 and 7 of Ma et al.: three networks over window and step."""

from __future__ import annotations

from matplotlib.patches import Rectangle

from .. import pictures, published
from ..artefact import Artefact
from ..cells import Cells, Source
from ..mldrsnet import BESIDE, EXPERIMENT, GAMED, NETWORKS, SCORES


def make(source: Source) -> Artefact:
    """Return scores per cell, and the published best cells with ours beside them."""
    runs = source.runs(EXPERIMENT)
    artefact = Artefact("mldrsnet/window_step", "Window and step (Tables 2, 5, 6; Figs. 4, 6, 7)", runs=runs)
    cells = Cells(runs, ("model", "window", "step"))
    facts = published.read("mldrsnet", "window_step")
    artefact.tables["window_step"] = published.beside(cells.scores, facts)
    artefact.missing = cells.missing(EXPERIMENT)
    artefact.notes += [
        "The published cells are the best of each network's twenty; the tables with the others were not available to us.",
        GAMED,
    ]
    if runs.empty:
        return artefact
    summary = cells.summary((*SCORES, *BESIDE, "data/test_windows_overlapping_train", "data/positives_outside_window"))
    artefact.tables["cells"] = summary
    networks = pictures.ordered(summary["model"], NETWORKS)
    title = "Scores over window and step, mean ± standard deviation over recordings, published best cell framed"
    drawn = pictures.figure(title, 3.4 * len(networks) + 0.4, 9.5, artefact.simulated)
    panels = drawn.subplots(len(SCORES), len(networks), squeeze=False)
    for row, score in zip(panels, SCORES, strict=True):
        chosen = summary[summary["score"] == score.removeprefix("test/")]
        high = 1.0 if score != "test/identified_units" else max(1.0, float(chosen["mean"].max()))
        for axes, network in zip(row, networks, strict=True):
            of = chosen[chosen["model"] == network]
            table, spreads = (
                of.pivot_table(index="window", columns="step", values=value, dropna=False)
                for value in ("mean", "mean_sd")
            )
            label = f"{pictures.name(network)}: {score.rpartition('/')[2].replace('_', ' ')}"
            pictures.heat(axes, table, label, high=high, spreads=spreads.reindex_like(table))
            for fact in facts[(facts["model"] == network) & (facts["metric"] == score)].itertuples():
                if fact.window in table.index and fact.step in table.columns:
                    corner = (table.columns.get_loc(fact.step) - 0.5, table.index.get_loc(fact.window) - 0.5)
                    axes.add_patch(Rectangle(corner, 1, 1, fill=False, ec=pictures.OTHERS[5], lw=1.8))
                    axes.set_title(f"{label} (published {fact.value:.2f})")
    artefact.figures["window_step"] = drawn
    return artefact
