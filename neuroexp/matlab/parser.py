"""A process that parses MATLAB files, with a limit of memory and of time: a damaged file can crash it and nothing else."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroexp.machine.foreign import physical_bytes
from neuroexp.terminal.shown import plain

PROGRAM = Path(__file__).with_name("matparse.py")
OUT_OF_MEMORY = 12  # with which the program ends
LONGEST_LINE = 1 << 26  # of an answer, bytes
INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
TYPES = ("bool", *INTEGERS, "float32", "float64", "complex64", "complex128")
# Honest files need less: as double precision what is stored as bytes takes 8 times its size, compressed ones more.
BYTES, BYTES_PER_BYTE = 1 << 29, 32
SECONDS, SECONDS_PER_BYTE = 10.0, 1e-7  # of processor time


@dataclass(frozen=True)
class Text:
    """A text variable: one line, or as many as its rows."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Unread:
    """A variable of a kind that holds no recording."""

    kind: str  # with its article, such as "a struct"


Value = NDArray[Any] | Text | Unread  # an array of numbers, or of type object: cells, each of them a value


class Parser:
    """The process; it is started for the first file, and again after a file has ended it."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self.process: subprocess.Popen[bytes] | None = None
        self.ready = self.late = False
        self.broken = ""  # why it does not start

    def start(self) -> None:
        """Start the process, unless there is one; nothing is waited for."""
        if self.process is not None:
            return
        self.ready = self.late = False
        # in a session of its own: Ctrl-C reaches it through `close`, and what a crash says reaches no terminal
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", str(PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
            start_new_session=True,
        )

    def parse(self, file: Path, name: str, wanted: Sequence[str]) -> tuple[list[str], dict[str, Value]]:
        """Return the names of all variables in a file, and the values of those in `wanted` that are there.

        Raises ValueError with one sentence, in which the file is called `name`.
        """
        size = file.stat().st_size
        memory = min(BYTES + BYTES_PER_BYTE * size, physical_bytes())
        seconds = SECONDS + SECONDS_PER_BYTE * size
        request = {"path": str(file.absolute()), "wanted": list(wanted), "memory_bytes": memory, "seconds": seconds}
        self.start()
        timer = threading.Timer(60 + 10 * seconds, self._kill)  # for what waits, and uses no processor meanwhile
        timer.start()
        whole = False
        try:
            answer = self._ask(request)
            names = [str(found) for found in answer.get("names", ())]
            left = [memory]
            values = {key: self._value(node, left) for key, node in answer.get("variables", {}).items()}
            whole = True
        except MemoryError:  # here, where what was parsed arrives
            raise ValueError(_refused({"memory": True}, name, size, memory)) from None
        except Exception:  # the process is lost, or what it says makes no sense
            raise ValueError(self._lost(name, size, memory, seconds)) from None
        finally:
            timer.cancel()
            if not whole:
                self.close()
        if "variables" not in answer:
            raise ValueError(_refused(answer, name, size, memory))
        return names, values

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def _kill(self) -> None:
        self.late = True
        if self.process is not None:
            self.process.kill()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and return the first line of its answer."""
        process = self._pipes()
        if not self.ready:  # which it says first
            self.broken = str(self._line().get("broken", ""))
            self.ready = not self.broken
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
        return self._line()

    def _pipes(self) -> Any:
        assert self.process is not None
        return self.process

    def _line(self) -> dict[str, Any]:
        line = self._pipes().stdout.readline(LONGEST_LINE)
        if not line.endswith(b"\n"):
            raise EOFError
        return dict(json.loads(line))

    def _value(self, node: dict[str, Any], left: list[int]) -> Value:
        """Return a value; its arrays, at most `left` bytes in all, follow in the order in which they are described."""
        if node["kind"] == "text":
            return Text(tuple(str(line) for line in node["lines"]))
        if node["kind"] == "cells":
            cells = np.empty(len(node["cells"]), dtype=object)
            for place, cell in enumerate(node["cells"]):
                cells[place] = self._value(cell, left)
            return cells.reshape(node["shape"])
        if node["kind"] != "numbers":
            return Unread(str(node["kind"]))
        kind = np.dtype(TYPES[TYPES.index(node["type"])])
        left[0] -= math.prod(node["shape"]) * kind.itemsize
        if left[0] < 0:
            raise EOFError
        array = np.empty(node["shape"], kind, order="F")
        flat = array.reshape(-1, order="F").view(np.uint8)
        if flat.size and self._pipes().stdout.readinto(flat) < flat.size:
            raise EOFError
        return array

    def _lost(self, name: str, size: int, memory: int, seconds: float) -> str:
        """Return the sentence for a file that has ended the process."""
        assert self.process is not None
        try:
            code = self.process.wait(5)
        except subprocess.TimeoutExpired:  # it lives, and has said what makes no sense
            code = 0
        if not self.ready:
            why = plain(self.broken, 200) or f"exit code {code}"
            return f"{name} cannot be read, for the process that parses it does not start: {why}"
        if self.late or code == -getattr(signal, "SIGXCPU", 0):
            return f"{name} is damaged: it is not parsed within {seconds:.0f} s, which is plenty for {_megabytes(size)}"
        if code in (OUT_OF_MEMORY, -getattr(signal, "SIGKILL", 0)):
            return _refused({"memory": True}, name, size, memory)
        signals = {-number: number.name for number in signal.Signals}
        what = signals.get(code, f"exit code {code}")
        return f"{name} is damaged: the process that parses it ends over it ({what}); copy it again, or export it anew"


_kept: ContextVar[Parser | None] = ContextVar("parser", default=None)


@contextmanager
def kept() -> Iterator[Parser]:
    """Parse all files inside this context in one process, where there are thousands of them."""
    parser = Parser()
    before = _kept.set(parser)
    try:
        yield parser
    finally:
        _kept.reset(before)
        parser.close()


@contextmanager
def started() -> Iterator[Parser]:
    """Start a process for one file, which ends with this context; but see `kept`."""
    parser = _kept.get()
    mine = parser is None
    parser = parser or Parser()
    try:
        parser.start()
        yield parser
    finally:
        if mine:
            parser.close()


def _refused(answer: dict[str, Any], name: str, size: int, memory: int) -> str:
    """Return the sentence for a file that the process has refused."""
    if "twice" in answer:
        return f"{name} holds two variables named '{plain(answer['twice'])}', where one is valid"
    if "too_much" in answer:
        return f"{name} holds {plain(answer['too_much'])}, which no recording has: it is damaged, or of something else"
    if "memory" in answer:
        return (
            f"{name} takes more than {memory / 1e9:.1f} GB of memory, though it is a file of {_megabytes(size)}: it is "
            "damaged, or compressed as no recording is; saved in MATLAB with save(..., '-v6') it is not compressed"
        )
    return (
        f"{name} is not a whole MATLAB file ({_megabytes(size)}): it is damaged or cut short; copy it again, or export "
        "it anew"
    )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 100_000 else f"{size:,} bytes"
