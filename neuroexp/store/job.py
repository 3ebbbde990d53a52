"""One job as plain values: everything that a training needs to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neuroexp.settings import keys
from neuroexp.store.ledger import Cell


@dataclass(frozen=True)
class Job:
    """Everything that one training needs to know, as plain values that travel between processes."""

    config: dict[str, Any]  # resolved
    number: int  # in its launch
    name: str
    launch: str
    parameters: dict[str, str]  # what MLflow shows of it
    columns: tuple[str, ...]  # those that are columns of the sweep
    logging: dict[str, Any]  # Hydra's, of this job
    bar: bool  # one over the epochs
    parallel: bool  # other jobs run on this machine at the same time, and share its GPUs
    trusted: tuple[str, ...] = ()  # modules whose callables its configuration may name, as they were typed
    sources: Mapping[str, str] = field(default_factory=dict)  # digests of the source that is not of a released package
    known_key: str = ""  # of its configuration, once somebody has asked for it

    @property
    def key(self) -> str:
        """Return the key of its configuration, for which every file that it names is read."""
        return self.known_key or keys.configuration_key(self.config)

    @property
    def cell(self) -> Cell:
        """Where its finished training is recorded."""
        tracking = self.config["tracking"]
        return Cell(tracking["ledger"], tracking["uri"], self.config["experiment"], self.key)

    @property
    def folder(self) -> Path:
        """Where the job writes."""
        return Path(self.config["output"]).absolute()

    @property
    def log(self) -> Path:
        """Where everything is written that it says."""
        return self.folder / "job.log"
