"""Answers of servers that may be slow, endless or gone: they are taken piece by piece, and end in one sentence."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

TIMEOUT_S = (20, 60)  # to connect, and between two signs of life
PACE_S, PACE = 60.0, 60_000  # so many bytes must come in so many seconds
PIECE = 1 << 16  # bytes


def get(session: requests.Session, address: str, headers: dict[str, str] | None = None) -> requests.Response:
    """Return the answer of an address, not read yet; raises RuntimeError with one sentence when there is none.

    It is asked for uncompressed: a compressed answer could not be continued, and might be endless.
    """
    headers = {"Accept-Encoding": "identity"} | (headers or {})
    with connection(address, "is this machine offline?"):
        return session.get(address, headers=headers, stream=True, timeout=TIMEOUT_S)


def pieces(answer: requests.Response, decoded: bool = False) -> Iterator[bytes]:
    """Yield an answer as it comes; raises requests' Timeout when it comes so slowly that it would never end."""
    began, came = time.monotonic(), 0
    while piece := answer.raw.read1(PIECE, decode_content=decoded):
        yield piece
        came += len(piece)
        if (took := time.monotonic() - began) > PACE_S:
            if came < PACE * took / PACE_S:
                raise requests.Timeout(f"{came} bytes in {took:.0f} s", request=answer.request)
            began, came = time.monotonic(), 0


@contextmanager
def connection(address: str, advice: str) -> Iterator[None]:
    """Turn what fails on the way to a server into a RuntimeError with one sentence; errors of the disk pass."""
    try:
        yield
    except requests.exceptions.InvalidSchema as error:
        raise RuntimeError(f"{urlsplit(address).netloc} leads elsewhere than to the web: {error}") from error
    except (requests.RequestException, HTTPError) as error:
        request = getattr(error, "request", None)  # a redirect leads to other servers
        host = urlsplit(str(getattr(request, "url", None) or address)).netloc
        raise RuntimeError(f"the connection to {host} failed ({type(error).__name__}): {advice}") from error
