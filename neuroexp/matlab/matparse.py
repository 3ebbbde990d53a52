"""The program of the process that parses MATLAB files: a request per line on its input, answers with arrays on its output.

It is run by its path, never imported, and knows NumPy and SciPy alone: nothing here can be lost when it crashes.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
import time
import warnings
from typing import Any

try:
    import numpy as np
    import scipy.io
    import scipy.sparse
except BaseException as error:  # of any kind: said in words to who has started this, and nobody else sees it
    print(json.dumps({"broken": str(error)}))
    raise SystemExit(1) from None

PLAIN = ("cell", "char", "logical", "single", "double", "full")  # classes that are loaded, with all of integers
MOST_PARTS, MOST_LETTERS, DEEPEST = 100_000, 2_000_000, 8  # of cells and texts, together and inside one another
OUT_OF_MEMORY = 12


class RefusedError(Exception):
    """A file is not read on, for a reason (a word) and what was found."""


class Encoder:
    """Describes variables in words for JSON and collects the arrays that follow it."""

    def __init__(self) -> None:
        """Collect nothing yet."""
        self.arrays: list[Any] = []
        self.parts = self.letters = 0

    def encode(self, value: Any, depth: int = 0) -> dict[str, Any]:
        """Return the description of a value that SciPy has loaded; its arrays are collected in their order."""
        self._count(1)
        kind = foreign(value)
        if kind:
            return {"kind": kind}
        if value.dtype.kind == "U":
            self._count(value.size, value.size * value.dtype.itemsize // 4)
            return {"kind": "text", "lines": value.ravel().tolist()}
        if value.dtype != object:
            plain = np.asarray(value, value.dtype.newbyteorder("="), order="F")
            self.arrays.append(plain)
            return {"kind": "numbers", "type": plain.dtype.name, "shape": plain.shape}
        if depth == DEEPEST:
            raise RefusedError("too_much", f"cells in one another, more than {DEEPEST} deep")
        self._count(value.size)
        cells = [self.encode(cell, depth + 1) for cell in value.ravel()]
        return {"kind": "cells", "shape": value.shape, "cells": cells}

    def _count(self, parts: int, letters: int = 0) -> None:
        self.parts += parts
        self.letters += letters
        if self.parts > MOST_PARTS:
            raise RefusedError("too_much", f"more than {MOST_PARTS:,} cells")
        if self.letters > MOST_LETTERS:
            raise RefusedError("too_much", f"more than {MOST_LETTERS:,} letters of text")


def foreign(value: Any) -> str:
    """Return what a value is in words, unless it is an array of numbers, text or cells."""
    if scipy.sparse.issparse(value):
        return "a sparse matrix"
    if isinstance(value, scipy.io.matlab.MatlabFunction):
        return "a function handle"
    if type(value) is np.ndarray and value.dtype.names is not None:
        return "a struct"
    plain = type(value) is np.ndarray and value.dtype.kind in "biufcUO"
    return "" if plain else "an object"


def parse(path: str, wanted: list[str], encoder: Encoder) -> dict[str, Any]:
    """Return the names of all variables of a file and the descriptions of those that are wanted."""
    listed = scipy.io.whosmat(path, appendmat=False)
    names = [name for name, _, _ in listed]
    if len(names) > MOST_PARTS or sum(map(len, names)) > MOST_LETTERS:
        raise RefusedError("too_much", f"{len(names):,} variables")
    variables: dict[str, Any] = {}
    for name, _, kind in listed:
        if name not in wanted:
            continue
        if name in variables:
            raise RefusedError("twice", name)
        if kind in PLAIN or "int" in kind:
            variables[name] = encoder.encode(loaded(path, name, kind))
        else:
            kinds = {"struct": "a struct", "sparse": "a sparse matrix", "function": "a function handle"}
            variables[name] = {"kind": kinds.get(kind, "an object")}
    return {"names": names, "variables": variables}


def loaded(path: str, name: str, kind: str) -> Any:
    """Return one variable; logical values are bool also inside of cells, which only `mat_dtype` tells from small numbers."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", np.exceptions.ComplexWarning)  # for which `mat_dtype` loses the imaginary part
        try:
            found = scipy.io.loadmat(
                path, variable_names=[name], appendmat=False, mat_dtype=kind in ("cell", "logical")
            )
        except np.exceptions.ComplexWarning:
            found = scipy.io.loadmat(path, variable_names=[name], appendmat=False)
    if isinstance(found[name], str):  # SciPy's words for a variable that it cannot read
        raise ValueError(found[name])
    return found[name]


def limit(memory_bytes: int, seconds: float) -> None:
    """Have the system end this process when it uses so much more memory (Linux) or processor time than now."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hardest = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time() + seconds), hardest))
    try:
        with open("/proc/self/statm") as file:  # noqa: PTH123 - pathlib would be one import more
            now = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        threading.Thread(target=watch, args=(memory_bytes,), daemon=True).start()
        return
    _, hardest = resource.getrlimit(resource.RLIMIT_AS)
    most = now + memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most if hardest == resource.RLIM_INFINITY else min(most, hardest), hardest))


def watch(memory_bytes: int) -> None:
    """End this process when it has held so much more memory than now: where limits of memory are not kept (macOS)."""
    import resource  # noqa: PLC0415 - as above

    unit = 1 if sys.platform == "darwin" else 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit + memory_bytes
    while resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit < most:
        time.sleep(0.01)
    os._exit(OUT_OF_MEMORY)


def answer(request: dict[str, Any], out: Any) -> None:
    """Write the answer to a request: a line of JSON, and the bytes of its arrays, columns first, one after another."""
    encoder = Encoder()
    try:
        found = parse(request["path"], request["wanted"], encoder)
    except RefusedError as error:
        found = dict([error.args])
    except MemoryError:
        found = {"memory": True}
    except Exception:  # SciPy raises a dozen kinds of error, of its own and of zlib, on broken files
        found = {"damaged": True}
    if "variables" not in found:
        encoder.arrays.clear()
    out.write(json.dumps(found).encode() + b"\n")
    encoder.arrays.reverse()
    while encoder.arrays:  # each is freed when it is sent
        out.write(encoder.arrays.pop().reshape(-1, order="F").view(np.uint8))
    out.flush()


def main() -> None:
    """Answer requests until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who has started this ends it
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    out.write(b'{"ready": true}\n')
    out.flush()
    try:
        for line in sys.stdin.buffer:
            request = json.loads(line)
            limit(request["memory_bytes"], request["seconds"])
            answer(request, out)
    except BrokenPipeError:
        os._exit(0)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)


if __name__ == "__main__":
    main()
