"""The files of a Dataverse dataset, found by its DOI and downloaded until they are whole."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import quote, urlsplit

import requests
from tqdm import tqdm

from neuroexp.machine.web import connection, get, pieces
from neuroexp.terminal.shown import plain

AGAIN = "the same command goes on from where it stopped"
ANEW = "the same command has this server begin the file anew, and keeps what is there until more has come"
UNSURE = f"{AGAIN}, or from the beginning where a server sends whole files only"
LISTING = 100_000_000  # bytes of a list of files


@dataclass(frozen=True)
class Entry:
    """One file of a dataset; size and checksum are those of the upload, also where the server made a table from it."""

    number: int  # by which the server knows it
    path: str  # inside the dataset, with forward slashes
    n_bytes: int
    algorithm: str | None  # of the checksum, as hashlib names it; None when there is none that it knows
    checksum: str
    converted: bool  # the server gives out a table unless asked for the upload
    restricted: bool


@dataclass(frozen=True)
class Dataset:
    """Where a dataset lies and what its latest version holds."""

    server: str
    citation: str
    entries: list[Entry]


def look_up(doi: str, session: requests.Session, resolver: str = "https://doi.org") -> Dataset:
    """List a dataset; `resolver` is the server that knows where a DOI lies.

    Raises ValueError or RuntimeError with one sentence when there is no such dataset or it cannot be reached.
    """
    found = re.search(r"10\.\d{4,9}/\S+", doi)
    if not found:
        raise ValueError(f"{doi} is no DOI, such as doi:10.5683/SP3/JRZDDR")
    doi = quote(found[0])
    with get(session, f"{resolver}/{doi}") as page:
        if not page.history and not page.ok:
            raise RuntimeError(f"{resolver} does not know doi:{doi} (it answered {page.status_code})")
        host = urlsplit(page.url)
    server = f"{host.scheme}://{host.netloc}"
    listing = f"{server}/api/datasets/:persistentId/?persistentId=doi:{doi}"
    with get(session, listing) as answer, connection(listing, "try again"):
        body = bytearray()
        for piece in pieces(answer, decoded=True):
            body += piece
            if len(body) > LISTING:
                raise RuntimeError(
                    f"{server} lists more than {LISTING / 1e6:.0f} MB of files for doi:{doi}, which is none"
                )
    try:
        content = json.loads(body)
        if not answer.ok:
            raise RuntimeError(f"{server} does not give out doi:{doi} ({content['message']})")
        version = content["data"]["latestVersion"]
        entries = [_entry(file) for file in version["files"]]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise RuntimeError(f"doi:{doi} lies at {server}, which does not answer as a Dataverse server") from error
    _check(server, entries)
    return Dataset(server, str(version.get("citation") or ""), entries)


def _check(server: str, entries: Sequence[Entry]) -> None:
    """Raise ValueError when a file of a dataset could not lie inside the folder, or not beside the others."""
    counts = Counter(entry.path for entry in entries)
    folders = {str(folder) for path in counts for folder in PurePosixPath(path).parents}
    for entry in entries:
        path, name = entry.path, plain(entry.path)
        if re.search(r"[\\:]", path) or {"", ".", ".."} & set(path.split("/")):
            raise ValueError(f"{server} names a file '{name}', which would not lie inside the folder")
        if any(unicodedata.category(c) in ("Cc", "Cs") for c in path):
            raise ValueError(f"{server} names a file '{name}', with characters that belong in no name")
        if entry.n_bytes < 0:
            raise ValueError(f"{server} says that {name} has {entry.n_bytes} bytes")
        if counts[path] > 1:
            raise ValueError(f"{server} names more than one file '{name}'")
        if path in folders or f"{path}.part" in counts:  # the name under which a file comes
            raise ValueError(f"{server} names a file '{name}' in the way of another")


def _entry(file: dict[str, Any]) -> Entry:
    data = file["dataFile"]
    converted = bool(data.get("originalFileFormat") or data.get("originalFileName"))
    name = data.get("originalFileName") or file.get("label") or data["filename"]
    checksum = data.get("checksum") or {"type": "MD5", "value": data.get("md5") or ""}
    algorithm = checksum["type"].replace("-", "").lower()  # SHA-1 -> sha1
    known = hashlib.algorithms_guaranteed - {"shake_128", "shake_256"}  # whose digests have no length
    return Entry(
        number=int(data["id"]),
        path=f"{file['directoryLabel']}/{name}" if file.get("directoryLabel") else str(name),
        n_bytes=int(data.get("originalFileSize", data["filesize"]) if converted else data["filesize"]),
        algorithm=algorithm if checksum["value"] and algorithm in known else None,
        checksum=checksum["value"].lower(),
        converted=converted,
        restricted=bool(file.get("restricted")),
    )


def fetch(dataset: Dataset, entries: Sequence[Entry], folder: Path, session: requests.Session) -> int:
    """Bring `entries` into `folder` and return how many were downloaded; what is there and whole is left alone.

    Raises ValueError, RuntimeError or OSError with one sentence; what came of a file is kept, as NAME.part, and continued
    the next time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    absent = [entry for entry in entries if not (folder / entry.path).exists()]
    needed, free = sum(entry.n_bytes for entry in absent), shutil.disk_usage(folder).free
    if needed > free:
        raise RuntimeError(
            f"{folder} has {free / 1e6:,.1f} MB free, the files need {needed / 1e6:,.1f}; bring some with --only"
        )
    total = sum(entry.n_bytes for entry in entries)
    with tqdm(total=total, unit="B", unit_scale=True, disable=not sys.stderr.isatty()) as bar:
        for entry in entries:
            bar.set_description(plain(entry.path))
            target = folder / entry.path
            if target.exists():
                if not _whole(entry, target):
                    raise ValueError(f"{target} is there but is not the dataset's; move it away and try again")
                bar.update(entry.n_bytes)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f"{target.name}.part")
            _download(dataset.server, entry, part, session, bar)
            if not _whole(entry, part):
                part.unlink()
                raise RuntimeError(f"{plain(entry.path)} came with a wrong size or checksum and was removed; try again")
            part.replace(target)  # a reader never sees half a file
    return len(absent)


def _download(server: str, entry: Entry, part: Path, session: requests.Session, bar: Any) -> None:
    """Write what `part` lacks."""
    have = part.stat().st_size if part.exists() else 0
    bar.update(have)
    if have >= entry.n_bytes > 0:
        return
    address = f"{server}/api/access/datafile/{entry.number}{'?format=original' if entry.converted else ''}"
    headers = {"Range": f"bytes={have}-"} if have else {}
    name = plain(entry.path)
    with get(session, address, headers) as answer:
        if answer.status_code in (401, 403):
            raise RuntimeError(f"{server} does not give out {name}: it is restricted or under embargo")
        if not answer.ok:
            raise RuntimeError(f"{server} answered {answer.status_code} for {name}; {AGAIN}")
        goes_on = answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        again = AGAIN if goes_on else ANEW if have else UNSURE
        if not goes_on:  # this server begins anew, so we do
            bar.update(-have)
        mode = "ab" if goes_on else "r+b" if have else "wb"
        with part.open(mode) as file, connection(server, f"{name} is not whole; {again}"):
            came = _take(answer, file, entry.n_bytes - have * goes_on, bar)
    if came < entry.n_bytes - have * goes_on:  # a connection may end without an error
        raise RuntimeError(f"{server} ended the connection and {name} is not whole; {again}")


def _take(answer: requests.Response, file: IO[bytes], wanted: int, bar: Any) -> int:
    """Write an answer to where a file stands and return its size; what comes beyond the bytes that are `wanted` ends it.

    What lies there already is written anew: what was longer than a broken answer stays, for the next time.
    """
    came = 0
    for piece in pieces(answer, decoded=False):
        file.write(piece)
        came += len(piece)
        bar.update(len(piece))
        if came > wanted:
            break
    if came >= wanted:
        file.truncate()
    return came


def _whole(entry: Entry, path: Path) -> bool:
    if not path.is_file() or path.stat().st_size != entry.n_bytes:
        return False
    if not (algorithm := entry.algorithm):
        return True
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
    return digest.hexdigest() == entry.checksum


def is_doi(word: str) -> bool:
    """Return whether a word means a DOI, right or wrong, and not a folder."""
    return re.match(r"doi:|https?:|10\.\d", word, re.IGNORECASE) is not None


def bring(doi: str, folder: Path, only: str, listed: bool, session: requests.Session, resolver: str) -> None:
    """Download the files of a dataset whose paths fit `only`, or list them; print what was done and whom to cite."""
    dataset = look_up(doi, session, resolver)
    chosen = [entry for entry in dataset.entries if fnmatchcase(entry.path, only)]
    if not chosen:
        some = ", ".join(plain(entry.path) for entry in dataset.entries[:5]) or "none"
        raise ValueError(f"--only {only!r} matches none of {len(dataset.entries)} files (some are: {some})")
    if listed:
        for entry in chosen:
            print(f"{entry.n_bytes:>14,} {plain(entry.path, 1000)}{' (restricted)' if entry.restricted else ''}")
        return
    open_to_all = [entry for entry in chosen if not entry.restricted]
    brought = fetch(dataset, open_to_all, folder, session)
    n_bytes = sum(entry.n_bytes for entry in open_to_all)
    print(f"{len(open_to_all)} files, {n_bytes:,} bytes, in {folder} ({brought} downloaded now)")
    if dataset.citation:
        print(f"Please cite: {plain(dataset.citation, 2000)}")
    if kept := [entry.path for entry in chosen if entry.restricted]:
        raise RuntimeError(f"{plain(kept[0])} ({len(kept)} in all) is restricted: ask for access at {dataset.server}")
