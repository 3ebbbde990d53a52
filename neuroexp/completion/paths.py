"""Files and folders as answers."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

UNQUOTED = re.compile(r"[A-Za-z0-9_/.+%@|-]*")  # what Hydra takes as a value without quotes


def beginning(typed: str, folders: bool = False) -> Iterator[str]:
    """Yield the paths that begin as `typed`, those of folders with a `/` behind them; of `folders` alone if wanted."""
    head, slash, tail = typed.rpartition("/")
    try:
        with os.scandir(os.path.expanduser(f"{head}{slash}") or ".") as found:  # noqa: PTH111 - `~/` may be what is typed
            entries = sorted((entry.name, entry.is_dir()) for entry in found)
    except OSError:
        return
    for name, is_folder in entries:
        hidden = name.startswith(".") and not tail.startswith(".")
        if name.startswith(tail) and not hidden and name.isprintable() and (is_folder or not folders):
            yield f"{head}{slash}{name}{'/' if is_folder else ''}"


def values(typed: str, folders: bool = False) -> Iterator[str]:
    """Yield paths as `beginning` does, in the quotes that Hydra wants around blanks, brackets and the like.

    The quotation of a folder is left open, because the path goes on.
    """
    for path in beginning(typed.removeprefix("'").replace("\\'", "'"), folders):
        inside = path.replace("'", "\\'")
        if UNQUOTED.fullmatch(path):
            yield path
        else:
            yield f"'{inside}" if path.endswith("/") else f"'{inside}'"
