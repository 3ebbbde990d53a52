"""`neuroexp fetch`: the sample recording, or the files of a data set by its DOI."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import requests

from neuroexp.commands import COMMANDS
from neuroexp.downloads import dataverse, sample
from neuroexp.machine import places
from neuroexp.machine.command import command

COMMAND = COMMANDS["fetch"]


@command
def main(words: Sequence[str] | None = None, resolver: str = "https://doi.org") -> None:
    """Download into the folder given, else into NEUROEXP_DATA, else into ./data; `resolver` leads from a DOI to its server."""
    parser = argparse.ArgumentParser("neuroexp fetch", COMMAND.usage.removeprefix("usage: "), add_help=False)
    parser.add_argument("things", nargs="*")
    parser.add_argument("--only", default="*")
    parser.add_argument("--list", action="store_true")
    given = parser.parse_args(words)
    doi = given.things.pop(0) if given.things and dataverse.is_doi(given.things[0]) else None
    folder = Path(given.things.pop(0) if given.things else os.environ.get("NEUROEXP_DATA", "data"))
    if given.things and doi is None:
        sys.exit(f"fetch: {folder} is no DOI, such as doi:10.5683/SP3/JRZDDR")
    if given.things:
        parser.error(f"what is {given.things[0]}?")
    if doi is None and (given.list or given.only != "*"):
        parser.error("--only and --list go with a DOI")
    try:
        if doi is None:
            print(f"{sample.fetch(folder)}\n{sample.ATTRIBUTION}")
        else:
            with requests.Session() as session:
                dataverse.bring(doi, folder, given.only, given.list, session, resolver)
    except KeyboardInterrupt:
        sys.exit(f"fetch: stopped; {dataverse.AGAIN}")
    except (RuntimeError, ValueError) as error:
        sys.exit(f"fetch: {error}")
    except OSError as error:
        if doi is None:
            sys.exit(f"fetch: {places.trouble(error)}")
        where = places.full(folder) if error.errno in places.FULL else f"{error.filename or folder}: {error.strerror}"
        sys.exit(f"fetch: {where.partition(': ' + places.GOES_ON)[0]}; {dataverse.AGAIN}")
