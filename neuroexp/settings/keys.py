"""What it takes to know a run again: a key over its configuration and over the files and the source that it names."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuroexp.settings import renamed, sources

if TYPE_CHECKING:
    from numpy.typing import NDArray

GENERATION = "0.1.0"  # raised when the scores of an unchanged configuration change; a release alone retrains nothing
# What a key leaves out: where things lie, what is reported, on which device it runs.
LOGISTICS = {
    "cache", "data", "output", "tracking", "report", "experiment",
    "timeout_min", "retries", "on_failure", "checkpoint_s", "trusted", "verbose", "budget",
}  # fmt: skip


LEFT_BEHIND = {".DS_Store", "Thumbs.db", "desktop.ini"}  # by file browsers, in folders that they were shown


PLACES = {"cache", "default_root_dir", "dirpath", "accelerator", "devices", "missing"}


def configuration_key(config: Mapping[str, Any]) -> str:
    """Return a digest of the scientific part of a resolved configuration, of the files and of the source that it names.

    Equal keys mean equal scores are expected; moving a recording, the outputs or the device does not change the key, a
    changed recording does, and so does a changed network.
    """
    content = renamed.original(_with_digests(science(config)))
    if behind := sources.digests(science(config)):
        content |= {"sources": behind}
    return hashlib.sha256(json.dumps([GENERATION, content], sort_keys=True).encode()).hexdigest()[:20]


def condition_key(config: Mapping[str, Any]) -> str:
    """Return a digest that runs share when they differ in fold and seed alone, so that a mean over them has a meaning."""
    return configuration_key({name: value for name, value in config.items() if name not in ("fold", "seed")})


def science(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a resolved configuration on which scores depend."""
    return {name: _without_places(value) for name, value in config.items() if name not in LOGISTICS}


def _without_places(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {name: _without_places(value) for name, value in node.items() if name not in PLACES}
    return [_without_places(value) for value in node] if isinstance(node, list) else node


def _with_digests(node: Any) -> Any:
    if isinstance(node, Mapping):
        reader = node.get("_target_")
        return {n: _digest(value, reader) if n == "path" else _with_digests(value) for n, value in node.items()}
    return [_with_digests(value) for value in node] if isinstance(node, list) else node


def _digest(path: str | None, reader: Any) -> Any:
    """Return the digest of a file's bytes, or of every file of a folder that `reader` reads; what is missing stays its name.

    The reader will say what is wrong with a path.
    """
    if not path or not Path(path).expanduser().exists():
        return path
    place = Path(path).expanduser()
    if place.is_dir():
        root = place.resolve()
        files, words = _read_of(root, reader)
        return [*([str(file.relative_to(root)), _digest(str(file), None)] for file in files), *words]
    status = place.stat()
    return _file_digest(str(place), status.st_size, status.st_mtime_ns)


def _read_of(folder: Path, reader: Any) -> tuple[list[Path], list[str]]:
    """Return the files of a folder that a reader reads, in its order, and words on how it reads them.

    One of neuroexp's own that takes folders says so in the functions `files` and `means` of its module. Of another one it is
    not known: there it is all files, but for those that file browsers leave behind.
    """
    module = str(reader).rpartition(".")[0]
    if module.startswith("neuroexp.recordings."):
        try:
            own = importlib.import_module(module)
            return own.files(folder), own.means(folder)
        except (ImportError, AttributeError, ValueError, FileNotFoundError):  # the reader says what is wrong
            pass
    found = sorted(folder.rglob("*"))
    kept = [
        file for file in found if file.is_file() and file.name not in LEFT_BEHIND and not file.name.startswith("._")
    ]
    return kept, []


def digest_of(*arrays: NDArray[Any]) -> str:
    """Return a short digest of arrays, of their values and order."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(repr((array.shape, str(array.dtype))).encode() + array.tobytes())
    return digest.hexdigest()[:16]


@cache
def _file_digest(path: str, size: int, changed_ns: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
