"""Networks on the same recordings: the statistics of an artefact, in words, as a table and as a diagram."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from experiments import pictures, statistics
from experiments.artefact import Artefact
from experiments.cells import Cells


def add(artefact: Artefact, cells: Cells, metrics: Sequence[str], factor: str = "model", part: str = "") -> None:
    """Add a table of all pairs, a critical-difference diagram of the first metric, and what Friedman's test says.

    `part` names the recordings of a part (an intensity); its rows join the table, and it has no diagram. Where recordings
    are too few, or were not run with every network, the reason stands in its place.
    """
    rows = []
    where = f" at {part}" if part else ""
    refused: dict[str, list[str]] = {}
    for place, metric in enumerate(metrics):
        title = metric.removeprefix("test/").replace("/", " ").replace("_", " ")
        try:
            scores = cells.paired(metric, factor)
            found = statistics.compare(scores)
        except ValueError as error:
            refused.setdefault(str(error), []).append(title)
            continue
        n, k = scores.shape
        artefact.notes.append(
            f"{title}{where}: Friedman chi-squared({k - 1}) = {found.friedman:.2f}, p = {found.p:.3g} over {n} recordings, "
            f"Kendall's W = {found.kendall_w:.2f}."
        )
        rows += [{"score": title, "recordings": part or "all", "n": n} | row for row in found.pairs.to_dict("records")]
        if place == 0 and not part:
            artefact.figures["critical_difference"] = pictures.critical_difference(
                f"Mean ranks, {title}", found, n, artefact.simulated
            )
    artefact.notes += [f"No test of {', '.join(titles)}{where}: {reason}." for reason, titles in refused.items()]
    known = [artefact.tables["statistics"]] if "statistics" in artefact.tables else []
    if rows:
        artefact.tables["statistics"] = pd.concat([*known, pd.DataFrame(rows)], ignore_index=True)
    if rows and not known:
        artefact.notes.append(
            "Unit of all tests: the recording, mean over its folds and seeds. p_post_hoc: Wilcoxon-Nemenyi-McDonald-Thompson "
            "as in the paper; p_holm: Wilcoxon's signed rank test after Holm; effect: rank-biserial correlation; low, high: "
            "95 % bootstrap interval of the mean difference."
        )
