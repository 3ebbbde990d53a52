"""Score against operations, energy, memory and latency, with the budget drawn in: `budget.energy_uj=2 budget.latency_ms=5`.

Made of whatever finished runs there are, in any experiment. A mark is a network at a window and step, the mean over the
recordings that all marks share.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from neuroexp.cost.budget import EARLIER, LIMITS, MAC, RATE, Budget, used, verdict

from .. import pictures
from ..artefact import Artefact, number
from ..cells import REPEATED, Cells, Source, is_setting
from ..sweeps import RECORDINGS

FACTORS = ("model", "window", "step")
KINDS = {"hdsemg": ("HD-sEMG", "test/f1"), "eng": ("ENG", "test/macro_f1")}
COSTS = (
    "cost/mac",
    "cost/mac_rate_hz",
    "cost/size_kb",
    "cost/size_int8_kb",
    "cost/activation_kb",
    "cost/ms_per_window",
)
LATENCY = "latency_ms"
OVER = "#D55E00"  # what lies beyond a limit
NAMED = 2  # conditions that are left out and named


def make(source: Source) -> Artefact:
    """Return score against cost, a table and a figure per kind of recording."""
    runs, budget = source.everything(), source.budget
    artefact = Artefact("budget/pareto", "Score against cost")
    shown = []
    for dataset, (kind, score) in KINDS.items():
        part = runs[runs["dataset"] == dataset] if len(runs) else runs
        if part.empty or score not in part:
            artefact.missing.append(f"{kind}: no run")
            continue
        part, others = one_condition(part.dropna(axis=1, how="all"), score)
        artefact.missing += [f"{kind}: {words}" for words in others]
        if others:
            artefact.notes.append(
                f"{kind}: runs of one condition are compared, the one with most decoders; name another to see it instead."
            )
        table, n, kept = points(part, score, budget)
        artefact.missing += [f"{kind}: {words}" for words in left_out(part, kept)]
        part = kept
        shown.append(part)
        artefact.notes += sentences(table, kind, n, budget)
        simulated = bool(part["recording_name"].str.startswith("simulated").any())
        artefact.tables[f"pareto_{dataset}"] = table
        artefact.figures[f"pareto_{dataset}"] = drawn(table, f"{kind}: score against cost", n, budget, simulated)
    if shown:
        artefact.runs = pd.concat(shown, ignore_index=True)
        artefact.notes += caveats(source, artefact.runs, budget)
    return artefact


def one_condition(runs: pd.DataFrame, score: str) -> tuple[pd.DataFrame, list[str]]:
    """Return the runs of the condition (split, label, epochs, ...) with most cells, and in words the others, best first.

    Of conditions with as many cells it is the one with the best score.
    """
    free = {*FACTORS, *RECORDINGS, *REPEATED}
    settings = [name for name in runs if is_setting(name) and name not in free and not name.startswith("model.")]
    varying = sorted((name for name in settings if runs[name].nunique(dropna=False) > 1), key=lambda name: "." in name)
    if not varying:
        return runs, []
    factors = [name for name in FACTORS if name in runs]
    groups = [group for _, group in runs.groupby(varying, dropna=False, sort=True)]
    groups.sort(key=lambda group: (len(group.drop_duplicates(factors)), group[score].max()), reverse=True)
    chosen, *others = groups
    others.sort(key=lambda group: group[score].max(), reverse=True)
    words = []
    for group in others[:NAMED]:
        said = [name for name in varying if not name.endswith("_target_") and pd.notna(group[name].iloc[0])]
        differ = [name for name in said if str(group[name].iloc[0]) != str(chosen[name].iloc[0])]
        values = (group[name].iloc[0] for name in differ[:3])
        typed = (f"{value:g}" if isinstance(value, float) else value for value in values)
        named = " ".join(f"{name}={value}" for name, value in zip(differ, typed, strict=False))
        reached = f"F1 {'up to ' * (len(group) > 1)}{number(group[score].max())}"
        words.append(f"left out {len(group)} run{'s' * (len(group) > 1)} with {named} ({reached})")
    if others[NAMED:]:
        words.append(f"left out {sum(map(len, others[NAMED:]))} runs of {len(others[NAMED:])} other conditions")
    return chosen.dropna(axis=1, how="all"), words


def points(runs: pd.DataFrame, score: str, budget: Budget) -> tuple[pd.DataFrame, int, pd.DataFrame]:
    """Return a row per network, window and step, of how many recordings each is the mean, and the runs behind them.

    Columns: the factors, `score` with its standard deviation over recordings, what is used of each limit, the limits on
    whose front the mark lies, and the budget's verdict. Raises DifferError when settings of one network differ.
    """
    runs = runs.reset_index(drop=True).copy()
    factors = [name for name in FACTORS if name in runs]
    rate = runs["dataset.rate_hz"] / runs["step"] if "step" in runs else pd.Series(np.nan, runs.index)
    runs["cost/mac"] = _first(runs, MAC)
    runs["cost/mac_rate_hz"] = _first(runs, RATE).fillna(
        runs["cost/mac"] * rate
    )  # older runs do not say, but have a step
    # measured, and the same at every step
    runs["cost/ms_per_window"] = runs.groupby(["model", "window"])["cost/ms_per_window"].transform("median")
    cells = Cells(runs, tuple(factors))
    places = cells.recordings
    scores = _shared(cells.scores, factors, places)
    grouped = scores.groupby(factors, sort=True)
    table = grouped[score].mean().reset_index(name="score")
    table = table.astype(
        {name: int for name in factors if name != "model"}
    )  # beside runs without a step they are floats
    spreads = grouped[score].std().to_numpy(dtype=float)
    table["score_sd"] = spreads
    table["runs"] = grouped["runs"].sum().to_numpy()
    costs = grouped[[name for name in COSTS if name in scores]].mean().to_dict("records")
    spent = pd.DataFrame([used(row, budget.device) for row in costs]).reindex(columns=list(LIMITS))
    for name in LIMITS:
        table[name] = spent[name].to_numpy()
    on = {name: front(table[name], table["score"]) for name in LIMITS}
    table["front"] = [", ".join(LIMITS[name][0] for name in LIMITS if on[name][row]) for row in range(len(table))]
    table["budget"] = [verdict(row, budget, numbers=False) for row in costs] if budget.limits else ""
    runs = runs.merge(scores[[*factors, *places]].drop_duplicates(), on=[*factors, *places])
    n = len(scores[places].drop_duplicates()) if places else 1
    return table.drop(columns=[] if budget.limits else "budget"), n, runs


def _first(runs: pd.DataFrame, names: Sequence[str]) -> pd.Series:
    """Return the first of these costs that each run has recorded."""
    unknown = pd.Series(np.nan, runs.index)
    return reduce(lambda known, name: known.fillna(runs[name]) if name in runs else known, names, unknown)


def _shared(scores: pd.DataFrame, factors: list[str], places: list[str]) -> pd.DataFrame:
    """Keep the recordings on which every cell was run; where there is none, the one with most cells, and those cells."""
    if not places:
        return scores
    counts = scores.groupby(places)[factors[0]].size()
    whole = len(scores.drop_duplicates(factors))
    kept = counts[counts == whole] if (counts == whole).any() else counts.nlargest(1)
    return scores.merge(kept.reset_index()[places], on=places)


def left_out(before: pd.DataFrame, after: pd.DataFrame) -> list[str]:
    """Return in words which recordings are not shown because not every decoder was run on them, and which decoders."""
    names = sorted({*before["recording_name"]} - {*after["recording_name"]})
    factors = [name for name in FACTORS if name in before]
    cells = len(before.drop_duplicates(factors)) - len(after.drop_duplicates(factors))
    words = [f"left out {', '.join(names)}, on which not every decoder was run"] if names else []
    return words + ([f"left out {cells} decoder{'s' * (cells > 1)}, for no recording has all of them"] if cells else [])


def front(costs: ArrayLike, scores: ArrayLike) -> NDArray[np.bool_]:
    """Return which points no other one beats: cheaper or as cheap, better or as good, and one of the two strictly."""
    cost, score = np.asarray(costs, dtype=float), np.asarray(scores, dtype=float)
    beaten = (cost[None] <= cost[:, None]) & (score[None] >= score[:, None])
    beaten &= (cost[None] < cost[:, None]) | (score[None] > score[:, None])
    return np.isfinite(cost) & np.isfinite(score) & ~beaten.any(axis=1)


def best(table: pd.DataFrame) -> pd.Series | None:
    """Return the row with the highest score within the budget, the one with fewest operations of equals; None without."""
    within = table[table["budget"] == "within"] if "budget" in table else table
    if within["score"].isna().all():
        return None
    return within.sort_values(["score", "energy_uj"], ascending=[False, True]).iloc[0]


def label(row: Any, full: bool = True) -> str:
    """Return a mark's name: its network, window and step, or the latter two alone."""
    words = [pictures.name(row["model"])] * full + [f"W{row['window']:g}"]
    return " ".join(words + ([f"S{row['step']:g}"] if pd.notna(row.get("step")) else []))


def sentences(table: pd.DataFrame, kind: str, n: int, budget: Budget) -> list[str]:
    """Return which decoder is the best one within the budget."""
    row, over = best(table), f" over {n} recordings" if n > 1 else " on one recording"
    words = " ".join(f"budget.{name}={limit:g}" for name, limit in budget.limits.items())
    if row is None:
        return [f"{kind}: no decoder is within {words}."]
    if row["score"] == 0:
        return [f"{kind}: no decoder{f' within {words}' if words else ''} finds anything: the best F1 is 0{over}."]
    spread = f" ± {number(row['score_sd'])}" if pd.notna(row["score_sd"]) else ""
    where = (
        f"the best decoder within {words}" if words else "no budget is set (budget.energy_uj=2, say); the best decoder"
    )
    alone = " It is the only one: train others, of another model, window or step, to compare." * (len(table) == 1)
    return [f"{kind}: {where} is {label(row)}, F1 {number(row['score'])}{spread}{over}.{alone}"]


def caveats(source: Source, runs: pd.DataFrame, budget: Budget) -> list[str]:
    """Return what the numbers rest on."""
    device = budget.device
    first = runs.groupby("sweep")[["experiment", "run_id"]].first()
    machines = sorted({source.machine(row.experiment, row.run_id) for row in first.itertuples()})
    earlier = int(runs[MAC[1]].notna().sum()) if MAC[1] in runs else 0
    return [
        *[f"The MAC of {earlier} runs of an earlier version are {EARLIER}: train again to compare."] * bool(earlier),
        "A mark is chosen by the test scores that it shows: confirm it on a recording that had no part in the choice.",
        f"Energy is an estimate for {device.name} ({device.what}, {device.pj_per_mac:g} pJ/MAC, {device.includes}): "
        f"{device.source} ({device.year}). Memory is weights and activations in its {device.precision}; KB is 1000 bytes.",
        "Latency is one prediction on one thread, median over the runs of a network and window, beside whatever else ran, on "
        + "; ".join(machines)
        + (": several machines, choose one's runs before comparing." * (len(machines) > 1) or "."),
    ]


def drawn(table: pd.DataFrame, title: str, n: int, budget: Budget, simulated: bool) -> Figure:
    """Return a panel per cost: a mark per network, window and step, the front, the limit and what lies beyond it."""
    over = f"mean ± standard deviation over {n} recordings" if n > 1 else "one recording"
    figure = pictures.figure(f"{title}, {over}", 8.2, 6.8, simulated)
    titles = {
        "mac_per_s": "million MAC per second",
        "energy_uj": f"µJ per decision (estimate, {budget.device.name})",
        "memory_kb": f"KB of weights and activations ({budget.device.precision})",
        LATENCY: "ms per prediction",
    }
    panels = figure.subplots(2, 2, sharey=True)
    for axes, (name, xlabel) in zip(panels.flat, titles.items(), strict=True):
        axes.set_xlabel(xlabel)
        if table[name].notna().any():
            _panel(axes, table.assign(cost=table[name] / LIMITS[name][2]), name, budget)
        else:
            axes.text(0.5, 0.5, "these runs do not say", ha="center", transform=axes.transAxes, color=pictures.GREY)
    for axes in panels[:, 0]:
        axes.set_ylabel("macro F1" if "step" not in table else "F1")
    low, high = panels[0, 0].get_ylim()
    lacking = max(0.0, 0.1 - (high - low)) / 2  # scores that are nearly the same shall look so
    low, high = low - lacking, high + lacking
    panels[0, 0].set_ylim(max(low, -0.03), min(high, 1.05))
    panels[0, 0].set_yticks([tick for tick in panels[0, 0].get_yticks() if max(low, 0) <= tick <= min(high, 1)])
    pictures.legend(figure, columns=5)
    return figure


def _panel(axes: Axes, table: pd.DataFrame, name: str, budget: Budget) -> None:
    axes.set_xscale("log")
    wide = table["cost"].max() > 30 * table["cost"].min()  # then there is room for powers of ten alone
    axes.xaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.12g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(axis="both", color="#EEEEEE", lw=0.8, zorder=0)
    groups = list(table.groupby("model", sort=True))
    shades = pictures.colours(network for network, _ in groups)
    for place, (colour, (network, group)) in enumerate(zip(shades, groups, strict=True)):
        style: dict[str, Any] = {"marker": pictures.MARKERS[place % len(pictures.MARKERS)], "ls": "none", "zorder": 4}
        axes.errorbar(group["cost"], group["score"], group["score_sd"], fmt="none", ecolor=colour, alpha=0.35, lw=1)
        fits = group["budget"] == "within" if "budget" in group else pd.Series(True, group.index)
        axes.plot(group["cost"], group["score"], ms=6.5, mfc="white", mec=colour, mew=1.2, **style)
        axes.plot(group["cost"][fits], group["score"][fits], ms=6.5, mfc=colour, mec=colour, mew=1.2, **style)
        axes.plot([], [], ms=6.5, mfc=colour, mec=colour, label=pictures.name(network), **style)
    ahead = table[front(table["cost"], table["score"])].sort_values("cost")
    if len(ahead) > 1:
        axes.step(ahead["cost"], ahead["score"], where="post", color="#444444", lw=1.1, zorder=3, label="Pareto front")
    if table[["window", *(["step"] if "step" in table else [])]].drop_duplicates().shape[0] > 1:
        _name(axes, ahead, 0.07 * (table["score"].max() - table["score"].min()))
    low, high = table["cost"].min(), table["cost"].max()
    limit = budget.limits.get(name)
    if limit is not None:
        limit /= LIMITS[name][2]
        low, high = min(low, limit), max(high, limit)
    room = (high / low) ** 0.12 * 1.15
    axes.set_xlim(low / room**1.4, high * room)
    if limit is not None:
        axes.axvspan(limit, axes.get_xlim()[1], color=OVER, alpha=0.08, lw=0, zorder=0, label="over the limit")
        axes.axvline(limit, color=OVER, lw=1.2, ls="--", zorder=2)
    chosen = best(table)
    if chosen is not None:
        words = "best within the budget" if budget.limits else "best"
        style = {"ms": 14, "mfc": "none", "mec": "black", "mew": 1.2, "ls": "none", "zorder": 5}
        axes.plot(chosen["cost"], chosen["score"], "o", label=words, **style)
    if budget.limits:
        axes.plot([], [], "o", ms=6.5, mfc="white", mec="#444444", label="hollow: over budget")


def _name(axes: Axes, ahead: pd.DataFrame, apart: float) -> None:
    """Write window and step beside the marks of a front, below where the mark before is hardly lower."""
    rises = ahead["score"].diff().fillna(np.inf) > apart
    for row, rise in zip(ahead.to_dict("records"), rises, strict=True):
        style: dict[str, Any] = {"fontsize": 7.5, "color": "#333333", "zorder": 3.5, "textcoords": "offset points"}
        style |= {"ha": "right" if rise else "left", "bbox": {"fc": "white", "ec": "none", "pad": 0.6, "alpha": 0.75}}
        axes.annotate(label(row, full=False), (row["cost"], row["score"]), (-6, 7) if rise else (6, -13), **style)
