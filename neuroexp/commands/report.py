"""`neuroexp report`: the tables and figures of the papers, from finished runs."""

from __future__ import annotations

import importlib
import sys

from neuroexp.machine.command import command
from neuroexp.store.tracking import StoreError


@command
def main() -> None:
    """Make the artefact that the first word names, or all of them in one page."""
    try:  # like the configuration, they lie beside this package in a checkout and inside it in a wheel
        importlib.import_module("neuroexp.experiments.page").make(sys.argv[1:])
    except StoreError as error:
        sys.exit(str(error))
