"""Networks on the same recordings: the statistics of an artefact, in words, as a table and as a diagram."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pandas as pd

from . import pictures, statistics
from .artefact import Artefact
from .cells import Cells

AS_PUBLISHED = "all, as published"
UNIT = (
    "Unit of all tests: the subject, mean over its folds and seeds, and over intensities where all are tested together. p "
    "values are exact. p_post_hoc: Wilcoxon-Nemenyi-McDonald-Thompson as in the paper; p_holm: Wilcoxon's signed rank test "
    "after Holm; both are blank where no result could be significant. effect: rank-biserial correlation. low, high: 95 % "
    f"studentised bootstrap interval of the mean difference over subjects (Student's where many are equal), "
    f"{statistics.NO_INTERVAL}."
)


def add(artefact: Artefact, cells: Cells, metrics: Sequence[str], factor: str = "model", part: str = "") -> None:
    """Add a table of all pairs, a critical-difference diagram of the first metric, and what Friedman's test says.

    `part` names the recordings of a part (an intensity); its rows join the table, and it has no diagram. Where subjects are
    too few, or were not run with every network, the reason stands in its place. Subjects with several recordings are
    averaged first; what the paper did, to count each recording as independent, follows under its own name.
    """
    rows = _tested(artefact, cells.per_subject, cells, metrics, factor, part or "all", diagram=not part)
    if not part and cells.repeats_subjects:
        rows += _tested(artefact, cells.paired, cells, metrics, factor, AS_PUBLISHED, diagram=False)
        artefact.notes.append(
            f'"{AS_PUBLISHED}": intensities of one subject counted as independent, as in the paper. They are not: where they '
            "go together, such a test finds differences that are none."
        )
    if "recording.path" in cells.subjects:
        note = "Each file counts as a subject of its own: of several files of one subject, narrow to one (recording.path=FILE)."
        artefact.notes += [note] if note not in artefact.notes else []
    known = [artefact.tables["statistics"]] if "statistics" in artefact.tables else []
    if rows:
        artefact.tables["statistics"] = pd.concat([*known, pd.DataFrame(rows)], ignore_index=True)
    if rows and not known:
        artefact.notes.append(UNIT)


def _tested(
    artefact: Artefact,
    table: Callable[[str, str], pd.DataFrame],
    cells: Cells,
    metrics: Sequence[str],
    factor: str,
    which: str,
    diagram: bool,
) -> list[dict[str, object]]:
    """Return the rows of all pairs, over the rows of `table(metric, factor)`; what cannot be tested becomes a note."""
    rows: list[dict[str, object]] = []
    refused: dict[str, list[str]] = {}
    where = "" if which == "all" else f" ({which})"
    unit = "recordings" if which == AS_PUBLISHED else "subjects"
    for place, metric in enumerate(metrics):
        title = metric.removeprefix("test/").replace("/", " ").replace("_", " ")
        try:
            scores = table(metric, factor)
            found = statistics.compare(scores)
        except ValueError as error:
            refused.setdefault(str(error), []).append(title)
            continue
        n, k = scores.shape
        artefact.notes.append(
            f"{title}{where}: Friedman chi-squared({k - 1}) = {found.friedman:.2f}, p = {found.p:.3g} over {n} {unit}, "
            f"Kendall's W = {found.kendall_w:.2f}."
        )
        if found.untested:
            refused.setdefault(found.untested, []).append(f"pairs in {title}")
        rows += [{"score": title, "recordings": which, "n": n} | row for row in found.pairs.to_dict("records")]
        if place == 0 and diagram and math.isfinite(found.critical_difference):
            artefact.figures["critical_difference"] = pictures.critical_difference(
                f"Mean ranks, {title}", found, n, artefact.simulated
            )
    artefact.notes += [f"No test of {', '.join(titles)}{where}: {reason}." for reason, titles in refused.items()]
    return rows
