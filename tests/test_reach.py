"""Addresses of stores that are mistakes, and stores that do not answer: seconds, not minutes, and once a minute."""

import os
import socket
import sys
import threading
import time

import pytest

from neuroexp.machine import places, reach
from neuroexp.store.tracking import Store, StoreError, experiments

MISTAKES = {
    "htp://localhost:5000": "there is none of kind htp, did you mean http?",
    "sqlit:///a.db": "did you mean sqlite?",
    "postgres://me@host/runs": "did you mean postgresql?",
    "postgresql+psycopg9://me@host/runs": "Can't load plugin: sqlalchemy.dialects:postgresql.psycopg9",
    "localhost:5000": "there is none of kind localhost; valid are http://HOST:PORT",
    "http:/localhost": "it names no machine",
    "http://": "it names no machine",
    "http://host:99999": "Port out of range",
    "sqlite://outputs/mlflow.db": "SQLite's is sqlite:///FILE",
    "sqlite:///": "SQLite's is sqlite:///FILE",
    "mlruns": "it keeps no runs in a plain folder or file",
    "file:///tmp/mlruns": "it keeps no runs in a plain folder or file",
    "": "it keeps no runs in a plain folder or file",
}


@pytest.mark.parametrize("uri", MISTAKES)
def test_an_address_that_no_store_can_have_is_a_sentence_at_once(uri):
    for opening in (lambda: experiments(uri), lambda: Store(uri, "artifacts", "scratch")):
        with pytest.raises(ValueError, match="^tracking.uri=") as said:
            opening()
        assert f"tracking.uri={uri} is no address of an MLflow store: " in str(said.value)
        assert MISTAKES[uri] in str(said.value)


def test_a_launch_with_such_an_address_trains_nothing(several):
    words = ("trainer=smoke", "recording.duration_s=12", "recording.units=4")
    typed = ("tracking.uri=htp://localhost:5000", "tracking.uri=null", "tracking.uri='postgres://me@host/runs'")
    for done, word in zip(several([(*words, word) for word in typed]), typed, strict=True):
        assert done.code == 1
        assert "is no address of an MLflow store" in done.text, word
        assert "Traceback" not in done.out
        assert not list((done.folder / "outputs").rglob("best.ckpt"))


@pytest.mark.parametrize(
    "uri", ["http://host", "https://me:x@host:443/mlflow/", "sqlite:///a.db", "mysql+pymysql://a@b/c", "databricks"]
)
def test_other_addresses_are_taken(uri):
    reach.check(uri)


def test_a_password_is_not_shown():
    assert reach.shown("postgresql://me:secret@host:5432/runs") == "postgresql://me@host:5432/runs"
    with pytest.raises(ValueError, match="htp://me@host/x is no address"):
        reach.check("htp://me:secret@host/x")
    assert reach.shown("sqlite:////home/me@work/a.db") == "sqlite:////home/me@work/a.db"


def test_a_missing_driver_is_named_with_what_to_type(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    monkeypatch.setitem(sys.modules, "pymysql", None)
    uri = "postgresql+psycopg2://me:secret@localhost/runs"
    with pytest.raises(StoreError, match=r"psycopg2 is not installed: pip install 'neuroexp\[postgresql\]'$") as said:
        Store(uri, "artifacts", "scratch")
    assert "secret" not in str(said.value)
    with pytest.raises(StoreError, match="pymysql is not installed: pip install pymysql$"):
        experiments("mysql+pymysql://me@localhost/runs")


@pytest.fixture
def listening(monkeypatch, tmp_path):
    """Open a port whose server does with every connection what it is told; return its address and when it was asked."""
    monkeypatch.setattr(reach, "PROBE_S", 0.5)
    monkeypatch.setattr(reach, "_away", {})
    monkeypatch.setattr(reach, "_answered", set())
    monkeypatch.setenv(places.LAUNCH, str(tmp_path))
    opened: list[socket.socket] = []

    def listen(serve):
        server = socket.create_server(("127.0.0.1", 0))
        opened.append(server)
        asked: list[float] = []

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                opened.append(connection)
                asked.append(time.monotonic())
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return f"http://127.0.0.1:{server.getsockname()[1]}", asked

    yield listen
    for place in opened:
        place.close()


def says_nothing(connection: socket.socket) -> None:
    """As a server that was suspended."""


def drips(connection: socket.socket) -> None:
    try:
        for letter in b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000:
            connection.send(bytes([letter]))
            time.sleep(0.1)
    except OSError:
        return


def refuses(connection: socket.socket) -> None:
    connection.recv(1000)
    connection.send(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")


def answers(connection: socket.socket) -> None:
    connection.recv(1000)
    connection.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("serve", [says_nothing, drips, refuses])
def test_a_store_that_does_not_answer_is_asked_once_a_minute(listening, serve, tmp_path):
    uri, asked = listening(serve)
    began = time.monotonic()
    with pytest.raises(StoreError, match=f"the MLflow store {uri} does not answer: ") as said:
        Store(uri, "artifacts", "scratch")
    assert time.monotonic() - began < 20  # not the minutes that MLflow takes
    assert len(asked) == 1
    reach._away.clear()  # another process of the same launch
    for _ in range(20):  # its jobs
        with pytest.raises(StoreError) as again:
            Store(uri, "artifacts", "scratch")
        assert str(again.value) == str(said.value)
    assert len(asked) == 1
    [note] = tmp_path.glob("away-*")
    os.utime(note, (time.time() - 2 * reach.AWAY_S,) * 2)
    with pytest.raises(StoreError):
        experiments(uri)
    assert len(asked) == 2


def test_a_store_that_is_back_is_used_again(listening, tmp_path):
    uri, asked = listening(answers)
    reach.note(uri, "it was away")
    with pytest.raises(ConnectionError, match="it was away"):
        reach.ready(uri)
    [note] = tmp_path.glob("away-*")
    os.utime(note, (time.time() - 2 * reach.AWAY_S,) * 2)
    reach._away.clear()
    for _ in range(3):
        reach.ready(uri)
    assert len(asked) == 1
    assert not list(tmp_path.glob("away-*"))


def test_a_file_is_not_probed(tmp_path):
    began = time.monotonic()
    for _ in range(1000):
        reach.ready(f"sqlite:///{tmp_path}/none.db")
    assert time.monotonic() - began < 5
