"""Where things lie: the folder in which a command was typed, the store below it, and what is wrong with a place."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import sqlite3
import tempfile
import unicodedata
from pathlib import Path
from urllib.parse import quote, unquote

from neuroexp.terminal.shown import plain

DEEPEST = 3800  # bytes of a folder's path: of the 4096 that Linux takes, what is written below it needs the rest
LONGEST = 490  # bytes of an SQLite file's path: of its 504, what is appended while a new one is made needs the rest
PROBE = bytes(1 << 16)
ROOM = 1 << 18  # bytes
PLENTY_MB = 100  # with which no disk is full
FULL = (errno.ENOSPC, errno.EDQUOT)
DISK = (*FULL, errno.EROFS, errno.EFBIG, errno.EIO)
READ = {"${": "a reference to another setting", "::": "a chain of addresses"}
OTHER = "work in a folder of another name"
LAUNCH = "NEUROEXP_FOLDER"  # in the environment, so that the jobs of every launcher inherit it
GOES_ON = "make room, then the same command goes on"


def here() -> Path:
    """Return the folder in which the command was typed; raises ValueError when nothing could be kept in it."""
    try:
        folder = os.getcwd()  # noqa: PTH109 - pathlib's is the same and hides which error is meant
    except OSError:
        raise ValueError("the folder in which this was typed is not there any more: cd to another one") from None
    check_name(folder, "this folder")
    return Path(folder)


def of_launch() -> Path | None:
    """Return the folder of the launch to which this process belongs, once it has one."""
    return Path(os.environ[LAUNCH]) if LAUNCH in os.environ else None


def check_name(path: str | Path, what: str) -> None:
    """Raise ValueError when a path cannot be written where paths have to be: in a configuration, an address, a table."""
    text, name = str(path), plain(str(path))
    for mark, meaning in READ.items():
        if mark in text:
            raise ValueError(f"the path of {what}, {name}, holds {mark}, which is read as {meaning}: {OTHER}")
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in text):
        raise ValueError(f"the path of {what}, {name}, holds control characters or bytes that are no text: {OTHER}")
    if len(os.fsencode(text)) > DEEPEST:
        raise ValueError(f"the path of {what} is longer than {DEEPEST} bytes: work in a folder nearer to the top")


def store(folder: str | Path) -> str:
    """Return the address of the MLflow store of a folder, where none was named."""
    return address(Path(folder) / "outputs" / "mlflow.db")


def address(path: str | Path) -> str:
    """Return the address of an SQLite store; only what would be read as something else is written as its code."""
    coded = re.sub(r"%(?=[0-9A-Fa-f]{2})", "%25", str(path)).replace("?", "%3F")
    # without its driver MLflow takes the codes for a name, and makes a folder of it
    return f"{'sqlite' if coded == str(path) else 'sqlite+pysqlite'}:///{coded}"


def database(uri: str) -> Path | None:
    """Return the file of an SQLite store, as SQLAlchemy reads its address; None for any other store."""
    found = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]*)(?:\?.*)?", uri, re.DOTALL)
    return Path(unquote(found[1])) if found and found[1] not in ("", ":memory:") else None


def absent(uri: str) -> bool:
    """Return whether a store is an SQLite file that is not there."""
    path = database(uri)
    try:
        return path is not None and not path.is_file()
    except OSError:  # too long a path
        return True


def check_store(uri: str) -> None:
    """Raise ValueError with one sentence when the file of an SQLite store cannot be made, or is there and cannot be used.

    MLflow itself would try for two minutes.
    """
    path = database(uri)
    if path is None:
        return
    if len(os.fsencode(path.absolute())) > LONGEST:
        raise ValueError(
            f"{plain(str(path))} is too long a path for SQLite, which takes {LONGEST} bytes: work in a folder nearer to "
            "the top, or name another store with tracking.uri=sqlite:////SHORTER/mlflow.db"
        )
    try:
        check_folder(path.parent)
        if path.is_symlink() or path.exists():
            _open(path)
    except OSError as error:
        raise ValueError(trouble(error, path)) from error
    except sqlite3.Error as error:
        raise ValueError(f"the MLflow store {unusable(str(error), path)}") from error


def _open(path: Path) -> None:
    """Raise sqlite3.Error or OSError unless an SQLite file can be read and written."""
    if not path.is_file():
        raise OSError(errno.EISDIR if path.is_dir() else errno.ENOENT, "no file", str(path))
    path.open("r+b").close()  # SQLite itself says nothing until it has something to write
    with contextlib.closing(sqlite3.connect(f"file:{quote(os.fsencode(path.absolute()))}?mode=rw", uri=True)) as file:
        try:
            file.execute("SELECT count(*) FROM sqlite_master").fetchone()
            file.execute("BEGIN IMMEDIATE")
            file.execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):  # by somebody who is writing: so it can be written
                raise


def unusable(said: str, path: Path) -> str:
    """Return what SQLite's words about a file mean to its owner, in a sentence that begins with the file's name."""
    name = plain(str(path))
    if "disk is full" in said:
        return f"{name} has no room: {full(path)}"
    for words, meaning in (
        ("readonly", "is read-only: allow writing it and its folder, or name another store with tracking.uri=URI"),
        ("not a database", "is no SQLite database: move it away, then a new one is made"),
        ("malformed", "is damaged: move it away, then a new one is filled from what is kept in outputs/cells"),
        ("unable to open", "cannot be opened or made"),
    ):
        if words in said:
            return f"{name} {meaning}"
    return f"{name} cannot be used: {plain(said)}"


def check_folder(folder: Path) -> None:
    """Make a folder, and write into it; raises OSError when that cannot be."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(PROBE)
            file.flush()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error


def full(place: str | Path) -> str:
    """Return that the disk of a place is full, and how much of it is left."""
    folder = _nearest(Path(place))
    left = shutil.disk_usage(folder).free / 1e6
    if left > PLENTY_MB:
        return (
            f"no room was given in {plain(str(folder))}, though {left:,.1f} MB of its disk are left (a quota, or the disk "
            f"of another folder): {GOES_ON}"
        )
    return f"the disk of {plain(str(folder))} is full, {left:,.1f} MB are left: {GOES_ON}"


def no_room(place: str | Path) -> bool:
    """Return whether the disk of a place has no room for another file."""
    return shutil.disk_usage(_nearest(Path(place))).free < ROOM


def _nearest(place: Path) -> Path:
    """Return the folder that is there and nearest to a place."""
    folder = place.absolute()
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return folder


def trouble(error: OSError, place: str | Path = ".") -> str:
    """Return one sentence on what the system would not do: where, why, and what helps; `place` stands in for a missing name."""
    named = error.filename if isinstance(error.filename, str | bytes) else None
    path = Path(os.fsdecode(named) if named is not None else place)
    name = plain(str(path))
    with contextlib.suppress(OSError):  # a path that is too long cannot even be looked at
        if error.errno in FULL:
            return full(path)
        if blocked := _blocked(path, error):
            return blocked
    reasons = {
        errno.EROFS: "cannot be written, its disk is read-only: work in another folder",
        errno.EACCES: "may not be opened or written by you: change its permissions, or work in another folder",
        errno.ENAMETOOLONG: "is too long a path: work in a folder nearer to the top",
        errno.EFBIG: "would become larger than this system allows (ulimit -f)",
        errno.EISDIR: "is a folder, where a file is needed: move it away",
        errno.EMFILE: "cannot be opened: too many files are open (ulimit -n)",
    }
    reasons[errno.EPERM] = reasons[errno.EACCES]
    if error.errno in reasons:
        return f"{name} {reasons[error.errno]}"
    return f"{name}: {error.strerror}" if error.strerror else plain(str(error), 2000)


def _blocked(path: Path, error: OSError) -> str | None:
    """Return what stands in the way of a path: a link that leads nowhere, or a file in the place of a folder."""
    for part in (*reversed(path.absolute().parents), path.absolute()):
        if part.is_symlink() and not part.exists():
            return f"{plain(str(part))} is a link that leads to nothing: remove it, or make what it should lead to"
        wanted = part != path.absolute() or error.errno in (errno.EEXIST, errno.ENOTDIR)
        if wanted and part.exists() and not part.is_dir():
            return f"{plain(str(part))} is a file, where a folder is needed: move it away"
    return None


def told(error: BaseException, place: str | Path = ".") -> str | None:
    """Return the sentence on what the system would not do, when an error is that or goes back to a disk; else None."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno is not None and (seen is error or seen.errno in DISK):
            return trouble(seen, place)
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return None
