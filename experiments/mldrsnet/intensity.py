"""Table 3 and Fig. 5 of Ma et al.: ML-DRSNet at its best cell over contraction intensity."""

from __future__ import annotations

from .. import pictures
from ..artefact import Artefact
from ..cells import Cells, Source
from ..mldrsnet import BEST, EXPERIMENT, SCORES


def make(source: Source) -> Artefact:
    """Return the network's scores per intensity."""
    runs = source.runs(EXPERIMENT)
    window, step = BEST["mldrsnet"]
    if not runs.empty:
        runs = runs[(runs["model"] == "mldrsnet") & (runs["window"] == window) & (runs["step"] == step)]
    artefact = Artefact(
        "mldrsnet/intensity", f"ML-DRSNet over intensity, W={window} S={step} (Table 3, Fig. 5)", runs=runs
    )
    artefact.notes.append(
        "Published: accuracy falls as the intensity rises from 10 to 50 % MVC; Table 3 was not available to us."
    )
    if runs.empty or "recording.mvc" not in runs:
        artefact.missing.append(f"mldrsnet at window={window} step={step} with recording.mvc=10,30,50")
        return artefact
    cells = Cells(runs, ("recording.mvc",))
    summary = cells.summary(SCORES)
    artefact.tables["intensity"] = summary
    levels = sorted(summary["recording.mvc"].unique())
    artefact.missing += [f"recording.mvc={level}" for level in (10, 30, 50) if level not in levels]
    drawn = pictures.figure(artefact.title, 8, 2.8, artefact.simulated)
    for axes, score in zip(drawn.subplots(1, len(SCORES)), SCORES, strict=True):
        of = summary[summary["score"] == score.removeprefix("test/")].set_index("recording.mvc")
        axes.bar([f"{level:g}" for level in of.index], of["mean"], color=pictures.colour("mldrsnet"), width=0.65)
        shown = of["mean_sd"].notna().to_numpy()
        axes.errorbar(shown.nonzero()[0], of["mean"][shown], of["mean_sd"][shown], fmt="none", ecolor="#333333", lw=0.9)
        axes.set(xlabel="% MVC", title=score.rpartition("/")[2].replace("_", " "))
        if score == "test/identified_units":
            axes.set_ylim(0, max(1, 1.1 * of["mean"].max()))
        else:
            axes.set_ylim(0, 1.05)
    artefact.figures["intensity"] = drawn
    return artefact
