"""Finished runs as tables: read back, narrowed, and averaged only where they differ in nothing but fold and seed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from neuroexp import provenance
from neuroexp.tracking import Store

REPEATED = ("fold", "seed")  # what runs of one cell may differ in
GROUPS = ("dataset", "recording", "model", "split", "label", "trainer", "optimizer")  # chosen by name
RECORDINGS = ("recording.subject", "recording.mvc", "recording.rat", "recording.path")
CONF = Path(__file__).parent.parent / "conf" / "experiment"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class DifferError(ValueError):
    """Runs that a table would have to average differ in more than fold and seed."""


@dataclass(frozen=True)
class Source:
    """One MLflow store, and the settings to which whoever asks has narrowed its runs."""

    uri: str
    artifacts: str
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # setting -> values

    def runs(self, experiment: str) -> pd.DataFrame:
        """Return the finished runs of an experiment, a row each, the newest of those that repeat one another.

        Columns: every setting of the resolved configuration by its dotted name, the chosen group options, the scores, and
        `run_id`, `name`, `recording_name`, `commit`. Empty when there are none. Raises StoreError when the store does not
        answer.
        """
        store = Store(self.uri, self.artifacts, experiment)
        rows, configs = [], {}
        for row in store.runs():
            condition = row.get("tag.neuroexp.condition", row["run_id"])
            if condition not in configs:  # runs that differ in fold and seed alone share the rest
                configs[condition] = settings(yaml.load(store.text(row["run_id"], "config.yaml"), LOADER))
            tags = {"commit": row.get("tag.mlflow.source.git.commit", ""), "key": row["tag.neuroexp.key"]}
            kept = {name: value for name, value in row.items() if not name.startswith("tag.")}
            numbers = {name: int(kept[name]) for name in REPEATED}
            rows.append(kept | configs[condition] | numbers | tags)  # what was typed is text in MLflow
        table = pd.DataFrame(rows)
        if table.empty:
            return table
        table = table.drop_duplicates(["key"])  # newest first
        for name, values in self.only.items():
            if name not in table:
                raise ValueError(f"{name} is no setting of the runs of {experiment}")
            table = table[table[name].map(str).isin(values)]
        return table.reset_index(drop=True)

    def machine(self, experiment: str, run_id: str) -> str:
        """Return on what a run was trained."""
        environment = json.loads(Store(self.uri, self.artifacts, experiment).text(run_id, "environment.json"))
        gpus = ", ".join(environment["gpus"])
        return gpus or f"{environment['processor']} with {environment['cores']} cores, {environment['threads']} threads"


def per_recording(runs: pd.DataFrame) -> pd.DataFrame:
    """Return what is known of each recording, whatever was trained on it: a row each, means over all runs."""
    if runs.empty:
        return pd.DataFrame(columns=["recording_name"])
    keys = ["recording_name", *(name for name in RECORDINGS if name in runs and runs[name].notna().all())]
    numbers = runs.select_dtypes("number").columns.difference(keys)
    return runs.groupby(keys)[list(numbers)].mean().reset_index()


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scientific part of a resolved configuration as dotted names and plain values, without fold and seed."""
    flat = dict(_flat(provenance.science(config)))
    copies = {name for name in flat if name.partition(".")[2] in flat}  # dataset.window is window, seen from elsewhere
    return {name: value for name, value in flat.items() if name not in copies and name not in REPEATED}


def _flat(node: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in node.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value) if isinstance(value, list) else value


@dataclass(frozen=True)
class Cells:
    """The runs of a table: its `factors` (network, window, ...) by the settings that tell recordings apart.

    Raises DifferError, naming the setting and its values, when runs differ in anything else but fold and seed.
    """

    runs: pd.DataFrame
    factors: tuple[str, ...]

    @property
    def recordings(self) -> list[str]:
        """The settings that tell the recordings of these runs apart."""
        known = [name for name in RECORDINGS if name in self.runs and name not in self.factors]
        return [name for name in known if self.runs[name].notna().all()]

    def __post_init__(self) -> None:
        if self.runs.empty:
            return
        free = {*self.factors, *self.recordings, *REPEATED}
        science = [name for name in self.runs if self._is_setting(name) and name not in free]
        for name in science:
            group = name.split(".")[0]
            if group in self.factors:  # settings of a network may differ between networks
                counts = self.runs.groupby(group)[name].nunique(dropna=False)
                if (counts > 1).any():
                    self._refuse(name, self.runs[self.runs[group] == counts.idxmax()], f" of {counts.idxmax()}")
            elif self.runs[name].nunique(dropna=False) > 1:
                self._refuse(name, self.runs, "")

    def _is_setting(self, name: str) -> bool:
        return name in (*GROUPS, "window", "step") or ("." in name and "/" not in name)

    def _refuse(self, name: str, runs: pd.DataFrame, whose: str) -> None:
        values = sorted(map(str, runs[name].unique()))
        raise DifferError(
            f"the runs{whose} differ in {name} ({', '.join(values)}), and would be averaged: "
            f"choose, for instance with {name}={values[0]}"
        )

    @cached_property
    def scores(self) -> pd.DataFrame:
        """The mean over folds and seeds: a row per cell and recording, columns as in `runs`, and how many `runs` it has."""
        keys = [*self.factors, *self.recordings]
        if self.runs.empty:
            return pd.DataFrame(columns=[*keys, "runs"])
        grouped = self.runs.groupby(keys, dropna=False, sort=True)
        table = grouped.mean(numeric_only=True)
        table["runs"] = grouped.size()
        return table.drop(columns=[name for name in REPEATED if name in table]).reset_index()

    def summary(self, metrics: Sequence[str]) -> pd.DataFrame:
        """Return mean, standard deviation and number of recordings of each metric per cell: a row per cell and metric."""
        rows = []
        for cell, group in self.scores.groupby(list(self.factors), dropna=False, sort=True):
            for metric in metrics:
                if metric in group and group[metric].notna().any():
                    values = group[metric].dropna()
                    spread = values.std() if len(values) > 1 else float("nan")
                    rows.append(
                        dict(zip(self.factors, cell, strict=True))
                        | {
                            "score": metric.removeprefix("test/"),
                            "mean": values.mean(),
                            "mean_sd": spread,
                            "n": len(values),
                        }
                    )
        return pd.DataFrame(rows, columns=[*self.factors, "score", "mean", "mean_sd", "n"])

    def paired(self, metric: str, factor: str = "model") -> pd.DataFrame:
        """Return a metric as a table (recording, level of `factor`) over the folds and seeds that all levels share.

        Raises ValueError when the levels were not run on the same recordings, folds and seeds, naming the first that lacks.
        """
        keys = [*self.recordings, *REPEATED]
        table = self.runs.pivot_table(index=keys, columns=factor, values=metric, aggfunc="mean")
        gaps = table.isna()
        if gaps.to_numpy().any():
            place, level = next(place for place in ((i, c) for i in table.index for c in table) if gaps.loc[place])
            named = ", ".join(f"{key}={value}" for key, value in zip(keys, place, strict=True))
            raise ValueError(f"unpaired: {level} was not run on {named}, others were")
        return table.groupby(level=self.recordings).mean()

    def missing(self, experiment: str, **narrowed: str) -> list[str]:
        """Return which cells of an experiment's sweep have no run, a sentence per level of the first factor.

        `narrowed` replaces what a factor goes through, in Hydra's notation.
        """
        swept = grid(experiment) | narrowed
        expected = pd.MultiIndex.from_product([values(swept[name]) for name in self.factors], names=self.factors)
        have = set()
        if not self.runs.empty:
            have = {tuple(map(str, cell)) for cell in self.runs[list(self.factors)].itertuples(index=False)}
        absent = pd.DataFrame([cell for cell in expected if cell not in have], columns=list(self.factors))
        sentences = []
        for level, group in absent.groupby(self.factors[0], sort=False):
            whole = sum(cell[0] == level for cell in expected)
            named = [
                " ".join(f"{name}={value}" for name, value in zip(self.factors[1:], cell[1:], strict=True))
                for cell in group.itertuples(index=False)
            ]
            shown = "; ".join(named[:4]) + (f" and {len(named) - 4} more" if len(named) > 4 else "")
            sentences.append(f"{level}: no run of {len(group)} of {whole} cells" + (f" ({shown})" if shown else ""))
        return sentences


def grid(experiment: str) -> dict[str, str]:
    """Return what an experiment sweeps over: setting -> values, in Hydra's notation."""
    path = CONF / f"{experiment}.yaml"
    swept: dict[str, str] = yaml.load(path.read_text(), LOADER)["hydra"]["sweeper"]["params"]
    return {name: str(words) for name, words in swept.items()}


def values(words: str) -> list[str]:
    """Return what a sweep over `words` (`1,2,3`, `range(5)`) goes through, in Hydra's own reading."""
    [override] = OverridesParser.create().parse_overrides([f"x={words}"])
    return [str(value) for value in override.sweep_string_iterator()] if override.is_sweep_override() else [words]
