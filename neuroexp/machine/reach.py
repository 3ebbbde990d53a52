"""Whether a store can be reached: its address makes sense, and it answers within seconds, or was away a moment ago."""

from __future__ import annotations

import difflib
import hashlib
import os
import threading
import time
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from neuroexp.machine import places

PROBE_S = 5.0  # in which a store has to answer before anything is asked of it
AWAY_S = 60.0  # for which a store that was away is left alone
DATABASES = ("postgresql", "mysql", "mssql")
SERVERS = ("http", "https")
DATABRICKS = {"databricks", "databricks-uc", "uc"}
EXTRAS = {  # what brings a module; others have their own name
    "psycopg2": "'neuroexp[postgresql]'",
    "psycopg": "'neuroexp[postgresql]', and name the store postgresql+psycopg2://...",
}

os.environ.setdefault("PGCONNECT_TIMEOUT", "10")  # PostgreSQL's own has no end

_answered: set[str] = set()  # in this process
_away: dict[str, tuple[float, str]] = {}  # since when, and why


def shown(uri: str) -> str:
    """Return an address as it may be printed: without a password."""
    parts = urlsplit(uri) if "@" in uri else None
    if parts is None or not parts.netloc:
        return uri
    person, _, host = parts.netloc.rpartition("@")
    return uri.replace(parts.netloc, f"{person.partition(':')[0]}@{host}", 1)


def check(uri: Any) -> None:
    """Raise ValueError for what is no address of a store, however long one waits."""
    if not isinstance(uri, str):
        raise ValueError(f"tracking.uri={uri} is no address of an MLflow store")
    scheme, colon, rest = uri.partition(":")
    kind = scheme.partition("+")[0]
    others = {point.name for point in entry_points(group="mlflow.tracking_store")}
    wrong = f"tracking.uri={shown(uri)} is no address of an MLflow store"
    valid = "valid are http://HOST:PORT, sqlite:///FILE and postgresql://USER@HOST/DATABASE"
    if kind in others | DATABRICKS:
        return
    if not colon or kind in ("", "file") or "/" in kind or "\\" in kind:
        raise ValueError(f"{wrong}: it keeps no runs in a plain folder or file; {valid}")
    if kind not in (*SERVERS, *DATABASES, "sqlite"):
        near = difflib.get_close_matches(kind, [*SERVERS, *DATABASES, "sqlite"], 1)
        raise ValueError(
            f"{wrong}: there is none of kind {kind}" + (f", did you mean {near[0]}?" if near else f"; {valid}")
        )
    if kind == "sqlite":
        if not rest.startswith("///") or rest.strip("/") in ("", ":memory:"):
            raise ValueError(f"{wrong}: SQLite's is sqlite:///FILE, and sqlite:////FOLDER/FILE from the root on")
        return
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{wrong}: {error}") from None
    if not rest.startswith("//") or (kind in SERVERS and not host):
        raise ValueError(f"{wrong}: it names no machine; {valid}")
    if kind in DATABASES:
        _dialect(uri, wrong)


def _dialect(uri: str, wrong: str) -> None:
    from sqlalchemy.engine import make_url  # noqa: PLC0415 - needed by few
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415

    try:
        make_url(uri).get_dialect()
    except ArgumentError as error:
        raise ValueError(f"{wrong}: {' '.join(str(error).split())}") from None
    except ModuleNotFoundError:  # of a driver: that is no mistake in the address
        return


def ready(uri: str) -> None:
    """Raise OSError when a store was away a moment ago, or does not answer now; ModuleNotFoundError without its driver.

    What has answered this process before is asked again only after it was away.
    """
    kind = uri.partition(":")[0].partition("+")[0]
    if kind not in (*SERVERS, *DATABASES):
        return
    since, why = _known(uri)
    if time.time() - since < AWAY_S:
        raise ConnectionError(why)
    if uri in _answered and not since:
        return
    try:
        _within(PROBE_S + 1, (lambda: _ask_server(uri)) if kind in SERVERS else (lambda: _ask_database(uri)))
    except OSError as error:
        note(uri, str(error))
        raise
    forget(uri)
    _answered.add(uri)


def _within(seconds: float, ask: Callable[[], None]) -> None:
    """Ask in a thread of its own, as there are ways to hang that know no time limit, such as looking up a name."""
    raised: list[Exception] = []

    def work() -> None:
        try:
            ask()
        except Exception as error:  # raised below
            raised.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"no answer within {PROBE_S:.0f} s")
    if raised:
        raise raised[0]


def _ask_server(uri: str) -> None:
    import requests  # noqa: PLC0415 - as below

    try:
        with requests.get(f"{uri.rstrip('/')}/health", timeout=PROBE_S, allow_redirects=False, stream=True) as answer:
            if answer.status_code >= 500:
                raise ConnectionError(f"it answers with {answer.status_code} {answer.reason}")
    except requests.exceptions.SSLError:  # it is there; MLflow knows the certificates
        return
    except requests.exceptions.Timeout:
        raise TimeoutError(f"no answer within {PROBE_S:.0f} s") from None
    except requests.exceptions.ConnectionError as error:
        raise ConnectionError(_refusal(error)) from None


def _refusal(error: BaseException) -> str:
    """Return what the system said about a connection, without the layers around it."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror
        inner = inner.__cause__ or inner.__context__
    return "no connection"


def _ask_database(uri: str) -> None:
    from sqlalchemy import create_engine  # noqa: PLC0415 - needed by few
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415
    from sqlalchemy.pool import NullPool  # noqa: PLC0415

    try:
        create_engine(uri, poolclass=NullPool).connect().close()
    except SQLAlchemyError as error:
        raise ConnectionError((str(getattr(error, "orig", None) or error).strip().splitlines() or ["?"])[0]) from None


def driver(error: ModuleNotFoundError) -> str:
    """Return what is missing, and what to type."""
    module = str(error.name).partition(".")[0]
    return f"{module} is not installed: pip install {EXTRAS.get(module, module)}"


def note(uri: str, why: str) -> None:
    """Remember that a store is away, for the other processes of this launch too."""
    _away[uri] = time.time(), why
    _answered.discard(uri)
    if (path := _note(uri)) is not None:
        try:
            path.write_text(why, encoding="utf-8")
        except OSError:  # this process remembers all the same
            return


def forget(uri: str) -> None:
    """Forget that a store was away."""
    _away.pop(uri, None)
    if (path := _note(uri)) is not None:
        path.unlink(missing_ok=True)


def _known(uri: str) -> tuple[float, str]:
    """Return since when a store is away, and why; 0 when it is not."""
    found = [_away.get(uri, (0.0, ""))]
    path = _note(uri)
    try:
        if path is not None and path.is_file():
            found.append((path.stat().st_mtime, path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError):
        pass
    return max(found)


def _note(uri: str) -> Path | None:
    place = places.of_launch()
    return None if place is None else place / f"away-{hashlib.sha256(uri.encode()).hexdigest()[:6]}"
