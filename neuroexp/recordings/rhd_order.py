"""In which order the Intan files of a recording follow one another, and whether two of them hold the same samples."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise

import numpy as np

from neuroexp.recordings.rhd import File
from neuroexp.terminal.shown import plain

TWICE = 3  # marks in common that no two recordings have by chance
MOST_NAMED = 12
MOST_TOLD = 3  # seams inside a file
SEAM = "no window, stimulus or filter reaches across"


def ordered(files: Sequence[File], which: str) -> tuple[list[File], list[str]]:
    """Return the files of a class in the order in which they were recorded, and sentences on what a user must know of it.

    Time stamps decide where they run on from file to file, with holes or without; where they start again, as they do when
    each file starts at 0, the natural order of the names does, in which 2 comes before 10.
    """
    named = sorted(files, key=lambda file: _natural(file.path.name))
    if len(files) < 2:
        return named, []
    stamped = sorted(named, key=lambda file: file.first)
    if any(after.first < before.end for before, after in pairwise(stamped)):
        alike = len({file.first for file in files}) == 1
        said = "each start at the same time stamp" if alike else "have time stamps that overlap"
        order = f"the files of {which} {said}, so their names decide their order: {_listed(named)}"
        return named, [f"{order}; {SEAM} from one to the next"]
    notes = []
    if stamped != named:
        notes.append(f"the time stamps of the files of {which} decide their order, not their names: {_listed(stamped)}")
    for before, after in pairwise(stamped):
        if after.first > before.end:
            hole_s = (after.first - before.end) / before.rate_hz
            notes.append(
                f"{which}: {hole_s:.3g} s are missing between {_name(before)} and {_name(after)}, by their time stamps: {SEAM}"
            )
    return stamped, notes


def seams(files: Sequence[File], which: str) -> tuple[tuple[int, ...], list[str]]:
    """Return the samples of files, joined in this order, that do not follow on, and sentences on those inside a file."""
    found, notes, begin = [], [], 0
    for number, file in enumerate(files):
        if number and not runs_on(files[number - 1], file):
            found.append(begin)
        inside = file.seams()
        found += [begin + place for place, _ in inside]
        if inside:
            more = f" and {len(inside) - MOST_TOLD} more" if len(inside) > MOST_TOLD else ""
            told = ", ".join(_told(place, step, file.rate_hz) for place, step in inside[:MOST_TOLD])
            notes.append(f"{which}: the recording of {_name(file)} was interrupted ({told}{more}): {SEAM}")
        begin += file.n_samples
    return tuple(found), notes


def runs_on(before: File, after: File) -> bool:
    """Return whether a file begins where another ends, by their time stamps."""
    return after.first == before.end


def _told(place: int, step: int, rate_hz: float) -> str:
    at = f"at {place / rate_hz:.3g} s"
    if step > 0:
        return f"{step} samples are missing {at}"
    return f"its time stamps step back by {-step / rate_hz:.3g} s {at}"


def check_once(classes: Mapping[str, Sequence[File]], name: str) -> None:
    """Raise ValueError, naming the files, when two files of an animal hold the same samples, in one class or in two.

    A decoder would be tested on what it was trained on, or could not tell two classes apart.
    """
    files = [(which, file) for which, several in classes.items() for file in several]
    marks = {id(file): file.marks() for _, file in files}
    twice = []
    for (one, first), (other, second) in combinations(files, 2):
        common = len(np.intersect1d(marks[id(first)], marks[id(second)], assume_unique=True))
        if common >= TWICE:
            share = common / min(len(marks[id(first)]), len(marks[id(second)]))
            twice.append(f"{one}/{_name(first)} and {other}/{_name(second)} ({share:.0%} of the shorter one)")
    if twice:
        more = f" and {len(twice) - MOST_NAMED // 4} more" if len(twice) > MOST_NAMED // 4 else ""
        raise ValueError(
            f"{name}: the same recording is there twice, in {', '.join(twice[: MOST_NAMED // 4])}{more}; leave one of each out "
            "of its folder"
        )


def _natural(name: str) -> list[tuple[int, str]]:
    """Return what sorts names as people do: numbers in them by their value."""
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), "") if number % 2 else (0, part) for number, part in enumerate(parts)]


def _name(file: File) -> str:
    return plain(file.path.name, 60)


def _listed(files: Sequence[File]) -> str:
    more = f" and {len(files) - MOST_NAMED} more" if len(files) > MOST_NAMED else ""
    return ", ".join(_name(file) for file in files[:MOST_NAMED]) + more
