"""The state of a launch, seen from another terminal: `neuroexp status [FOLDER]`, by default the newest one."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from neuroexp.machine.command import command
from neuroexp.sweep import cluster, launch, progress, summary
from neuroexp.sweep.outcome import Outcome
from neuroexp.terminal import screen
from neuroexp.terminal.shown import plain


@command
def main() -> None:
    """Print what a launch has done, what it does, and what failed."""
    chosen = Path(sys.argv[1]) if len(sys.argv) > 1 else launch.latest(Path("outputs"))
    if chosen is None or not (chosen / launch.LAUNCH).exists():
        where = chosen or "./outputs"
        sys.exit(f"{where} holds no launch: neuroexp status [FOLDER], by default the newest in ./outputs")
    facts = launch.facts(chosen)
    if facts is None:
        sys.exit(
            f"{chosen / launch.LAUNCH} is damaged: it does not say what was launched, and its jobs are in {chosen}"
        )
    rows, now = launch.results(chosen), [facts for _, facts in launch.unended(chosen)]
    alive = launch.alive(chosen, facts["host"])
    state = {True: "running", False: "ended", None: f"on {facts['host']}"}[alive]
    out = screen.console()
    out.print(f"{plain(str(chosen))}: {plain(state)}", markup=False)
    out.print(f"neuroexp {plain(shlex.join(facts['command']), 5000)}", markup=False, soft_wrap=True)
    if rows:
        out.print()
        summary.table(out, rows)
    left = cluster.states(chosen) if facts["cluster"] and alive is False else {}
    in_cluster = None if left is None else left.keys() - {row.job for row in rows}
    _jobs(out, facts, rows, now, alive is not False, in_cluster)
    if in_cluster:
        out.print(f"The launch has ended without them: scancel {cluster.number(chosen)} ends them too.")
    elif alive is False and len(rows) < (facts["jobs"] or 1):
        out.print("The launch has ended: type the same command again to do the rest.")
    for row in rows:
        if row.status == "failed":
            summary.failed(out, row)
    for path in launch.damaged(chosen):
        out.print(f"{path} is damaged, its job is not counted", markup=False, soft_wrap=True)


def _jobs(
    out: Any,
    facts: Mapping[str, Any],
    rows: Sequence[Outcome],
    now: Sequence[Mapping[str, Any]],
    alive: bool,
    in_cluster: Set[int] | None,
) -> None:
    """Print what has begun, and how far the launch is.

    `in_cluster` are the jobs that a cluster still has of a launch that has ended, None where it cannot be asked.
    """
    if now:
        out.print()
    running = [job for job in now if alive or in_cluster is None or job["job"] in in_cluster]
    for job in now:
        epoch = f", epoch {job['epoch']} of {job['epochs']}" if "epoch" in job else ""
        for_s = screen.duration(time.time() - job["began"])
        name = plain(job["name"])
        out.print(f"{name}: running for {for_s}{epoch}" if job in running else f"{name}: cut off{epoch}", markup=False)
    jobs = facts["jobs"] or 1
    out.print()
    state = progress.line(jobs, rows, running)
    if in_cluster:
        waiting = len(in_cluster - {job["job"] for job in running})
        state = ", ".join(filter(None, (state, f"{waiting} waiting in the cluster" if waiting else "")))
    out.print(f"{len(rows)} of {jobs} jobs: {state or 'none has begun'}")
