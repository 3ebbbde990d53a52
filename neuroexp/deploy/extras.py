"""Packages of extras: imported when they are asked for, a missing one said in a sentence, their noise kept away."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType


def needed(module: str, extra: str = "export") -> ModuleType:
    """Return a module of an extra; raises ValueError when the extra is not installed, or not fit for what it builds on."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is missing: pip install 'neuroexp[{extra}]'") from None
    except (ImportError, OSError) as error:  # of another release of torch, say
        why = str(error).partition("\n")[0][:150]
        raise ValueError(f"{module} is installed but does not load beside the other packages: {why}") from None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence what exporters say about each other's versions and about operators that are not used."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def mute() -> Iterator[None]:
    """Silence standard error altogether, what libraries in C++ write there too; for moments only."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a device
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
