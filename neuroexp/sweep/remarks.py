"""What must be said under a table of runs: which of their scores are missing, and which no decoder could reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from neuroexp.evaluation import convergence
from neuroexp.sweep.outcome import Outcome

SHARE = 0.005  # of the positives, from which on it is worth a line


def remarks(rows: Sequence[Outcome]) -> list[str]:
    """Return a sentence per kind of remark on the scores of a launch's rows, each once, with the runs that it is about."""
    about: dict[str, list[str]] = {}
    for row in rows:
        for sentence in _of(row.scores):
            about.setdefault(sentence, []).append(row.name)
    said = [f"{_names(names)}: {sentence}" for sentence, names in about.items()]
    unseen: dict[tuple[str, str], dict[str, float]] = {}  # what no decoder sees and why -> run -> share
    for row in rows:
        share, what, why = _unseen(row.scores)
        if share > SHARE:
            unseen.setdefault((what, why), {})[row.name] = share
    for (what, why), shares in unseen.items():
        several = "up to " * (len({f"{share:.0%}" for share in shares.values()}) > 1)
        said.append(
            f"{_names([*shares])}: {several}{max(shares.values()):.0%} of the {what}, where no decoder sees them: {why}"
        )
    marked = sum(bool(convergence.mark(row.scores)) for row in rows)
    if marked:
        which = "" if len(rows) == 1 else f" ({marked} of {len(rows)} runs)"
        said.append(
            f"{convergence.MARK} not converged{which}: the loss of the validation part was lowest in the last tenth of the "
            "epochs, so longer training may score higher: trainer.max_epochs=..., or a larger optimizer.lr"
        )
    return said


def notes(rows: Sequence[Outcome]) -> list[str]:
    """Return what a user must know of the recordings of a launch's rows: each sentence once, however many runs it is about."""
    return list(dict.fromkeys(sentence for row in rows for sentence in row.notes))


def _of(scores: Mapping[str, float]) -> list[str]:
    said = []
    units, scored = scores.get("data/units"), scores.get("test/scored_units")
    if units is not None and scored is not None and scored < units:
        have = "have" if units - scored > 1 else "has"
        said.append(
            f"{units - scored:.0f} of {units:.0f} units {have} no discharge in the test part, and no score there (blank in "
            "per_unit.csv)"
        )
    if scores.get("test/sensitivity") == 0:
        said.append(
            "no discharge of the test part was found: a smaller step gives more windows to train on, a lower task.threshold "
            "finds more"
        )
    return said


def _unseen(scores: Mapping[str, float]) -> tuple[float, str, str]:
    """Return which share of the positives, or else of the discharges, no decoder can see, and why."""
    positives, between = (
        scores.get(f"data/{name}") for name in ("positives_outside_window", "discharges_in_no_window")
    )
    longer = "the step is longer than the window"
    if positives is None or positives <= SHARE:  # with label=window all positives are seen, but not all discharges
        return between or 0, "discharges lie in no window", longer
    reaches = between is not None and between <= SHARE
    return (
        positives,
        "positives lie outside their window",
        "label.tolerance is wider than the window" if reaches else longer,
    )


def _names(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
