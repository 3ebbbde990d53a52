"""Finished runs as tables: read back, narrowed, and averaged only where they differ in nothing but fold and seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from neuroexp.cost import budget
from neuroexp.evaluation import convergence
from neuroexp.settings import keys
from neuroexp.store import runfiles
from neuroexp.store.tracking import LOST, Store, experiments

from . import sweeps
from .sweeps import RECORDINGS, same

SETTINGS = (
    "dataset",
    "recording",
    "model",
    "split",
    "label",
    "trainer",
    "optimizer",
    "task",
    "window",
    "step",
    "fold",
    "seed",
)
REPEATED = ("fold", "seed")  # what runs of one cell may differ in
GROUPS = ("dataset", "recording", "model", "split", "label", "trainer", "optimizer")  # chosen by name
REPEATS = ("recording.mvc",)  # of these, what tells apart several recordings of one subject


class DifferError(ValueError):
    """Runs that a table would have to average differ in more than fold and seed."""


@dataclass(frozen=True)
class Source:
    """One MLflow store, and the settings to which whoever asks has narrowed its runs."""

    uri: str
    artifacts: str
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # setting -> values
    budget: budget.Budget = field(default_factory=lambda: budget.read(None))
    left_out: dict[str, str] = field(default_factory=dict, init=False)  # run -> why it cannot be read
    _read: dict[str, pd.DataFrame] = field(default_factory=dict, init=False, repr=False)  # by experiment

    def runs(self, experiment: str) -> pd.DataFrame:
        """Return the finished runs of an experiment, a row each, the newest of those that repeat one another.

        Columns: every setting of the resolved configuration by its dotted name, the chosen group options, the scores, and
        `run_id`, `name`, `recording_name`, `commit`. Empty when there are none. Raises StoreError when the store does not
        answer.
        """
        if experiment not in self._read:  # most artefacts of a paper are made of the same runs
            self._read[experiment] = self._finished(experiment)
        table = self._read[experiment]
        if table.empty:
            return table
        for name, wanted in self.only.items():
            if name in table:
                table = table[[any(same(value, word) for word in wanted) for value in table[name]]]
            elif name.split(".")[0] not in SETTINGS:
                raise ValueError(f"{name} is no setting of the runs of {experiment}")
            else:  # of another kind of recording or network than these runs have
                table = table.iloc[:0]
        return table.dropna(axis=1, how="all").reset_index(drop=True)

    def everything(self) -> pd.DataFrame:
        """Return the finished runs of all experiments as `runs` does, with the name of each one's `experiment`."""
        tables = [self.runs(name).assign(experiment=name) for name in sorted(experiments(self.uri))]
        tables = [table for table in tables if len(table)]
        if not tables:
            return pd.DataFrame()
        table = pd.concat(tables, ignore_index=True)
        science = [name for name in table if is_setting(name)]
        return table.drop_duplicates([*science, *REPEATED], ignore_index=True)  # a cell of two papers

    def _finished(self, experiment: str) -> pd.DataFrame:
        if experiment not in experiments(self.uri):
            return pd.DataFrame()
        store = Store(self.uri, self.artifacts, experiment)
        rows: list[dict[str, Any]] = []
        configs: dict[str, dict[str, Any]] = {}
        for row in store.runs():
            try:
                rows.append(_row(store, row, configs))
            except ValueError as error:  # of one run, and the others can do without it
                self.left_out[row["run_id"]] = str(error)
        table = pd.DataFrame(rows)
        science = [name for name in table if is_setting(name)]
        # newest first: the others are of another version of this package, say
        return table if table.empty else table.drop_duplicates([*science, *REPEATED])

    def machine(self, experiment: str, run_id: str) -> str:
        """Return on what a run was trained."""
        try:
            text = Store(self.uri, self.artifacts, experiment).text(run_id, run_id[:8], "environment.json")
            environment = runfiles.environment(text, run_id[:8])
        except ValueError as error:
            self.left_out[run_id] = str(error)
            return "an unknown machine"
        gpus = ", ".join(environment["gpus"])
        return gpus or f"{environment['processor']} with {environment['cores']} cores, {environment['threads']} threads"


def _row(store: Store, row: Mapping[str, Any], configs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return a run with its settings, which `configs` keeps by condition; raises ValueError, naming it, when it lacks them."""
    name, run_id = row["name"] or row["run_id"], row["run_id"]
    if row.get(f"tag.{LOST}"):
        raise ValueError(f"{name} ({run_id[:8]}) is without its files: {runfiles.REMEDY}")
    condition = row.get("tag.neuroexp.condition", run_id)
    if condition not in configs:  # runs that differ in fold and seed alone share the rest
        configs[condition] = settings(runfiles.configuration(store.text(run_id, name, "config.yaml"), name))
    try:
        numbers = {key: int(row[key]) for key in REPEATED}  # what was typed is text in MLflow
    except (KeyError, ValueError):
        raise ValueError(f"{name} ({run_id[:8]}) does not say its fold and seed") from None
    tags = {"commit": row.get("tag.mlflow.source.git.commit", ""), "sweep": row.get("tag.sweep", "")}
    scores = {key: value for key, value in row.items() if not key.startswith("tag.")}
    found = configs[condition]
    epochs, monitor = found.get("trainer.max_epochs"), str(found.get("trainer.callbacks.best.monitor"))
    scores[convergence.CONVERGED] = convergence.recorded(scores, epochs, monitor)
    return scores | found | numbers | tags


def per_recording(runs: pd.DataFrame) -> pd.DataFrame:
    """Return what is known of each recording, whatever was trained on it: a row each.

    Raises DifferError when recordings of one name were made or prepared differently.
    """
    trained = ("model", "split", "label", "trainer", "optimizer", "window", "step")
    scores = Cells(runs, tuple(name for name in trained if name in runs)).scores
    keys = [name for name in RECORDINGS if name in scores]
    numbers = scores.select_dtypes("number").columns.difference([*keys, "window", "step", "runs"])
    return scores.groupby(keys)[list(numbers)].mean().reset_index() if keys and len(scores) else scores.iloc[:0]


def is_setting(name: str) -> bool:
    """Return whether a column of runs is a setting, not a score."""
    return name in (*GROUPS, "window", "step") or ("." in name and "/" not in name)


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scientific part of a resolved configuration as dotted names and plain values, without fold and seed."""
    flat = dict(_flat(keys.science(config)))
    copies = {name for name in flat if name.partition(".")[0] in ("dataset", "task") and name.partition(".")[2] in flat}
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

    @property
    def subjects(self) -> list[str]:
        """The settings that tell the subjects of these runs apart; a file (`recording.path`) counts as one."""
        return [name for name in self.recordings if name not in REPEATS]

    @property
    def repeats_subjects(self) -> bool:
        """Whether a subject was recorded more than once, at several intensities."""
        repeats = [name for name in self.recordings if name in REPEATS]
        return any(self.runs[name].nunique() > 1 for name in repeats)

    def __post_init__(self) -> None:
        if self.runs.empty:
            return
        unset = dict.fromkeys(name for name in self.factors if name not in self.runs)  # null in all of these runs
        if unset:
            object.__setattr__(self, "runs", self.runs.assign(**unset))
        free = {*self.factors, *self.recordings, *REPEATED}
        science = [name for name in self.runs if is_setting(name) and name not in free]
        for name in science:
            group = name.split(".")[0]
            if group in self.factors:  # settings of a network may differ between networks
                counts = self.runs.groupby(group)[name].nunique(dropna=False)
                if (counts > 1).any():
                    self._refuse(name, self.runs[self.runs[group] == counts.idxmax()], f" of {counts.idxmax()}")
            elif self.runs[name].nunique(dropna=False) > 1:
                self._refuse(name, self.runs, "")

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
        means = grouped.mean(numeric_only=True)
        means = means.drop(columns=[name for name in REPEATED if name in means])
        cells = [means.index.to_frame(index=False), means.reset_index(drop=True)]
        # at once: pandas warns of a table to which many columns were added one by one
        return pd.concat([*cells, grouped.size().rename("runs").reset_index(drop=True)], axis=1)

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
                            "runs": int(group["runs"].sum()),
                        }
                    )
        return pd.DataFrame(rows, columns=[*self.factors, "score", "mean", "mean_sd", "n", "runs"])

    def paired(self, metric: str, factor: str = "model") -> pd.DataFrame:
        """Return a metric as a table (recording, level of `factor`): means over folds and seeds.

        Raises ValueError when the levels were not run on the same recordings, folds and seeds, naming the first that lacks,
        when there is no such metric, or when a level mixes several values of another factor.
        """
        if metric not in self.runs:
            raise ValueError(f"no run has {metric}")
        for other in self.factors:
            if other != factor and (self.runs.groupby(factor)[other].nunique() > 1).any():
                raise ValueError(f"runs of one {factor} differ in {other}: choose one")
        keys = [*self.recordings, *REPEATED]
        groups = self.runs.groupby([*keys, factor])
        counts = groups["run_id"].count().unstack(factor)
        for place, row in counts.iterrows():
            for level, count in row.items():
                if not count > 0:
                    named = ", ".join(f"{key}={value}" for key, value in zip(keys, place, strict=True))
                    raise ValueError(f"unpaired: {level} was not run on {named}, others were")
        table = groups[metric].mean().unstack(factor)
        return _mean(table, self.recordings)

    def per_subject(self, metric: str, factor: str = "model") -> pd.DataFrame:
        """Return a metric as `paired` does, means over the intensities of a subject too: a row per subject.

        Raises ValueError as `paired` does, and when a subject lacks an intensity that another has.
        """
        table = self.paired(metric, factor)
        if not self.repeats_subjects:
            return table
        counts = table.groupby(level=self.subjects).size() if self.subjects else pd.Series(len(table))
        if counts.nunique() > 1:
            few = f"{', '.join(self.subjects)} {counts.idxmin()}"
            raise ValueError(
                f"{few} has {counts.min()} intensities, others have {counts.max()}: narrow to those that all have"
            )
        return _mean(table, self.subjects)

    def missing(self, experiment: str, **narrowed: str) -> list[str]:
        """Return which cells of an experiment's sweep have no run, see `sweeps.missing`."""
        return sweeps.missing(self.runs, self.factors, experiment, narrowed)


def _mean(table: pd.DataFrame, levels: Sequence[str]) -> pd.DataFrame:
    """Return the means over all rows that are alike in `levels` of the index (none: all rows); NaN where one is missing.

    A row that has no value at all, such as a fold in which nothing could be scored, takes no part.
    """
    table = table.dropna(how="all")
    if not levels:
        return table.mean(skipna=False).to_frame().T
    return table.groupby(level=list(levels)).agg(lambda values: values.mean(skipna=False))
