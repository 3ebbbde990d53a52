"""What becomes of a table or figure of a paper: files to cite, a view for the terminal, a part of the report."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import Any

import pandas as pd
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from matplotlib.figure import Figure
from rich.markup import escape
from rich.table import Table

from neuroexp.cost import budget
from neuroexp.machine import places
from neuroexp.terminal import screen

from .cells import Source

OUT = Path("outputs/paper")
SUFFIXES = (".csv", ".md", ".tex", ".png", ".pdf")


@dataclass
class Artefact:
    """One table or figure, ours beside the published one."""

    name: str  # paper/file
    title: str
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)  # the first one compares with the paper
    figures: dict[str, Figure] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # what a reader must know, contradictions of the paper among it
    missing: list[str] = field(default_factory=list)
    runs: pd.DataFrame = field(default_factory=pd.DataFrame)  # that it was made of
    computed: bool = False  # from the networks themselves, without a run
    trained: bool = True  # its numbers depend on how well the networks were trained

    @property
    def simulated(self) -> bool:
        """Whether any of its numbers comes from a simulation."""
        return not self.runs.empty and bool(self.runs["recording_name"].str.startswith("simulated").any())

    @property
    def recordings(self) -> str:
        """On which recordings it was computed, in words."""
        if self.runs.empty:
            return "no recording"
        names = sorted(self.runs["recording_name"].unique())
        shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        return f"{len(names)} recording{'s' * (len(names) != 1)}: {shown}"

    @property
    def provenance(self) -> str:
        """Recordings, runs and revisions, in words."""
        if self.runs.empty:
            return "computed from the networks themselves" if self.computed else "no runs"
        commits = sorted({str(commit)[:8] for commit in self.runs["commit"] if commit})
        revision = f", revision {', '.join(commits)}" if commits else ""
        epochs = sorted(self.runs["trainer.max_epochs"].unique())
        length = f"trainer.max_epochs {', '.join(map(str, epochs))}"
        return f"{len(self.runs)} run{'s' * (len(self.runs) != 1)} ({length}) on {self.recordings}{revision}"


def write(artefact: Artefact, out: Path) -> list[Path]:
    """Write an artefact's tables (CSV, Markdown, LaTeX) and figures (PNG, PDF) into `out`/its name; return the files."""
    folder = out / artefact.name
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():  # of an earlier time, which had other tables perhaps
        if path.suffix in SUFFIXES:
            path.unlink()
    files = []
    for name, table in artefact.tables.items():
        shown = readable(table)
        caption = f"{artefact.title}{', simulated' * artefact.simulated} ({artefact.provenance})"
        texts = {
            "csv": table.to_csv(index=False),
            "md": f"{shown.to_markdown(index=False, disable_numparse=True)}\n\n{caption}\n",
            "tex": shown.to_latex(index=False, escape=True, caption=re.sub(r"([%_&#$])", r"\\\1", caption)),
        }
        for suffix, text in texts.items():
            files.append(folder / f"{name}.{suffix}")
            files[-1].write_text(text)
    for name, figure in artefact.figures.items():
        for suffix in ("png", "pdf"):
            files.append(folder / f"{name}.{suffix}")
            figure.savefig(files[-1], dpi=200)
    if not artefact.runs.empty:
        files.append(folder / "runs.csv")
        artefact.runs[["run_id", "name", "recording_name", "commit"]].to_csv(files[-1], index=False)
    return files


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table as text: a mean and its standard deviation (`NAME_sd`) as one column, numbers as `number` writes them."""
    shown = {}
    for name in table:
        if str(name).endswith("_sd") and str(name).removesuffix("_sd") in table:
            continue
        texts = table[name].map(number)
        if f"{name}_sd" in table:
            spreads = table[f"{name}_sd"].map(number)
            texts = texts + spreads.map(lambda spread: f" ± {spread}" if spread else "")
        shown[str(name).replace("_", " ")] = texts
    return pd.DataFrame(shown)


def is_text(values: pd.Series) -> bool:
    """Return whether a column of a table holds words, to be set flush left."""
    return bool(values.map(lambda value: isinstance(value, str) and not value.isdigit() and value != "").any())


def number(value: Any) -> str:
    """Return a value as a reader wants to see it; nothing for a missing one."""
    if value is None or isinstance(value, str | bool | Integral):
        return "" if value is None else f"{value:,}" if isinstance(value, int) and value >= 1000 else str(value)
    if pd.isna(value):
        return ""
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if 1e-12 < size < 0.001:  # below: what rounding leaves of 0
        return f"{value:.0e}"
    text = f"{value:.3f}" if size < 10 else f"{value:.1f}" if size < 100 else f"{value:.0f}"
    return text[:-1] if size < 10 and text.endswith("0") else text


def show(artefact: Artefact, files: Sequence[Path]) -> None:
    """Print an artefact to the terminal."""
    console = screen.console()
    console.print(f"[bold]{artefact.title}[/bold]" + (" (simulated)" if artefact.simulated else ""))
    console.print(artefact.provenance, markup=False)
    for table in artefact.tables.values():
        kept = table.drop(columns="note", errors="ignore")  # too long for a terminal; the files have it
        shown = readable(kept)
        grid = Table(box=None, pad_edge=False, header_style="bold")
        for name in shown:
            left = is_text(kept[name if name in kept else name.replace(" ", "_")])
            grid.add_column(name, justify="left" if left else "right", no_wrap=True)
        for row in shown.itertuples(index=False):
            grid.add_row(*map(escape, row))
        console.print()
        screen.whole(console, grid)
    for heading, lines in (("", artefact.notes), ("Missing:", artefact.missing)):
        if lines:
            console.print()
            if heading:
                console.print(heading)
            for line in lines:
                console.print(f"- {line}", markup=False)
    if files:
        console.print(f"\n{len(files)} files in {files[0].parent}", markup=False)


def arguments(words: Sequence[str]) -> tuple[Source, Path]:
    """Return where to read from and where to write, from the words of a command line; raises ValueError for others."""
    only: dict[str, tuple[str, ...]] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name or name.startswith("-"):
            raise ValueError(f"'{word}' is no SETTING=VALUE")
        try:
            [override] = OverridesParser.create().parse_overrides([word])
        except OverrideParseException:
            only[name] = (value,)  # a path or an address
            continue
        swept = override.is_sweep_override()
        only[name] = tuple(map(str, override.sweep_string_iterator())) if swept else (str(override.value()),)
    uri = only.pop("tracking.uri", (os.environ.get("MLFLOW_TRACKING_URI", places.store(places.here())),))
    [out] = only.pop("out", (str(OUT),))
    limits = {name: only.pop(name) for name in [*only] if name.split(".")[0] == "budget"}
    allowed = budget.read({name.partition(".")[2]: _limit(name, words) for name, words in limits.items()})
    if places.absent(uri[0]):
        raise ValueError(f"{uri[0]} is not there: run an experiment first, or name the store with tracking.uri=URI")
    return Source(uri[0], str(Path.cwd() / "outputs" / "artifacts"), only, allowed), Path(out)


def _limit(name: str, words: Sequence[str]) -> float | str | None:
    """Return a value of the budget as it was typed: a number, a device, or none."""
    if len(words) > 1:
        raise ValueError(f"{name}={','.join(words)}: a figure has one budget")
    try:
        return float(words[0])
    except ValueError:
        return None if words[0] == "None" else words[0]
