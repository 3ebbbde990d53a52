"""How MLflow shows an experiment, described, and a sweep: columns, order and charts, in the format of its saved views.

That format is MLflow's own and undocumented (seen in 3.17).
"""

from __future__ import annotations

import base64
import json
import time
import uuid
import zlib
from collections.abc import Sequence
from typing import Any

from neuroexp.evaluation import convergence

SECTIONS = {
    "test": True,
    "val": True,
    "selected": False,
    "spread": False,
    "train": False,
    "baseline": False,
    "ceiling": False,
    "cost": False,
    "budget": False,
    "data": False,
}

NOTE = "mlflow.note.content"  # what MLflow shows as an experiment's description
DESCRIPTION = """\
One run is one training. The saved views (top right) show the runs of one sweep each, best first; their second tab has
charts over the cells of the sweep. Tick two or more runs and press Compare for parallel coordinates.

- `test/...`: scores of the test part, at the epoch with the lowest validation loss; `spread/...`: over motor units
- `train/converged`: 1 when early stopping ended the training or its validation loss was lowest before the last tenth of
  its epochs; 0 when longer training may score higher
- `baseline/...`: what a predictor without knowledge reaches; `data/...`: what the split gave away
- `test/roa_90_share`: share of the motor units whose spike train agrees with the true one at a rate of 0.9 or more;
  `ceiling/...`: what perfect labels would reach through the same windows, events and matching
- `control/...`: what a small probe trained on windows from between the stimuli scores, which is the recording, not the
  nerve; `control/null_95` is what it reaches where nothing can be told apart
- `cost/...` and `time/...`: counted, or measured on the machine that environment.json names; `cost/mac_energy_uj` is an
  estimate for `budget.device`, `budget/..._share` what of a limit is used
- pictures: under Artifacts, in `plots`
"""


def member(sweep: str) -> str:
    """Return the tag of the runs of a sweep; a run may belong to several, and a view must not lose its runs to a later one."""
    return f"sweep.{sweep}"


def saved_view(sweep: str, parameters: Sequence[str], scores: Sequence[str]) -> str:
    """Return the view of a sweep: its runs alone, these columns, the best `scores[0]` first, four charts."""
    columns = [f"metrics.`{name}`" for name in (*scores, convergence.CONVERGED)] + [
        f"params.`{name}`" for name in parameters
    ]
    columns.append("attributes.`Dataset`")
    score, now_ms = scores[0], int(time.time() * 1000)
    state = {
        "searchFilter": f"tags.`{member(sweep)}` = 'true'",
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
    return json.dumps(view)


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
