"""The store of all runs: MLflow, opened safely, written in batches, asked which jobs are finished, and read back as tables."""

from __future__ import annotations

import base64
import contextlib
import json
import math
import os
import tempfile
import time
import uuid
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")

import mlflow
from filelock import FileLock
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException

KEY, SWEEP, DONE = "neuroexp.key", "sweep", "neuroexp.tested"
VIEW = "neuroexp-"  # and the sweep's name: the key of its saved view
VIEWS_KEPT = 30  # MLflow takes no more than forty, and people save their own
SECTIONS = {"test": True, "val": True, "spread": False, "train": False, "baseline": False, "cost": False, "data": False}
FLUSH_S = 1.0


class Store:
    """One MLflow experiment of one tracking store; jobs in several processes may open the same one at once."""

    def __init__(self, uri: str, artifacts: str, experiment: str):
        """Open or create store and experiment; `artifacts` is the folder for files of an SQLite store."""
        self.uri, self.experiment = uri, experiment
        with warnings.catch_warnings(), _lock(uri):
            warnings.simplefilter("ignore")  # of the libraries below MLflow, about each other
            self.client = mlflow.MlflowClient(uri)
            self.experiment_id = self._experiment(artifacts)

    def _experiment(self, artifacts: str) -> str:
        found = self.client.get_experiment_by_name(self.experiment)
        if found is None:
            location = Path(artifacts).absolute().as_uri() if self.uri.startswith("sqlite:") else None
            with contextlib.suppress(MlflowException):  # another process may have created it meanwhile
                return self.client.create_experiment(self.experiment, artifact_location=location)
            found = self.client.get_experiment_by_name(self.experiment)
        if found is None or found.lifecycle_stage != "active":
            raise ValueError(
                f"the MLflow experiment '{self.experiment}' is deleted in {self.uri}: restore it or name another"
            )
        return str(found.experiment_id)

    def finished(self, key: str, sweep: str) -> dict[str, Any] | None:
        """Return id and scores of the finished and tested run with this configuration key, if there is one.

        The run then belongs to `sweep` as well as a new one would, so that the sweep shows all its cells.
        """
        found = self.client.search_runs(
            [self.experiment_id],
            f"tags.`{KEY}` = '{key}' and tags.`{DONE}` = 'true' and attributes.status = 'FINISHED'",
            max_results=1,
        )
        if not found:
            return None
        run = found[0]
        self.client.set_tag(run.info.run_id, SWEEP, sweep)
        return {"run_id": run.info.run_id, "scores": dict(run.data.metrics)}

    def start(self, name: str, key: str, sweep: str, parameters: Mapping[str, Any], tags: Mapping[str, str]) -> Run:
        """Start a run; parameters are bare numbers and short words."""
        run = self.client.create_run(
            self.experiment_id, run_name=name, tags={KEY: key, SWEEP: sweep, "mlflow.source.name": "neuroexp", **tags}
        )
        self.client.log_batch(run.info.run_id, params=[Param(k, str(v)) for k, v in parameters.items()])
        return Run(self.client, run.info.run_id)

    def runs(self, filter_string: str = "") -> list[dict[str, Any]]:
        """Return all finished and tested runs as flat rows: run_id, name, parameters, scores, and tags as `tag.NAME`."""
        rows: list[dict[str, Any]] = []
        query = f"tags.`{DONE}` = 'true' and attributes.status = 'FINISHED'" + (
            f" and {filter_string}" if filter_string else ""
        )
        token = None
        while True:
            page = self.client.search_runs([self.experiment_id], query, max_results=1000, page_token=token)
            for run in page:
                tags = {f"tag.{k}": v for k, v in run.data.tags.items()}
                rows.append(
                    {
                        "run_id": run.info.run_id,
                        "name": run.info.run_name,
                        **run.data.params,
                        **run.data.metrics,
                        **tags,
                    }
                )
            token = page.token
            if not token:
                return rows

    def link(self, sweep: str, host: str = "http://127.0.0.1:5000") -> str:
        """Return the address of the MLflow page that shows this sweep in its saved view."""
        address = self.uri if self.uri.startswith("http") else host
        # MLflow ignores a saved view when the address itself carries a filter, so the filter is in the view.
        page = f"{address}/#/experiments/{self.experiment_id}/runs?workflowType=machine_learning"
        return f"{page}&viewStateShareKey={VIEW}{sweep}"

    def save_view(self, sweep: str, parameters: Sequence[str], scores: Sequence[str]) -> None:
        """Save how MLflow shows a sweep: its runs alone, these columns, the best `scores[0]` first, four charts.

        MLflow keeps views as experiment tags in a format of its own, undocumented (seen in 3.17), so whatever it refuses
        costs the view and nothing else.
        """
        columns = [f"params.`{name}`" for name in parameters] + [f"metrics.`{name}`" for name in scores]
        columns.append("attributes.`Dataset`")
        score, now_ms = scores[0], int(time.time() * 1000)
        state = {
            "searchFilter": f"tags.`{SWEEP}` = '{sweep}'",
            "orderByKey": f"metrics.`{score}`",
            "orderByAsc": False,
            "selectedColumns": columns,
            "columnOrder": columns,
            "columnWidths": {column: _width(column) for column in columns},
            "runsHiddenMode": "SHOW_ALL",
            "compareRunCharts": _charts(score, parameters),
            "compareRunSections": [
                _section("sweep", "Cells of the sweep", True),
                *(_section(f"neuroexp-{name}", name, is_open) for name, is_open in SECTIONS.items()),
            ],
            "isAccordionReordered": True,
        }
        packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
        view = {"name": f"sweep {sweep}", "createdAt": now_ms, "updatedAt": now_ms, "state": f"deflate;{packed}"}
        prefix = f"mlflow.sharedViewState.{VIEW}"
        with contextlib.suppress(MlflowException):
            self.client.set_experiment_tag(self.experiment_id, prefix + sweep, json.dumps(view))
            ours = sorted(key for key in self.client.get_experiment(self.experiment_id).tags if key.startswith(prefix))
            for old in ours[:-VIEWS_KEPT]:  # a sweep's name starts with its time
                self.client.delete_experiment_tag(self.experiment_id, old)


class Run:
    """One run that is being written; metrics wait up to a second and go out together."""

    def __init__(self, client: mlflow.MlflowClient, run_id: str):
        """Write to the run `run_id`, which exists already."""
        self.client, self.run_id = client, run_id
        self._waiting: list[Metric] = []
        self._flushed = time.monotonic()

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log finite values; MLflow would store an infinity as a very large number."""
        now = int(time.time() * 1000)
        self._waiting += [Metric(k, float(v), now, step) for k, v in values.items() if math.isfinite(v)]
        if time.monotonic() - self._flushed > FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Send the metrics that wait."""
        while self._waiting:
            self.client.log_batch(self.run_id, metrics=self._waiting[:1000])
            del self._waiting[:1000]
        self._flushed = time.monotonic()

    def dataset(self, name: str, digest: str, facts: Mapping[str, Any]) -> None:
        """Record which recording the run has seen; `digest` depends on the data alone."""
        entry = Dataset(
            name=name,
            digest=digest[:16],
            source_type="local",
            source=json.dumps({"sha256": digest}),
            profile=json.dumps(facts),
        )
        self.client.log_inputs(self.run_id, [DatasetInput(entry, [InputTag("mlflow.data.context", "training")])])

    def text(self, text: str, path: str) -> None:
        """Keep a text as an artifact."""
        self.client.log_text(self.run_id, text, path)

    def file(self, path: str | Path) -> None:
        """Keep one file as an artifact."""
        self.client.log_artifact(self.run_id, str(path))

    def files(self, folder: str | Path, path: str | None = None) -> None:
        """Keep all files of a folder as artifacts under `path`."""
        self.client.log_artifacts(self.run_id, str(folder), path)

    @contextlib.contextmanager
    def folder(self) -> Iterator[Path]:
        """Yield an empty folder; what is in it at the end becomes artifacts."""
        with tempfile.TemporaryDirectory() as name:
            yield Path(name)
            self.files(name)

    def tags(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        self.client.log_batch(self.run_id, tags=[RunTag(k, v[:5000]) for k, v in tags.items()])

    def end(self, status: str) -> None:
        """Send what waits and close the run: FINISHED (and tested), FAILED or KILLED."""
        self.flush()
        if status == "FINISHED":
            self.tags({DONE: "true"})
        self.client.set_terminated(self.run_id, status)


def _lock(uri: str) -> contextlib.AbstractContextManager[Any]:
    """Return a lock around the opening of an SQLite file: several processes creating it at once can ruin it for good."""
    if not uri.startswith("sqlite:///"):
        return contextlib.nullcontext()
    path = Path(uri.removeprefix("sqlite:///"))
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(f"{path}.lock")


def _width(column: str) -> int:
    name = column.split("`")[1]
    return {"recording": 150, "Dataset": 240}.get(name, max(80, 6 * len(name) + 40))


def _section(key: str, name: str, is_open: bool) -> dict[str, Any]:
    return {"uuid": key, "name": name, "display": is_open, "isReordered": False}


def _charts(score: str, parameters: Sequence[str]) -> list[dict[str, Any]]:
    """Return MLflow's settings of the charts over the cells of a sweep."""

    def axis(key: str, kind: str) -> dict[str, str]:
        return {"key": key, "type": kind}

    cost, window, step = axis("cost/ms_per_window", "METRIC"), axis("window", "PARAM"), axis("step", "PARAM")
    kinds: list[dict[str, Any]] = [
        {
            "type": "PARALLEL",
            "selectedParams": [name for name in parameters if name not in ("recording", "split", "fold")],
            "selectedMetrics": [score],
            "showAllRuns": False,
        },
        {"type": "SCATTER", "xaxis": cost, "yaxis": axis(score, "METRIC")},
        {
            "type": "LINE",
            "metricKey": "val/loss",
            "selectedMetricKeys": ["val/loss"],
            "range": {},
            "xAxisKey": "step",
            "selectedXAxisMetricKey": "",
            "yAxisKey": "metric",
            "yAxisExpressions": [],
            "scaleType": "linear",
            "xAxisScaleType": "linear",
            "lineSmoothness": 0,
            "ignoreOutliers": False,
            "useGlobalXaxisKey": True,
            "useGlobalLineSmoothing": True,
        },
    ]
    if "step" in parameters:
        kinds.insert(2, {"type": "CONTOUR", "xaxis": window, "yaxis": step, "zaxis": axis(score, "METRIC")})
    common = {"runsCountToCompare": 100, "metricSectionId": "sweep", "deleted": False, "isGenerated": False}
    return [{"uuid": str(uuid.UUID(int=number)), **common, **kind} for number, kind in enumerate(kinds, start=1)]
