"""What became of a job, and the file in which it is left for the launch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from neuroexp.machine import files
from neuroexp.store.job import Job

RESULT = "result.json"  # in the folder of a job
Status = Literal["finished", "skipped", "elsewhere", "failed", "killed", "left"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a job, and how its row of a table is filled.

    Attributes
    ----------
    job
        Its number in its launch.
    name
        What tells it from the other jobs, such as `mldcnn W20 S10 fold0`.
    log
        The file in which everything is written that it said.
    report
        The scores that its table shows, in this order.
    status
        `finished`; `skipped`: its cell had finished before; `elsewhere`: another launch trains it; `failed`; `killed`: it was
        told to stop; `left`: it has not begun.
    scores
        Every score of its run by name, as in MLflow.
    notes
        What must be known of its recording, a sentence each.
    run_id
        The id of its run in MLflow, where it has one.
    error
        Why it failed, in one sentence.
    foreseen
        Whether it failed for something that would be the same at the next attempt.
    unended
        Whether its process is gone without having ended its run. No file says so: whoever reads this of a process ends the run.
    uri
        The address of its store, once that has been looked for.
    link
        The page of its launch in MLflow.
    unsent
        Why the store does not have everything of it yet.
    budget
        `within`, or what of the budget it is over; empty without a budget.
    seconds
        How long it took.
    """

    job: int = 0
    name: str = ""
    log: str = ""
    report: tuple[str, ...] = ()
    status: Status = "left"
    scores: Mapping[str, float] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    run_id: str | None = None
    error: str = ""
    foreseen: bool = False
    unended: bool = False
    uri: str = ""
    link: str = ""
    unsent: str = ""
    budget: str = ""
    seconds: float = 0.0

    @classmethod
    def of(cls, job: Job) -> Outcome:
        """Return that of a job which has not begun."""
        return cls(job=job.number, name=job.name, log=str(job.log), report=tuple(job.config["report"]))

    @property
    def done(self) -> bool:
        """Whether its cell has finished, in this launch or before, so that it has scores."""
        return self.status in ("finished", "skipped")

    def write(self, folder: str | Path) -> None:
        """Leave it in the folder of its job; a reader never sees half of it."""
        facts = dataclasses.asdict(self)
        del facts["unended"]
        files.write(Path(folder) / RESULT, facts)


NEEDED: files.Shape = {
    **dict.fromkeys(("name", "log"), files.text),
    "job": files.whole,
    "status": lambda value: value in get_args(Status),
    "scores": files.mapping_of(files.number),
    "report": files.list_of(files.text),
    "seconds": files.number,
}
POSSIBLE: files.Shape = {  # earlier versions left out what they had nothing to say of
    **dict.fromkeys(("run_id", "unsent"), files.maybe(files.text)),
    **dict.fromkeys(("link", "error", "budget", "uri"), files.text),
    "notes": files.list_of(files.text),
    "foreseen": files.flag,
}


def read(path: Path) -> Outcome | None:
    """Return what a job has left in a file; None when there is none, or when it is damaged."""
    found = files.read(path, NEEDED, POSSIBLE)
    if found is None or (found["status"] == "failed" and "error" not in found):
        return None
    known: dict[str, Any] = {name: found[name] for name in (*NEEDED, *POSSIBLE) if name in found}
    for name in ("report", "notes"):
        known[name] = tuple(known.get(name, ()))
    return Outcome(**known | {"unsent": known.get("unsent") or ""})
