"""Small files that this package leaves for itself: written whole, and read back only when they are what they should be."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from filelock import FileLock

Check = Callable[[Any], bool]
Shape = Mapping[str, Check]


def text(value: Any) -> bool:
    """Return whether a value is a text."""
    return isinstance(value, str)


def whole(value: Any) -> bool:
    """Return whether a value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def number(value: Any) -> bool:
    """Return whether a value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def flag(value: Any) -> bool:
    """Return whether a value is true or false."""
    return isinstance(value, bool)


def maybe(check: Check) -> Check:
    """Return a check that null passes as well."""
    return lambda value: value is None or check(value)


def list_of(check: Check) -> Check:
    """Return a check of lists all of whose values pass another one."""
    return lambda value: isinstance(value, list) and all(map(check, value))


def mapping_of(check: Check) -> Check:
    """Return a check of mappings from names to values that pass another one."""
    return lambda value: isinstance(value, dict) and all(map(text, value)) and all(map(check, value.values()))


def fits(value: Any, needed: Shape, possible: Shape | None = None) -> bool:
    """Return whether a value is a mapping with all that is `needed`, and what it has of `possible`, each of its kind."""
    if not isinstance(value, dict) or not needed.keys() <= value.keys():
        return False
    checks = {**needed, **(possible or {})}
    return all(check(value[name]) for name, check in checks.items() if name in value)


def read(path: Path, needed: Shape, possible: Shape | None = None) -> dict[str, Any] | None:
    """Return what a JSON file says.

    None when there is none, or when it is not what was written: cut off, of another shape, a folder.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (OSError, ValueError, RecursionError):
        return None
    return found if fits(found, needed, possible) else None


def write(path: Path, facts: Mapping[str, Any], durable: bool = False) -> None:
    """Write a JSON file so that no reader ever sees half of it; `durable` means not after a power failure either."""
    with replacing(path) as partial, partial.open("w", encoding="utf-8") as file:
        json.dump(facts, file)
        if durable:
            file.flush()
            os.fsync(file.fileno())


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield where to write what takes the place of `path` once it is whole: no reader ever sees half of it.

    What a process leaves behind that dies in between is NAME.PID.part.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    discard(partial)  # a link there may lead anywhere
    try:
        yield partial
        make_way(path)
        partial.replace(path)
    finally:
        discard(partial)


def make_way(path: Path) -> None:
    """Move a folder aside that lies where a file belongs: nothing in it is lost."""
    if path.is_dir() and not path.is_symlink():
        path.rename(path.with_name(f"{path.name}.{secrets.token_hex(4)}.aside"))


def lock(path: Path) -> FileLock:
    """Return a lock that the system gives back when its process dies."""
    from filelock import FileLock  # noqa: PLC0415 - a machine that only measures need not have it

    path.parent.mkdir(parents=True, exist_ok=True)
    make_way(path)
    if path.is_symlink():
        path.unlink()
    return FileLock(path)


def held(path: Path) -> bool | None:
    """Return whether a process holds a lock; None when there is no lock: one is an empty file, nothing else is opened."""
    from filelock import FileLock, Timeout  # noqa: PLC0415 - as above

    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size:
            return None
        found = FileLock(path)
        found.acquire(timeout=0)
    except Timeout:
        return True
    except (OSError, ValueError):
        return None
    found.release()
    return False


def discard(path: Path) -> None:
    """Remove a file, a link (never what it leads to), or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
