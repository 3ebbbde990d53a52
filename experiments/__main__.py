"""All artefacts in one page to open, print and cite: `python -m experiments [SETTING=VALUE ...]`."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import track

import experiments
from experiments import converged
from experiments.artefact import USAGE, Artefact, arguments, say_left_out, write
from experiments.cells import Source
from experiments.report import render
from neuroexp.machine.command import command
from neuroexp.store.tracking import Store, StoreError

EXPERIMENT = "reports"  # of MLflow, where the pages are kept


def artefacts() -> dict[str, Callable[[Source], Artefact]]:
    """Return the function behind every table or figure, by its name: `make` of each module of a paper, in its ORDER."""
    found = {}
    for paper in pkgutil.iter_modules(experiments.__path__):
        if paper.ispkg:
            package = importlib.import_module(f"experiments.{paper.name}")
            names = [module.name for module in pkgutil.iter_modules(package.__path__)]
            order = [*package.ORDER, *(name for name in names if name not in package.ORDER)]
            for name in order:
                found[f"{paper.name}/{name}"] = importlib.import_module(f"experiments.{paper.name}.{name}").make
    return found


def failed(name: str, error: Exception) -> Artefact:
    """Return what stands in the place of an artefact that could not be made."""
    return Artefact(name, name, missing=[f"not made: {error}"])


@command
def main() -> None:
    """Make every artefact, write its files and one page, and log that page to MLflow."""
    words = sys.argv[1:]
    if {"-h", "--help"} & set(words):
        sys.exit(f"usage: python -m experiments {USAGE}")
    try:
        source, out = arguments(words)
        made = []
        makers = artefacts()
        for name in track(makers, "artefacts", console=Console(stderr=True), transient=True):
            try:
                made.append(converged.mark(makers[name](source)))
            except (
                ValueError,
                KeyError,
            ) as error:  # runs that must not be averaged, or lack a score: the others are made
                made.append(failed(name, error))
            write(made[-1], out)
        page = out / "report.html"
        page.write_text(render(made, words, datetime.now(UTC), [*source.left_out.values()]))
        link = log(source, page)
    except (ValueError, StoreError) as error:
        sys.exit(str(error))
    for artefact in made:
        state = artefact.provenance.partition(":")[0]
        print(f"{artefact.name:36} {state}" + ("; some are missing" if artefact.missing else ""))
    print(f"\n{page}\n{link}")
    say_left_out(source)


def log(source: Source, page: Path) -> str:
    """Keep a page in MLflow as a run of its own; return where it is to be seen."""
    store = Store(source.uri, source.artifacts, EXPERIMENT)
    run_id = store.keep(f"report {datetime.now(UTC):%Y-%m-%d %H:%M}", page)
    return f"in MLflow: experiment {EXPERIMENT}, run {run_id}"


if __name__ == "__main__":
    main()
