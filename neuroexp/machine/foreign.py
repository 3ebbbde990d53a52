"""What comes from elsewhere: its text is made safe to show, its files are opened only when they are files."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from neuroexp.machine import kinds
from neuroexp.terminal.shown import plain

LONGEST_NAME = 240  # of a file with its folders, in a sentence
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
REASONS = {
    errno.ELOOP: "is a link that leads back to itself",
    errno.ENAMETOOLONG: "is too long a name for a file",
    errno.EACCES: "may not be read: permission denied",
    errno.EPERM: "may not be read: permission denied",
}


def existing(path: str | os.PathLike[str], missing: str = "") -> Path:
    """Return the path of a file that can be read, `~` expanded; `missing` is advice for when it is not there.

    Raises FileNotFoundError when there is none and ValueError when it cannot be read, each with one sentence. Nothing but
    a regular file is opened: a named pipe would wait for its writer, a device might never end.
    """
    name = plain(path, LONGEST_NAME)
    advice = f"; {missing}" if missing else ""
    try:
        file = Path(path).expanduser()
        kind = stat.S_IFMT(file.stat().st_mode)
        if kind == stat.S_IFREG:
            with file.open("rb"):
                return file
    except (FileNotFoundError, NotADirectoryError):
        if annexed := kinds.annexed(str(file.readlink()) if file.is_symlink() else ""):
            raise FileNotFoundError(f"{name} {annexed}") from None
        what = "is a link to what is not there" if file.is_symlink() else "is not there"
        raise FileNotFoundError(f"{name} {what}{advice}") from None
    except OSError as error:
        reason = REASONS.get(error.errno or 0, f"cannot be read: {error.strerror}")
        raise ValueError(f"{name} {reason}") from None
    except (ValueError, TypeError, RuntimeError):  # a NUL inside; no text; the home of a user who does not exist
        raise FileNotFoundError(f"{name} is no name of a file{advice}") from None
    if kind == stat.S_IFDIR:
        advice = _inside(file) or advice
    raise FileNotFoundError(f"{name} is {KINDS.get(kind, 'something else')}, not a file{advice}")


def _inside(folder: Path) -> str:
    """Return the advice to give a file that lies in a folder; empty when there is none for which it can be meant."""
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return ""
    found = [plain(name, 60) for name in names if name.lower().endswith(".mat") and not name.startswith(".")]
    if found:
        return f"; give a file in it, such as {found[0]}"
    if any(name.lower() == "dorsiflexion" or name.lower().endswith(".rhd") for name in names):
        return "; recording=intan reads a rat's folder of Intan files"
    return ""


def physical_bytes() -> int:
    """Return how much memory this machine has, or lets this process have; where it does not say, more than any has."""
    try:
        found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        found = 1 << 62
    return min([found, *_limits()])


def _limits(groups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> Iterator[int]:
    """Yield what a container, or a job of a scheduler, may use: the limits of this process's control groups (Linux)."""
    try:
        lines = groups.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, names, path = line.split(":", 2)
        if names not in ("", "memory"):
            continue
        top, name = (root / names, "memory.limit_in_bytes") if names else (root, "memory.max")
        own = Path(path.lstrip("/"))
        for group in (own, *own.parents):  # a limit holds for all groups inside
            with contextlib.suppress(OSError, ValueError):  # not there, or the word max
                yield int((top / group / name).read_text())
