"""The summary of a replay: its timing, and what a terminal says of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from neuroexp.replay.pace import BEHIND, Tally
from neuroexp.replay.scoring import WHOLE
from neuroexp.streams.stream import CAUSAL, Health
from neuroexp.terminal import screen


def timing(tally: Tally, seconds: float, rate_hz: float, samples: int) -> dict[str, Any]:
    """Return deadlines and latencies in milliseconds."""
    latencies = tally.latencies
    return {
        "deadline_ms": tally.deadline_ms,
        "decided": tally.decided,
        "met": tally.decided - tally.missed,
        "missed": tally.missed,
        "dropped": tally.dropped,
        "dropped_when_behind_ms": BEHIND * tally.deadline_ms,
        "p50_ms": latencies.quantile_ms(0.5),
        "p99_ms": latencies.quantile_ms(0.99),
        "max_ms": latencies.max_ms,
        "seconds": seconds,
        "recorded_s": samples / rate_hz,
    }


def show(summary: Mapping[str, Any]) -> None:
    """Print the summary of a replay."""
    from rich.table import Table as Grid  # noqa: PLC0415 - only when there is something to print

    out, time = screen.console(), summary["timing"]
    out.print(f"{summary['name']} on {summary['title']}", markup=False, soft_wrap=True)
    out.print(summary["how"], markup=False, soft_wrap=True)
    if summary["stopped"]:
        out.print(f"stopped after {time['recorded_s']:.2f} s of it")
    grid = Grid(box=None, pad_edge=False, header_style="bold")
    heads = ("decisions", "deadline", "met", "missed", "dropped", "p50", "p99", "max")
    for head in heads:
        grid.add_column(head, justify="right")
    shown = [f"{time[name]:.3g} ms" for name in ("p50_ms", "p99_ms", "max_ms")]
    counts = [str(time[name]) for name in ("met", "missed", "dropped")]
    grid.add_row(str(time["decided"]), f"{time['deadline_ms']:.3g} ms", *counts, *shown)
    out.print()
    screen.whole(out, grid)
    if silent := nothing(summary):
        out.print(f"\n[yellow]{silent}[/]", soft_wrap=True)
    if "scores" in summary:
        out.print()
        show_scores = _classes if "confusion" in summary["scores"][WHOLE] else _agreements
        show_scores(out, summary)
    if "unscored" in summary:
        out.print(f"\n{summary['unscored']}", markup=False, soft_wrap=True)
    out.print()
    for note in (*summary["notes"], *health(summary["health"])):
        if note not in summary["said"]:
            out.print(note, markup=False, soft_wrap=True)
    out.print(f"{summary['folder']}/replay.png", markup=False, soft_wrap=True)


def nothing(summary: Mapping[str, Any]) -> str:
    """Return in a sentence that no unit ever discharged, if that is so."""
    highest, threshold = summary["highest_probability"], summary["threshold"]
    if threshold is None or highest > threshold:
        return ""
    return f"No discharge found: the highest probability was {highest:.3g}, a discharge takes more than {threshold:g}."


def health(found: Mapping[str, Any]) -> list[str]:
    """Return in sentences what was wrong with the streams."""
    said = []
    for recording, kept in found.items():
        begin = f"{recording}: " if recording else ""
        said += [note if note == CAUSAL else begin + note for note in kept["notes"]]
        for channel, count in kept["replaced"].items():
            said.append(f"{begin}channel {channel} was not finite in {count} samples: its last good value stands there")
        if kept["gaps"]:
            gaps = f"{kept['gaps']} gap{'s' * (kept['gaps'] > 1)}"
            said.append(f"{begin}{gaps}, {kept['lost_windows']} windows that touch them not decided")
        if kept["late_samples"]:
            said.append(f"{begin}{kept['late_samples']} samples came again or too late: dropped")
    return list(dict.fromkeys(said))


def plain(kept: Health) -> dict[str, Any]:
    """Return a stream's health as it goes into the summary."""
    found = {name: dict(value) if isinstance(value, dict) else value for name, value in vars(kept).items()}
    del found["say"]
    return found


def _agreements(out: Any, summary: Mapping[str, Any]) -> None:
    from rich.table import Table as Grid  # noqa: PLC0415

    grid = Grid(box=None, pad_edge=False, header_style="bold")
    grid.add_column("spike trains")
    heads = ("units", "rate of agreement", "ceiling", "units ≥ 0.9", "ceiling", "sensitivity", "precision")
    for head in (*heads, "matched", "missed", "false"):
        grid.add_column(head, justify="right")
    for part, score in summary["scores"].items():
        counts = [str(sum(unit[name] for unit in score["units"])) for name in ("matched", "only_true", "only_found")]
        rate, highest, sensitivity, precision = (
            f"{score[name]:.3f}" if math.isfinite(score[name]) else "-"
            for name in ("rate_of_agreement", "ceiling", "sensitivity", "precision")
        )
        good = ["-" if score[name] is None else str(score[name]) for name in ("roa_90_units", "roa_90_ceiling")]
        grid.add_row(part, str(score["scored"]), rate, highest, *good, sensitivity, precision, *counts)
    screen.whole(out, grid)
    score = summary["scores"][WHOLE]
    for line in (
        f"matched one to one within {score['tolerance']}, {score['lag']}",
        "ceiling: what perfect labels would reach, through the same windows, events and matching",
        "rates are means over the units that discharge there; a unit that was never found has precision 0",
        "discharges are counted, not windows as in the run's F1, which several windows share where they overlap",
        *unscored(summary["scores"]),
    ):
        out.print(line, markup=False, soft_wrap=True)
    if summary["trained_on"]:
        out.print("the whole recording includes what the run was trained on")


def unscored(scores: Mapping[str, Any]) -> list[str]:
    """Return in sentences which units cannot be scored, and where."""
    said = []
    for part, score in scores.items():
        if units := score["unscored"]:
            which = f"unit{'s' * (len(units) > 1)} {', '.join(map(str, units))}"
            said.append(f"{part}: {which} without a discharge, not scored")
    return said


def _classes(out: Any, summary: Mapping[str, Any]) -> None:
    from rich.table import Table as Grid  # noqa: PLC0415

    for part, score in summary["scores"].items():
        grid = Grid(box=None, pad_edge=False, header_style="bold")
        grid.add_column(f"{part} \\ decided")
        for name in summary["outputs"]:
            grid.add_column(name, justify="right")
        grid.add_column("correct", justify="right")
        for number, (name, counts) in enumerate(zip(summary["outputs"], score["confusion"], strict=True)):
            if sum(counts):  # else the replay was stopped before it
                grid.add_row(name, *map(str, counts), f"{counts[number] / sum(counts):.3f}")
        screen.whole(out, grid)
        seen = sum(map(any, score["confusion"]))
        of = f" over the {seen} of {len(summary['outputs'])} classes that came" * (seen < len(summary["outputs"]))
        out.print(f"accuracy {score['accuracy']:.3f}, macro F1 {score['macro_f1']:.3f}{of}\n")
    out.print(f"{WHOLE}: {summary['counted']}", soft_wrap=True)
