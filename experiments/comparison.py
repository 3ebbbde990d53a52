"""Networks on the same recordings: the statistics of an artefact, in words, as a table and as a diagram."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from experiments import pictures, statistics
from experiments.artefact import Artefact
from experiments.cells import Cells


def add(artefact: Artefact, cells: Cells, metrics: Sequence[str], factor: str = "model") -> None:
    """Add a table of all pairs, a critical-difference diagram of the first metric, and what Friedman's test says.

    Where recordings are too few, or were not run with every network, the reason stands in its place.
    """
    rows = []
    refused: dict[str, list[str]] = {}
    for place, metric in enumerate(metrics):
        title = metric.rpartition("/")[2].replace("_", " ")
        try:
            scores = cells.paired(metric, factor)
            found = statistics.compare(scores)
        except ValueError as error:
            refused.setdefault(str(error), []).append(title)
            continue
        n, k = scores.shape
        artefact.notes.append(
            f"{title}: Friedman chi-squared({k - 1}) = {found.friedman:.2f}, p = {found.p:.3g} over {n} recordings, "
            f"Kendall's W = {found.kendall_w:.2f}."
        )
        rows += [{"score": title} | row for row in found.pairs.to_dict("records")]
        if place == 0:
            artefact.figures["critical_difference"] = pictures.critical_difference(
                f"Mean ranks, {title}", found, n, artefact.simulated
            )
    artefact.notes += [f"No test of {', '.join(titles)}: {reason}." for reason, titles in refused.items()]
    if rows:
        artefact.tables["statistics"] = pd.DataFrame(rows)
        artefact.notes.append(
            "Unit of all tests: the recording, mean over its folds and seeds. p_post_hoc: Wilcoxon-Nemenyi-McDonald-Thompson "
            "as in the paper; p_holm: Wilcoxon's signed rank test after Holm; effect: rank-biserial correlation; low, high: "
            "95 % bootstrap interval of the mean difference."
        )
