"""The downloader of Dataverse datasets, against a real server on this machine that can be as unkind as the real ones."""

import gzip
import hashlib
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroexp.commands.fetch import main
from neuroexp.machine.web import PIECE

DOI = "doi:10.5072/FK2/RATS"
CITATION = 'A. Rat, 2024, "Nerves", https://doi.org/10.5072/FK2/RATS, Nowhere Dataverse, V1'


def content(seed: int, n_bytes: int = 100_000) -> bytes:
    return np.random.default_rng(seed).bytes(n_bytes)


@dataclass
class Dataverse:
    """What the server holds and how it behaves."""

    files: dict[str, bytes] = field(
        default_factory=lambda: {
            "Rat4/Dorsiflexion/a 1.rhd": content(1),
            "Rat4/Pricking/b.rhd": content(2, 2_500_000),
            "Rat5/c.rhd": content(3),
            "README.txt": b"rats",
            "empty.txt": b"",
        }
    )
    changes: dict[str, dict] = field(default_factory=dict)  # of what is said of a file, by its path
    served: dict[str, bytes] = field(default_factory=dict)  # other bytes than those it is said to hold, by path
    algorithm: str | None = "MD5"
    ranges: bool = True
    trickles_s: float = 0  # between single bytes of a list or file
    squeezes: bool = False  # the list, though nobody asked for it
    endless: bool = False  # the next file
    lengths: bool = True
    breaks_after: int | None = None  # bytes of the next file
    stalls: threading.Event | None = None  # before the end of a file, until it is set
    status: int = 200  # of the files
    listing: tuple[int, str] | None = None  # instead of the real one
    redirect: str = "/dataset.xhtml?persistentId=" + DOI
    asked: list[tuple[str, str | None]] = field(default_factory=list)  # files, with the range
    url: str = ""

    def list(self) -> tuple[int, str]:
        """Return the status and body of the list of files."""
        listed = []
        for number, (path, raw) in enumerate(self.files.items()):
            folder, _, name = path.rpartition("/")
            data = {"id": number, "filename": name, "filesize": len(raw), "contentType": "application/octet-stream"}
            if self.algorithm == "MD5":
                data["md5"] = hashlib.md5(raw).hexdigest()
            if self.algorithm:
                digest = hashlib.new(self.algorithm.replace("-", ""), raw).hexdigest()
                data["checksum"] = {"type": self.algorithm, "value": digest}
            entry = {"label": name, "restricted": False, "dataFile": data} | (
                {"directoryLabel": folder} if folder else {}
            )
            change = self.changes.get(path, {})
            entry |= change | {"dataFile": data | change.get("dataFile", {})}
            listed.append(entry)
        data = {"id": 1, "latestVersion": {"versionNumber": 1, "files": listed, "citation": CITATION}}
        return 200, json.dumps({"status": "OK", "data": data})


class Handler(BaseHTTPRequestHandler):
    """The resolver, the dataset's page, the list of files and the files, all on one server."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        held = self.server.held
        place = urlsplit(self.path)
        if place.path == "/10.5072/FK2/RATS":
            self.send_response(302)
            self.send_header("Location", held.redirect)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif place.path == "/dataset.xhtml":
            self.answer(403, b"<html>wait</html>")  # as firewalls greet programs
        elif place.path == "/api/datasets/:persistentId/":
            assert parse_qs(place.query)["persistentId"] == [DOI]
            status, body = held.listing or held.list()
            self.answer(status, body.encode(), held.trickles_s, held.squeezes)
        elif place.path.startswith("/api/access/datafile/"):
            self.file(list(held.files)[int(place.path.rpartition("/")[2])], place.query)
        else:
            self.answer(404, b"<html>no</html>")

    def answer(self, status: int, body: bytes, trickles_s: float = 0, squeezes: bool = False) -> None:
        self.send_response(status)
        if squeezes:
            body = gzip.compress(body, 1)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for byte in body if trickles_s else ():
            self.wfile.write(bytes([byte]))
            time.sleep(trickles_s)
        if not trickles_s:
            self.wfile.write(body)

    def file(self, path: str, query: str) -> None:
        held = self.server.held
        held.asked.append((path + (f"?{query}" if query else ""), self.headers["Range"]))
        raw = held.served.get(path, held.files[path])
        if held.status != 200:
            self.answer(held.status, b"<html>no</html>")
            return
        first = int(re.fullmatch(r"bytes=(\d+)-", self.headers["Range"])[1]) if self.headers["Range"] else 0
        self.send_response(206 if first and held.ranges else 200)
        if first and held.ranges:
            self.send_header("Content-Range", f"bytes {first}-{len(raw) - 1}/{len(raw)}")
            raw = raw[first:]
        if held.lengths and not held.endless:
            self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.close_connection = not held.lengths or held.endless
        while held.endless:  # until the other side has had enough
            self.wfile.write(bytes(PIECE))
        if held.breaks_after is not None and held.breaks_after < len(raw):
            self.wfile.write(raw[: held.breaks_after])
            held.breaks_after = None
            self.close_connection = True
        elif held.stalls is not None:
            self.wfile.write(raw[:-1])
            held.stalls.wait(30)
            self.close_connection = True
        else:
            self.wfile.write(raw)


class Server(ThreadingHTTPServer):
    held: Dataverse

    def handle_error(self, *_: object) -> None:
        """Say nothing when a client goes away, as one does that was stopped."""


@pytest.fixture(scope="module")
def server():
    with Server(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def fresh(server: Server) -> Dataverse:
    server.held = Dataverse(url=f"http://127.0.0.1:{server.server_address[1]}")
    return server.held


@pytest.fixture
def dataverse(server, monkeypatch) -> Dataverse:
    """A server as it should be."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return fresh(server)


def download(dataverse: Dataverse, folder: Path, *words: str) -> None:
    main([DOI, str(folder), *words], resolver=dataverse.url)


def fails(dataverse: Dataverse, folder: Path, says: str, *words: str) -> None:
    with pytest.raises(SystemExit, match=f"^fetch: .*{says}") as caught:
        download(dataverse, folder, *words)
    assert "\n" not in str(caught.value)


def there(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_everything_comes_in_its_folders_and_only_once(dataverse, tmp_path, capsys):
    download(dataverse, tmp_path / "data")
    assert there(tmp_path / "data") == dataverse.files
    out = capsys.readouterr().out
    assert "5 files, 2,700,004 bytes, in " in out
    assert "(5 downloaded now)" in out
    assert f"Please cite: {CITATION}" in out
    dataverse.asked.clear()
    download(dataverse, tmp_path / "data")
    assert dataverse.asked == []
    assert "(0 downloaded now)" in capsys.readouterr().out


def test_what_is_missing_is_brought(dataverse, tmp_path):
    download(dataverse, tmp_path)
    (tmp_path / "Rat5" / "c.rhd").unlink()
    dataverse.asked.clear()
    download(dataverse, tmp_path)
    assert dataverse.asked == [("Rat5/c.rhd", None)]
    assert there(tmp_path) == dataverse.files


def test_only_some(dataverse, tmp_path):
    download(dataverse, tmp_path, "--only", "Rat4/*")
    assert sorted(there(tmp_path)) == ["Rat4/Dorsiflexion/a 1.rhd", "Rat4/Pricking/b.rhd"]
    fails(
        dataverse, tmp_path, r"--only 'Rat14/\*' matches none of 5 files \(some are: Rat4/Dorsif.*", "--only", "Rat14/*"
    )


def test_list_brings_nothing(dataverse, tmp_path, capsys):
    dataverse.changes["README.txt"] = {"restricted": True}
    download(dataverse, tmp_path / "data", "--list", "--only", "R*")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1) for line in lines] == [
        ["100,000", "Rat4/Dorsiflexion/a 1.rhd"],
        ["2,500,000", "Rat4/Pricking/b.rhd"],
        ["100,000", "Rat5/c.rhd"],
        ["4", "README.txt (restricted)"],
    ]
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("doi", ["10.5072/FK2/RATS", "https://doi.org/10.5072/FK2/RATS", DOI])
def test_spellings_of_a_doi_and_the_folder_of_the_environment(doi, dataverse, tmp_path, monkeypatch):
    monkeypatch.setenv("NEUROEXP_DATA", str(tmp_path / "there"))
    main([doi, "--only", "README.txt"], resolver=dataverse.url)
    assert there(tmp_path / "there") == {"README.txt": b"rats"}


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-1", "SHA-256", "SHA-512"])
def test_content_that_was_changed_on_the_way_is_not_kept(algorithm, dataverse, tmp_path):
    dataverse.algorithm = algorithm
    dataverse.served["Rat5/c.rhd"] = content(4)
    fails(dataverse, tmp_path, "Rat5/c.rhd came with a wrong size or checksum and was removed")
    assert "Rat5/c.rhd" not in there(tmp_path)
    assert not list(tmp_path.rglob("*.part"))
    dataverse.served.clear()
    download(dataverse, tmp_path)
    assert there(tmp_path) == dataverse.files


@pytest.mark.parametrize("checksum", [None, {"type": "CRC-7", "value": "12"}, {"type": "SHAKE-128", "value": "12"}])
def test_without_a_checksum_that_is_known_the_size_decides(checksum, dataverse, tmp_path):
    dataverse.algorithm = None
    if checksum:
        dataverse.changes["Rat5/c.rhd"] = {"dataFile": {"checksum": checksum}}
    dataverse.served["Rat5/c.rhd"] = content(4, 100_001)
    fails(dataverse, tmp_path, "Rat5/c.rhd came with a wrong size", "--only", "Rat5/*")
    dataverse.served.clear()
    download(dataverse, tmp_path, "--only", "Rat5/*")
    assert there(tmp_path) == {"Rat5/c.rhd": content(3)}


def test_table_that_the_server_converted_comes_as_it_was_uploaded(dataverse, tmp_path):
    dataverse.files["tables/x.tab"] = b"a,b\n1,2\n"
    original = {"originalFileFormat": "text/csv", "originalFileSize": 8, "originalFileName": "x.csv", "filesize": 99}
    dataverse.changes["tables/x.tab"] = {"dataFile": original}
    download(dataverse, tmp_path, "--only", "tables/*")
    assert there(tmp_path) == {"tables/x.csv": b"a,b\n1,2\n"}
    assert dataverse.asked == [("tables/x.tab?format=original", None)]


# ---- going on after an interruption -------------------------------------------------------------------------------------

LONG = ("--only", "Rat4/Pricking/*")
LONG_PATH = "Rat4/Pricking/b.rhd"


@pytest.mark.parametrize("lengths", [True, False])
@pytest.mark.parametrize("after", [0, 1, 1_700_000])
def test_broken_connection_goes_on_where_it_stopped(after, lengths, dataverse, tmp_path):
    dataverse.breaks_after, dataverse.lengths = after, lengths
    fails(dataverse, tmp_path, "the same command goes on from where it stopped", *LONG)
    part = there(tmp_path)[f"{LONG_PATH}.part"]
    assert part == content(2, 2_500_000)[: len(part)]
    assert after - PIECE < len(part) <= after
    download(dataverse, tmp_path, *LONG)
    assert dataverse.asked[1:] == [(LONG_PATH, f"bytes={len(part)}-" if part else None)]
    assert there(tmp_path) == {LONG_PATH: content(2, 2_500_000)}


def test_server_without_ranges_starts_over(dataverse, tmp_path):
    dataverse.breaks_after, dataverse.ranges = 1_000_000, False
    fails(dataverse, tmp_path, "goes on", *LONG)
    download(dataverse, tmp_path, *LONG)
    assert there(tmp_path) == {LONG_PATH: content(2, 2_500_000)}


@settings(max_examples=40, deadline=None)
@given(have=st.integers(0, 110_000), ranges=st.booleans(), foreign=st.booleans())
def test_any_part_leads_to_the_whole_file_at_the_latest_the_second_time(
    have, ranges, foreign, server, tmp_path_factory
):
    dataverse, folder = fresh(server), tmp_path_factory.mktemp("part")
    dataverse.ranges = ranges
    (folder / "Rat5").mkdir()
    (folder / "Rat5" / "c.rhd.part").write_bytes((content(9) if foreign else content(3) + bytes(10_000))[:have])
    try:
        download(dataverse, folder, "--only", "Rat5/*")
    except SystemExit as error:
        assert "Rat5/c.rhd came with a wrong size or checksum and was removed" in str(error)  # noqa: PT017
        assert foreign or have > 100_000
        assert there(folder) == {}
        download(dataverse, folder, "--only", "Rat5/*")
    assert there(folder) == {"Rat5/c.rhd": content(3)}


def test_server_without_ranges_never_costs_what_has_come(dataverse, tmp_path):
    dataverse.ranges = False
    said = "the same command has this server begin the file anew, and keeps what is there until more has come"
    for after, kept in ((1_700_000, 1_700_000), (300_000, 1_700_000), (2_000_000, 2_000_000)):
        dataverse.breaks_after = after
        fails(dataverse, tmp_path, "the same command" if kept == after else said, *LONG)
        part = there(tmp_path)[f"{LONG_PATH}.part"]
        assert part == content(2, 2_500_000)[: len(part)]
        assert kept - PIECE < len(part) <= kept
    download(dataverse, tmp_path, *LONG)
    assert there(tmp_path) == {LONG_PATH: content(2, 2_500_000)}


# ---- servers that mean no good ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["Rat5/c.rhd", "empty.txt"])
def test_no_more_is_taken_than_was_declared(path, dataverse, tmp_path):
    dataverse.endless = True
    fails(dataverse, tmp_path, f"{path} came with a wrong size or checksum and was removed", "--only", path)
    assert there(tmp_path) == {}


@pytest.mark.parametrize("squeezes", [False, True])
def test_list_that_is_too_long_is_not_taken(squeezes, dataverse, tmp_path, monkeypatch):
    monkeypatch.setattr("neuroexp.downloads.dataverse.LISTING", 5_000_000)
    dataverse.squeezes = squeezes
    dataverse.listing = (200, " " * 50_000_000)
    fails(dataverse, tmp_path, r"lists more than 5 MB of files for doi:10\.5072/FK2/RATS, which is none")
    dataverse.listing = None
    download(dataverse, tmp_path, "--only", "Rat5/*")


@pytest.mark.parametrize("what", ["list", "file"])
def test_answer_that_trickles_is_given_up(what, dataverse, tmp_path, monkeypatch):
    monkeypatch.setattr("neuroexp.machine.web.PACE_S", 0.5)
    dataverse.trickles_s = 0.02
    if what == "file":
        dataverse.trickles_s, dataverse.files["README.txt"] = 0, b"r" * 10_000
        monkeypatch.setattr(Handler, "file", lambda self, path, _: self.answer(200, bytes(10_000), 0.02))
    fails(dataverse, tmp_path, r"the connection to 127\.0\.0\.1:\d+ failed \(Timeout\)", "--only", "README.txt")


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://[broken", "gopher://x/"])
def test_redirect_that_leaves_the_web(address, dataverse, tmp_path):
    dataverse.redirect = address
    fails(dataverse, tmp_path, ".")
    assert there(tmp_path) == {}


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "body",
    [
        DEEP,
        '{"data": {"latestVersion": {"files": ' + DEEP,
        '{"data": {"latestVersion": {"files": [{"dataFile": {"id": 1e999, "filesize": 1, "filename": "x"}}]}}}',
        '{"data": {"latestVersion": {"files": [{"dataFile": {"id": 1, "filesize": "many", "filename": "x"}}]}}}',
        '{"data": {"latestVersion": {"files": [{"dataFile": {"id": 1, "filesize": 1, "filename": 5, "checksum": [3]}}]}}}',
        '{"data": {"latestVersion": {"files": [{"dataFile": {"id": ' + "9" * 10_000 + "}}]}}}",
        '{"data": {"latestVersion": {"files": {"a": 1}}}}',
        '{"data": []}',
    ],
)
def test_list_that_is_json_and_nonsense(body, dataverse, tmp_path):
    dataverse.listing = (200, body)
    fails(dataverse, tmp_path, "does not answer as a Dataverse server")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"dataFile": {"filesize": -1}}, "says that README.txt has -1 bytes"),
        ({"label": "a\x1b]0;title\x07"}, r"'a\\x1b\]0;title\\x07', with characters that belong in no name"),
        ({"label": "a\nb"}, r"'a\\nb', with characters that belong in no name"),
        ({"label": "\ud800"}, r"'\\ud800', with characters that belong in no name"),
        ({"label": "Rat5"}, "names a file 'Rat5' in the way of another"),
        ({"label": "c.rhd.part", "directoryLabel": "Rat5"}, "names a file 'Rat5/c.rhd' in the way of another"),
    ],
)
def test_file_that_cannot_be(change, says, dataverse, tmp_path):
    dataverse.changes["README.txt"] = change
    fails(dataverse, tmp_path, says)


def test_what_a_server_says_commands_no_terminal(dataverse, tmp_path, capsys):
    evil = "\u202egnp\u200b"
    dataverse.changes["README.txt"] = {"label": evil}
    status, body = dataverse.list()
    dataverse.listing = (status, body.replace("Nowhere", "No\\u001b[2Jwhere\\u009b"))
    download(dataverse, tmp_path, "--only", "*gnp*")
    assert there(tmp_path) == {evil: b"rats"}
    download(dataverse, tmp_path, "--list")
    out = capsys.readouterr().out
    assert r"\u202egnp\u200b" in out
    assert r"No\x1b[2Jwhere\x9b" in out
    assert all(character.isprintable() or character == "\n" for character in out)
    dataverse.listing = (404, json.dumps({"message": "no\x1b[31m such"}))
    fails(dataverse, tmp_path, r"\(no\\x1b\[31m such\)")


PROGRAM = "import sys; from neuroexp.commands.fetch import main; main(sys.argv[2:], resolver=sys.argv[1])"


@pytest.mark.process
def test_ctrl_c_is_one_sentence_and_the_same_command_goes_on(dataverse, tmp_path):
    dataverse.stalls = threading.Event()
    words = [sys.executable, "-c", PROGRAM, dataverse.url, DOI, str(tmp_path), *LONG]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        part, began = tmp_path / f"{LONG_PATH}.part", time.monotonic()
        while not (part.exists() and part.stat().st_size) and time.monotonic() < began + 60:
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=60)
    dataverse.stalls.set()
    assert errors.splitlines() == ["fetch: stopped; the same command goes on from where it stopped"]
    assert running.returncode == 1
    dataverse.stalls = None
    download(dataverse, tmp_path, *LONG)
    assert int(dataverse.asked[-1][1].removeprefix("bytes=").removesuffix("-")) > 0
    assert there(tmp_path) == {LONG_PATH: content(2, 2_500_000)}


# ---- what cannot be brought ---------------------------------------------------------------------------------------------


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def test_offline(dataverse, tmp_path):
    port = closed_port()
    dataverse.redirect = f"http://127.0.0.1:{port}/dataset.xhtml"
    fails(
        dataverse, tmp_path, rf"connection to 127\.0\.0\.1:{port} failed \(ConnectionError\): is this machine offline\?"
    )
    dataverse.url = f"http://127.0.0.1:{port}"
    fails(dataverse, tmp_path, rf"connection to 127\.0\.0\.1:{port} failed")
    assert there(tmp_path) == {}


def test_unknown_doi(dataverse, tmp_path):
    with pytest.raises(SystemExit, match=r"does not know doi:10\.5072/FK2/MICE \(it answered 404\)"):
        main(["doi:10.5072/FK2/MICE", str(tmp_path)], resolver=dataverse.url)
    with pytest.raises(SystemExit, match="fetch: RATS is no DOI, such as doi:"):
        main(["RATS", str(tmp_path)], resolver=dataverse.url)
    dataverse.listing = (404, json.dumps({"status": "ERROR", "message": "Dataset with Persistent ID not found."}))
    fails(dataverse, tmp_path, r"does not give out doi:.* \(Dataset with Persistent ID not found\.\)")


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize(
    "body", ["<html>hello</html>", "[]", "{}", '{"data": {"latestVersion": {"files": [1]}}}', "null"]
)
def test_host_that_is_no_dataverse(status, body, dataverse, tmp_path):
    dataverse.listing = (status, body)
    fails(dataverse, tmp_path, r"lies at http://127\.0\.0\.1:\d+, which does not answer as a Dataverse server")


def test_restricted_file_is_told_after_the_others_came(dataverse, tmp_path):
    dataverse.changes["Rat5/c.rhd"] = {"restricted": True}
    fails(dataverse, tmp_path, r"Rat5/c\.rhd \(1 in all\) is restricted: ask for access at http")
    assert there(tmp_path) == {path: raw for path, raw in dataverse.files.items() if path != "Rat5/c.rhd"}


@pytest.mark.parametrize(
    ("status", "says"), [(403, "restricted or under embargo"), (503, "answered 503 for Rat4/Dorsi")]
)
def test_file_that_the_server_does_not_give(status, says, dataverse, tmp_path):
    dataverse.status = status
    fails(dataverse, tmp_path, says)
    assert there(tmp_path) == {}


@pytest.mark.parametrize(
    "change",
    [
        {"directoryLabel": ".."},
        {"directoryLabel": "a/../../b"},
        {"directoryLabel": "/etc"},
        {"directoryLabel": "a//b"},
        {"label": "../evil"},
        {"label": "/evil"},
        {"label": ".."},
        {"label": "a\\..\\b"},
        {"label": "C:evil"},
        {"dataFile": {"originalFileFormat": "x", "originalFileName": "../evil", "originalFileSize": 4}},
    ],
)
def test_path_that_leaves_the_folder(change, dataverse, tmp_path):
    dataverse.changes["README.txt"] = change
    fails(dataverse, tmp_path / "data", "which would not lie inside the folder", "--only", "*.rhd")
    assert there(tmp_path) == {}


def test_one_name_for_two_files(dataverse, tmp_path):
    dataverse.changes["empty.txt"] = {"label": "README.txt"}
    fails(dataverse, tmp_path, "names more than one file 'README.txt'")


def test_another_file_of_that_name_is_left_alone(dataverse, tmp_path):
    (tmp_path / "Rat5").mkdir()
    for other in (b"my own", content(4)):
        (tmp_path / "Rat5" / "c.rhd").write_bytes(other)
        fails(dataverse, tmp_path, r"c\.rhd is there but is not the dataset's; move it away", "--only", "Rat5/*")
        assert there(tmp_path) == {"Rat5/c.rhd": other}


def test_folder_that_cannot_be(dataverse, tmp_path):
    (tmp_path / "file").touch()
    fails(dataverse, tmp_path / "file", "file: File exists; the same command goes on")
    fails(dataverse, tmp_path / "file" / "data", "Not a directory")


def test_no_room(dataverse, tmp_path):
    dataverse.changes["Rat5/c.rhd"] = {"dataFile": {"filesize": 1 << 60}}
    fails(dataverse, tmp_path, r"MB free, the files need 1,152,921,504,\d+\.\d; bring some with --only")
    assert there(tmp_path) == {}


@pytest.mark.process
def test_disk_that_refuses_is_one_sentence_and_the_same_command_goes_on(dataverse, tmp_path):
    command = ["bash", "-c", 'ulimit -f 1000; exec "$@"', "-", sys.executable, "-c", PROGRAM]
    done = subprocess.run(
        [*command, dataverse.url, DOI, str(tmp_path), *LONG], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"fetch: {tmp_path}: File too large; the same command goes on")
    assert len(done.stderr.splitlines()) == 1
    download(dataverse, tmp_path, *LONG)
    assert dataverse.asked[-1][1] not in (None, "bytes=0-")
    assert there(tmp_path) == {LONG_PATH: content(2, 2_500_000)}


@pytest.mark.process
def test_command_names_its_options():
    done = subprocess.run(
        [sys.executable, "-m", "neuroexp", "fetch", "--help"], capture_output=True, text=True, check=True
    )
    assert all(word in done.stdout for word in ("--only", "--list", "[FOLDER]"))
