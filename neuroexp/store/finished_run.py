"""One recorded run of a store: found by its id, its files read back, more of them added."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuroexp.machine import places
from neuroexp.store import runfiles
from neuroexp.store.tracking import opening
from neuroexp.terminal.shown import plain

if TYPE_CHECKING:
    from torch import Tensor


def read(uri: str, run_id: str) -> dict[str, Any]:
    """Return a run of any experiment: id (of which `run_id` may be the beginning), name, metrics, tags, two texts.

    Beside them the digest of its recording. Raises StoreError when the store cannot be reached, ValueError when the run is
    not in it, not the only one whose id begins so, not finished, or without its files.
    """
    if places.absent(uri):
        raise ValueError(f"{plain(uri)} is not there: name the store with tracking.uri=URI")
    with opening(uri) as client:
        run = _run(client, uri, run_id)
        if run.info.status != "FINISHED":
            raise ValueError(
                f"run {run.info.run_id} is {run.info.status.lower()}: it has no tested network and no scores until its "
                "command is typed again and finishes"
            )
        inputs = run.inputs.dataset_inputs if run.inputs else []
        found = {
            "run_id": run.info.run_id,
            "name": plain(run.info.run_name or run.info.run_id),
            "digest": inputs[0].dataset.digest if inputs else "",
        }
        found |= {"metrics": dict(run.data.metrics), "tags": dict(run.data.tags)}
        for name in ("config.yaml", "environment.json"):
            found[name] = runfiles.text(client, run.info.run_id, found["name"], name)
    return found


def _run(client: Any, uri: str, run_id: str) -> Any:
    found = []
    if re.fullmatch("[0-9a-f]{1,32}", run_id):
        everywhere = [experiment.experiment_id for experiment in client.search_experiments()]
        found = list(client.search_runs(everywhere, f"attributes.run_id LIKE '{run_id}%'", max_results=2))
    if not found:
        raise ValueError(f"run {run_id} is not in {uri}: copy its id from the table of its launch, or from MLflow")
    if len(found) > 1:
        raise ValueError(f"run {run_id} may be {' or '.join(run.info.run_id for run in found)}: type more of it")
    return found[0]


def weights(uri: str, found: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the weights of the network of a run that `read` has found.

    Raises ValueError when they are gone or not those that were written, StoreError when the store cannot be reached.
    """
    run_id, name = found["run_id"], found["name"]
    with tempfile.TemporaryDirectory() as folder:
        with opening(uri) as client:
            path = runfiles.bring(client, run_id, name, runfiles.WEIGHTS, folder)
        return runfiles.weights(path, found["tags"], name)


def download(uri: str, run_id: str, path: str, folder: str | Path) -> Path:
    """Bring a folder of a run into `folder`, return where it is; raises StoreError when it cannot be had."""
    with opening(uri) as client:
        return Path(client.download_artifacts(run_id, path, str(folder)))


def add(uri: str, run_id: str, folder: Path, metrics: Mapping[str, float], to: str | None = None) -> None:
    """Add to a finished run the files of `folder`, in its folder `to`, and metrics."""
    with opening(uri) as client:
        client.log_artifacts(run_id, str(folder), to)
        for name, value in metrics.items():
            client.log_metric(run_id, name, value)
