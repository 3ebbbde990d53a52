"""One launch, a single run or a sweep: its name, its folder, the results its jobs leave there, and the table at its end."""

from __future__ import annotations

import json
import math
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback

RESULT = "result.json"
NAME = "NEUROEXP_LAUNCH"  # in the environment, so that the jobs of every launcher inherit it


class Launch(Callback):
    """Remembers where the launch writes, so that its end can be told even after a failure."""

    folder: Path | None = None
    sweep = False

    def on_multirun_start(self, config: Any, **_: Any) -> None:
        """Remember the folder of a sweep."""
        Launch.folder, Launch.sweep = Path(config.hydra.sweep.dir).absolute(), True

    def on_run_start(self, config: Any, **_: Any) -> None:
        """Remember the folder of a single run."""
        Launch.folder = Path(config.hydra.run.dir).absolute()


def begin() -> None:
    """Name this launch after the clock, with a few random digits: two launches in one second stay apart."""
    os.environ[NAME] = f"{time.strftime('%Y-%m-%d_%H-%M-%S')}-{secrets.token_hex(2)}"


def name() -> str:
    """Return the launch's name, which is its folder's and its tag's."""
    return os.environ[NAME]


def write(folder: str | Path, result: Mapping[str, Any]) -> None:
    """Leave a job's result in its folder; a reader never sees half of it."""
    path = Path(folder) / RESULT
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(result))
    partial.replace(path)


def results() -> list[dict[str, Any]]:
    """Return what the jobs of this launch left, in the order of their numbers."""
    if Launch.folder is None:
        return []
    found = Launch.folder.glob(f"*/{RESULT}" if Launch.sweep else RESULT)
    return sorted((json.loads(path.read_text()) for path in found), key=lambda result: result["job"])


def summary(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the table of a launch and how to open its runs in MLflow."""
    from rich.console import Console  # noqa: PLC0415 - only when there is something to print
    from rich.table import Table  # noqa: PLC0415

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200  # a log file has no edge to wrap at
    columns = list(dict.fromkeys(key for row in rows for key in row["report"]))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("run", no_wrap=True)
    for key in columns:
        table.add_column(heading(key), justify="right", no_wrap=True)
    table.add_column("seconds", justify="right")
    table.add_column("status")
    for row in rows:
        cells = [_cell(row["scores"].get(key)) for key in columns]
        colour = {"failed": "red", "killed": "yellow"}.get(row["status"], "green")
        table.add_row(
            row["name"],
            *cells,
            _cell(None if row["status"] == "skipped" else row["seconds"], 1),
            f"[{colour}]{row['status']}[/]",
        )
    if len(rows) > 1 or rows[0]["status"] != "failed":
        console.print()
        console.print(table)
    for row in rows:
        if row["status"] == "failed":
            console.print(f"[red]{row['name']}[/]: {row['error']} (traceback in {row['log']})", soft_wrap=True)
    linked = [row for row in rows if row["status"] in ("finished", "skipped")]  # the others have no view
    if linked:
        console.print()
        if linked[-1]["uri"].startswith("sqlite:"):
            console.print(
                f"mlflow server --workers 1 --backend-store-uri {linked[-1]['uri']}", markup=False, soft_wrap=True
            )
        console.print(linked[-1]["link"], markup=False, soft_wrap=True)


def heading(score: str) -> str:
    """Return a score's short name for people: `chance` for `baseline/f1_chance`, `control` for any score of the control."""
    if score.startswith("control/"):
        return "control"
    return score.rsplit("/", maxsplit=1)[-1].removesuffix("_share").removeprefix("f1_")


def _cell(value: float | None, digits: int = 3) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"
