"""The tables and figures that there are: one of them, or all in a page to open, print and cite."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import track

from neuroexp.store.tracking import Store

from . import converged
from .artefact import Artefact, arguments, show, write
from .cells import Source
from .report import render

EXPERIMENT = "reports"  # of MLflow, where the pages are kept


def make(words: Sequence[str]) -> None:
    """Make what the words of a command line ask for, and print it: an artefact that the first one names, or all.

    Raises ValueError for words that make no sense and for runs that must not be averaged, StoreError when the store is away.
    """
    makers = artefacts()
    name = words[0] if words and "=" not in words[0] else None
    if name is not None and name not in makers:
        near = difflib.get_close_matches(name, makers, 3) or [*makers]
        raise ValueError(f"{name} is no table or figure; there are {', '.join(near)}")
    if name is None:
        _all(makers, words)
    else:
        source, out = arguments(words[1:])
        artefact = converged.mark(makers[name](source))
        show(artefact, write(artefact, out))
        _say_left_out(source)


def artefacts() -> dict[str, Callable[[Source], Artefact]]:
    """Return the function behind every table or figure, by its name: `make` of each module of a paper, in its ORDER."""
    found = {}
    here = importlib.import_module(__package__)
    for paper in pkgutil.iter_modules(here.__path__):
        if paper.ispkg:
            package = importlib.import_module(f"{__package__}.{paper.name}")
            names = [module.name for module in pkgutil.iter_modules(package.__path__)]
            order = [*package.ORDER, *(name for name in names if name not in package.ORDER)]
            for name in order:
                found[f"{paper.name}/{name}"] = importlib.import_module(f"{package.__name__}.{name}").make
    return found


def _all(makers: dict[str, Callable[[Source], Artefact]], words: Sequence[str]) -> None:
    """Make every artefact, write its files and one page, and log that page to MLflow."""
    source, out = arguments(words)
    made = []
    for name in track(makers, "artefacts", console=Console(stderr=True), transient=True):
        try:
            made.append(converged.mark(makers[name](source)))
        except (ValueError, KeyError) as error:  # runs that must not be averaged, or lack a score: the others are made
            made.append(failed(name, error))
        write(made[-1], out)
    page = out / "report.html"
    page.write_text(render(made, words, datetime.now(UTC), [*source.left_out.values()]))
    link = _log(source, page)
    for artefact in made:
        state = artefact.provenance.partition(":")[0]
        print(f"{artefact.name:36} {state}" + ("; some are missing" if artefact.missing else ""))
    print(f"\n{page}\n{link}")
    _say_left_out(source)


def failed(name: str, error: Exception) -> Artefact:
    """Return what stands in the place of an artefact that could not be made."""
    return Artefact(name, name, missing=[f"not made: {error}"])


def _log(source: Source, page: Path) -> str:
    """Keep a page in MLflow as a run of its own; return where it is to be seen."""
    store = Store(source.uri, source.artifacts, EXPERIMENT)
    run_id = store.keep(f"report {datetime.now(UTC):%Y-%m-%d %H:%M}", page)
    return f"in MLflow: experiment {EXPERIMENT}, run {run_id}"


def _say_left_out(source: Source) -> None:
    """Say which runs are in no table, and why."""
    for why in source.left_out.values():
        print(f"left out: {why}", file=sys.stderr)
