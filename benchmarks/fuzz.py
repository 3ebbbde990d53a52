"""Damaged files by the thousand: `python -m benchmarks.fuzz [COUNT] [SEED]`.

Small valid files of every format are changed, each by a seed of its own, and read. Every one must end as a recording, or as
one sentence that names the file, in bounded time and memory. What does not is printed with its seed, and the exit code is 1;
`python -m benchmarks.fuzz 1 SEED` does that file again.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from numpy.random import Generator, default_rng

from benchmarks import mutations
from neuroexp.data.cuff import CLASSES, Signatures
from neuroexp.data.recording import Recording
from neuroexp.machine.memory import peak_mb
from neuroexp.matlab import parser
from neuroexp.recordings import demuse, intan, otb, signatures

STEM = "fuzzed"  # of every file and its folder, which no sentence says but as their name
LONGEST = 900  # characters of a sentence
SECONDS = 60.0  # for one file, on a machine that does other things too; a parser has ten of processor time
PARSER_MB, READER_MB = (parser.BYTES + (16 << 20)) / 1e6 + 150, 700  # with what they hold before the file
AT_ONCE = 500  # files of a task
KINDS = (
    *("demuse plain", "demuse packed", "otb plain", "otb packed", "otb v4"),
    *("signatures plain", "signatures packed", "signatures v4", "intan"),
)
HEADER_BYTES = 3000  # of an Intan file: about what it says before its voltages


@dataclass
class Tally:
    """What became of some files."""

    outcomes: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    slowest: tuple[float, int] = (0, 0)  # seconds and seed

    def add(self, other: Tally) -> None:
        """Count those of another tally as well."""
        self.outcomes += other.outcomes
        self.violations += other.violations
        self.slowest = max(self.slowest, other.slowest)


def variables(kind: str) -> dict[str, Any]:
    """Return what a MATLAB file of a kind holds."""
    which, _, how = kind.partition(" ")
    if which == "otb":
        return mutations.otb(flat=how == "v4")
    return mutations.demuse() if which == "demuse" else mutations.signatures()


@cache
def valid(kind: str) -> bytes:
    """Return a file that can be read; what is to be packed is packed when it is damaged."""
    return (
        mutations.rhd() if kind == "intan" else mutations.matlab(variables(kind), "4" if kind.endswith("v4") else "5")
    )


def damaged(kind: str, rng: Generator) -> bytes:
    """Return a file whose variables were changed, or its bytes, a few times."""
    raw, times = bytearray(valid(kind)), min(int(rng.geometric(0.6)), 5)
    if kind == "intan":
        part = raw[:HEADER_BYTES] if rng.random() < 0.7 else raw
        for _ in range(times):
            (mutations.anything if rng.random() < 0.5 else mutations.put_anywhere)(part, rng)
        return bytes(part + raw[HEADER_BYTES:] if part is not raw else raw)
    whole = rng.random() < 0.3
    if whole and not kind.endswith("v4"):
        raw = bytearray(mutations.matlab(mutations.replaced(variables(kind), rng), "5"))
    changes = [mutations.anything, *[mutations.headers if kind.endswith("v4") else mutations.tags] * 3]
    for _ in range(times if not whole or kind.endswith("v4") else int(rng.integers(0, 2))):
        changes[int(rng.integers(0, len(changes)))](raw, rng)
    if kind.endswith("packed"):
        raw = mutations.packed(raw)
        if rng.random() < 0.2:
            mutations.anything(raw, rng)
    return bytes(raw)


def read(kind: str, raw: bytes, folder: Path) -> object:
    """Write a file and read it with the reader of its kind."""
    if kind == "intan":
        for number, which in enumerate(CLASSES):
            (folder / which).mkdir(exist_ok=True)
            (folder / which / f"{STEM}.rhd").write_bytes(mutations.rhd(number) if number else raw)
        return intan.read(str(folder)).read(CLASSES[0])
    path = folder / f"{STEM}.mat"
    path.write_bytes(raw)
    readers: dict[str, Callable[[str], object]] = {
        "demuse": lambda path: demuse.read(path, crop=sum(raw) % 2 == 0),
        "otb": otb.read,
        "signatures": signatures.read,
    }
    return readers[kind.partition(" ")[0]](str(path))


def judged(kind: str, raw: bytes, folder: Path) -> tuple[str, str]:
    """Return what became of a file, and what is wrong with that."""
    try:
        result = read(kind, raw, folder)
    except (ValueError, FileNotFoundError) as error:
        said = str(error)
        wrong = [
            *["names no file"] * (STEM not in said and folder.name not in said),
            *["holds what does not print"] * (not said.isprintable()),
            *[f"has {len(said)} characters"] * (len(said) > LONGEST),
        ]
        outcome = next((name for name, words in SAID.items() if words in said), "refused by a reader")
        return outcome, "".join(f"a sentence that {what}: {said[:LONGEST]!r}" for what in wrong[:1])
    except Exception as error:  # what must not be
        return "violation", f"{type(error).__name__}: {str(error)[:LONGEST]!r}"
    return "read", "" if isinstance(result, Recording | Signatures) else f"{type(result).__name__}, no recording"


SAID = {
    "crash of the parser": "the process that parses it ends",
    "too much memory": "GB of memory, though",
    "too much time": "is not parsed within",
    "not a whole file": "is not a whole MATLAB file",
    "no file of its kind": "is no ",
    "header damaged": "header is",
}


def fuzz(seeds: Iterable[int]) -> Tally:
    """Read one damaged file for each seed, all of them parsed in one process for as long as it lives."""
    tally, before_mb = Tally(), peak_mb()  # of whatever this process did before
    with (
        warnings.catch_warnings(),
        tempfile.TemporaryDirectory(prefix=STEM) as name,
        parser.kept() as parsing,
    ):
        warnings.simplefilter("error")  # a warning is no sentence
        for seed in seeds:
            rng = default_rng(seed)
            kind = KINDS[int(rng.integers(0, len(KINDS)))]
            raw = damaged(kind, rng)
            began = time.perf_counter()
            outcome, wrong = judged(kind, raw, Path(name))
            seconds = time.perf_counter() - began
            parser_mb = peak_mb(parsing.process.pid) if parsing.process else 0
            if seconds > SECONDS:
                wrong = wrong or f"takes {seconds:.0f} s"
            if parser_mb > PARSER_MB:
                wrong = wrong or f"takes {parser_mb:.0f} MB"
            tally.outcomes[outcome] += 1
            tally.violations += [f"seed {seed} ({kind}): {wrong}"] * bool(wrong)
            tally.slowest = max(tally.slowest, (seconds, seed))
    if peak_mb() > max(READER_MB, before_mb):
        tally.violations.append(f"seeds {seeds}: the process that reads has taken {peak_mb():.0f} MB")
    return tally


def main(count: int = 20_000) -> None:
    """Print what became of `count` files; exit with 1 when one of them ended as none may."""
    words = sys.argv[1:] if __name__ == "__main__" else []
    count = int(words[0]) if words else count
    first = int(words[1]) if len(words) > 1 else 0
    tasks = [range(start, min(start + AT_ONCE, first + count)) for start in range(first, first + count, AT_ONCE)]
    total, began = Tally(), time.perf_counter()
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as processes:
        for seeds, done in [(seeds, processes.submit(fuzz, seeds)) for seeds in tasks]:
            try:
                total.add(done.result())
            except BrokenProcessPool:  # what must not be: the reader itself has crashed
                total.violations.append(
                    f"seeds {seeds[0]} to {seeds[-1]}: not all read, the process that reads has crashed"
                )
    seconds = time.perf_counter() - began
    counts = ", ".join(f"{number:,} {outcome}" for outcome, number in total.outcomes.most_common())
    print(
        f"{count:,} damaged files in {seconds:.0f} s, {count / seconds:.0f} a second, the slowest {total.slowest[0]:.1f} s "
        f"(seed {total.slowest[1]}): "
        f"{counts}; {len(total.violations)} violations"
    )
    for violation in total.violations:
        print(violation)
    if total.violations:
        sys.exit(1)


if __name__ == "__main__":
    main()
