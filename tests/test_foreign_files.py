"""Files that lie, crash their parser, never end or are no files: each ends as a recording or as one plain sentence."""

import contextlib
import contextvars
import multiprocessing
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.sparse
from conftest import cell, write_demuse, write_otb
from hypothesis import given, settings
from hypothesis import strategies as st
from test_eng_readers import FIRST, drawn, write_rat, write_rhd, write_signatures

from benchmarks import fuzz, mutations
from neuroexp.data.recording import Recording
from neuroexp.machine import foreign, memory
from neuroexp.matlab import matfile, parser
from neuroexp.recordings import demuse, hdsemg_simulated, intan, otb, signatures
from neuroexp.terminal.shown import plain

pytestmark = pytest.mark.usefixtures("one_parser")  # but for tests of the process itself
EVIL = "\x1b[2Jred\x07\u202etxt\n\u200b\x9b"  # clears a terminal, rings, turns the direction, breaks the line


@pytest.fixture(scope="module")
def short() -> Recording:
    return hdsemg_simulated.read(duration_s=2, units=2)


@pytest.fixture
def kept():
    """One process for all files of a test."""
    with parser.kept() as process:
        yield process


def refusal(read, *words, **how) -> str:
    """Return the sentence with which a file is refused: one line, of bounded length, without control characters."""
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        read(*words, **how)
    said = str(caught.value)
    assert type(caught.value) in {ValueError, FileNotFoundError}
    assert said.isprintable()
    assert len(said) < 900
    return said


# ---- paths --------------------------------------------------------------------------------------------------------------

READERS = {"demuse": demuse.read, "otb": otb.read, "signatures": signatures.read}


def no_files(folder: Path) -> dict[str, str]:
    """Make what is no file; return path -> what is said of it."""
    (folder / "folder.mat").mkdir()
    os.mkfifo(folder / "pipe.mat")
    (folder / "loop.mat").symlink_to(folder / "loop.mat")
    (folder / "dangling.mat").symlink_to(folder / "nowhere")
    (folder / "empty.mat").touch()
    (folder / "plain").touch()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(folder / "socket.mat"))
    with (folder / "huge.mat").open("wb") as file:
        file.truncate(1 << 43)
    return {
        "folder.mat": "is a folder, not a file",
        "pipe.mat": "is a named pipe, not a file",
        "socket.mat": "is a socket, not a file",
        "loop.mat": "is a link that leads back to itself",
        "dangling.mat": "is a link to what is not there",
        "gone.mat": "is not there",
        "plain/a.mat": "is not there",
        "empty.mat": "is empty (0 bytes)",
        "huge.mat": "than this machine's memory",
        f"{'long' * 90}.mat": "is too long a name for a file",
        "nul\0.mat": "is no name of a file",
        "/dev/zero": "is a device, not a file",
        "~nobody-of-that-name/a.mat": "is no name of a file",
    }


@pytest.mark.parametrize("name", READERS)
def test_what_is_no_file_is_said_at_once(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    for path, says in no_files(tmp_path).items():
        full = path if path[0] in "/~" else str(tmp_path / path)
        said = refusal(READERS[name], full)
        assert says in said, path
        assert path[-8:] in said or "\0" in path, path


@contextlib.contextmanager
def unprivileged():
    """Be nobody for a moment: root may read everything."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_what_may_not_be_read_is_said(short):
    pytest.importorskip("neo.rawio.intanrawio")  # while it can be
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        Path(name).chmod(0o755)
        path = write_demuse(Path(name, "a.mat"), short)
        rat = write_rat(Path(name, "Rat4"))
        path.chmod(0)
        (rat / FIRST).chmod(0)
        with unprivileged():
            assert "a.mat may not be read: permission denied" in refusal(demuse.read, str(path))
            assert "Do_0.rhd may not be read: permission denied" in refusal(intan.read, str(rat))
        (rat / FIRST).chmod(0o644)
        (rat / "Pricking").chmod(0)
        with unprivileged():
            assert "Pricking cannot be read: Permission denied" in refusal(intan.read, str(rat))
        (rat / "Pricking").chmod(0o755)
        Path(name).chmod(0)
        with unprivileged():
            assert "a.mat may not be read: permission denied" in refusal(demuse.read, str(path))
            assert "Rat4 cannot be read: Permission denied" in refusal(intan.read, str(rat))
        Path(name).chmod(0o755)


def test_in_a_rat_only_files_are_opened(tmp_path):
    rat = write_rat(tmp_path / "Rat4")
    (rat / FIRST).unlink()
    os.mkfifo(rat / FIRST)
    assert "Do_0.rhd is a named pipe, not a file" in refusal(intan.read, str(rat))
    (rat / FIRST).unlink()
    (rat / FIRST).symlink_to("/dev/zero")
    assert "Do_0.rhd is a device, not a file" in refusal(intan.read, str(rat))
    (rat / FIRST).unlink()
    (rat / FIRST).symlink_to(rat / FIRST)
    assert "Do_0.rhd is a link that leads back to itself" in refusal(intan.read, str(rat))
    for path, says in (
        ("/dev/zero", "is a file"),
        ("a\0b", "is no name"),
        ("x" * 5000, "cannot be read: File name too long"),
    ):
        assert says in refusal(intan.read, path)


# ---- the process that parses --------------------------------------------------------------------------------------------

NUMBERS = st.sampled_from([np.int8, np.uint16, np.int32, np.uint64, np.float32, np.float64, np.complex128])
TEXTS = st.text(st.characters(min_codepoint=33, max_codepoint=0xD000), min_size=1, max_size=9)


@st.composite
def arrays(draw):
    shape = draw(st.lists(st.integers(0, 4), min_size=2, max_size=3))
    values = np.random.default_rng(draw(st.integers(0, 99))).normal(size=shape) * 50
    with np.errstate(invalid="ignore"):
        return np.abs(values).astype(draw(NUMBERS))


@settings(max_examples=60)
@given(data=st.data(), packed=st.booleans())
def test_what_is_parsed_elsewhere_comes_back_as_it_was(data, packed, tmp_path_factory):
    values = st.recursive(
        st.one_of(arrays(), TEXTS),
        lambda inner: st.lists(inner, min_size=1, max_size=4).map(lambda found: cell(*found)),
        max_leaves=8,
    )
    contents = data.draw(st.dictionaries(st.sampled_from("abcdef"), values, max_size=4))
    path = tmp_path_factory.mktemp("parsed") / "a.mat"
    scipy.io.savemat(path, contents, do_compression=packed)
    with parser.started() as process:
        names, found = process.parse(path, "a", [*contents, "absent"])
    assert sorted(names) == sorted(contents)
    for name, value in contents.items():
        same(found[name], value)


def same(found, value) -> None:
    if isinstance(value, str):
        assert found == parser.Text((value,))
    elif value.dtype == object:
        assert found.shape == value.shape
        for one, other in zip(found.ravel(), value.ravel(), strict=True):
            same(one, other)
    else:
        assert found.dtype == value.dtype or value.size == 0
        assert np.array_equal(found, value)


def classes(raw: bytes) -> list[int]:
    """Return where the classes of all arrays of a MATLAB file stand."""
    return [
        data
        for _, kind, data, end in mutations.elements(bytearray(raw), 128, len(raw))
        if kind == 6 and end - data == 8
    ]


def test_a_file_that_crashes_its_parser_is_a_sentence(kept, tmp_path, short):
    path = write_demuse(tmp_path / "a.mat", short)
    raw = path.read_bytes()
    assert raw[144] == 1
    path.write_bytes(raw[:144] + b"\x05" + raw[145:])  # a cell array becomes sparse
    assert "'SIG' is no cell array with one signal per electrode" in refusal(demuse.read, str(path))
    place = classes(raw)[2]  # of an array inside of it: SciPy writes where nothing is
    path.write_bytes(raw[:place] + b"\x05" + raw[place + 1 :])
    said = refusal(demuse.read, str(path))
    assert re.search(r"a\.mat is damaged: the process that parses it ends over it \(SIG[A-Z]+\)", said)
    assert kept.process is None
    path.write_bytes(raw)
    assert demuse.read(str(path)).signal.shape == short.signal.shape  # and the next file has a new one


def bomb(path: Path, megabytes: int) -> Path:
    """Write a table of zeros, as compressed as can be."""
    size = megabytes << 20
    head = struct.pack("<4I", 6, 8, 6, 0) + struct.pack("<4I", 5, 8, size // 8, 1) + struct.pack("<2H4s", 1, 4, b"Data")
    packer = zlib.compressobj(wbits=-15)
    packed = b"\x78\x9c" + packer.compress(
        struct.pack("<2I", 14, len(head) + 8 + size) + head + struct.pack("<2I", 9, size)
    )
    packed += packer.flush(zlib.Z_FULL_FLUSH)
    packed += (packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)) * megabytes  # each stands for itself
    scipy.io.savemat(path, {"Description": cell("x"), "SamplingFrequency": 2048.0})
    path.write_bytes(path.read_bytes() + struct.pack("<2I", 15, len(packed)) + packed)
    return path


def long_text(path: Path, letters: int) -> Path:
    """Write a text of no bytes that claims to have letters, for which SciPy makes room."""
    scipy.io.savemat(path, {"Data": np.ones((9, 2)), "SamplingFrequency": 2048.0, "Description": "x" * 8})
    raw = bytearray(path.read_bytes())
    place = raw.index(b"Description") - 12  # the second of its dimensions
    assert raw[place] == 8
    raw[place : place + 4] = struct.pack("<I", letters)
    tag = place + 4 + 8 + 16
    assert struct.unpack_from("<2I", raw, tag) == (16, 8)
    raw[tag + 4 : tag + 16] = bytes(12)
    path.write_bytes(raw)
    return path


def peak_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0]) / 1e3


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_a_file_that_takes_memory_is_stopped(kept, tmp_path):
    for path in (bomb(tmp_path / "bomb.mat", 700), long_text(tmp_path / "text.mat", 1 << 30)):
        assert path.stat().st_size < 1e6
        said = refusal(otb.read, str(path))
        assert f"{path.name} takes more than 0." in said
        assert "save(..., '-v6')" in said
        assert peak_mb(kept.process.pid) < parser.BYTES / 1e6 + 200


def endless(path: Path) -> Path:
    """Write a file of version 4 whose only variable ends where it begins: SciPy looks at it for ever."""
    path.write_bytes(struct.pack("<5i", 10, -5, 1, 0, 0) + bytes(100))  # -5 numbers of 4 bytes: 20 back
    return path


def test_a_file_that_never_ends_is_stopped(kept, tmp_path, monkeypatch):
    monkeypatch.setattr(parser, "SECONDS", 1.0)
    said = refusal(demuse.read, str(endless(tmp_path / "a.mat")))
    assert "a.mat is damaged: it is not parsed within 1 s, which is plenty for 120 bytes" in said


CTRL_C = "import sys; from neuroexp.recordings import demuse; print(flush=True); demuse.read(sys.argv[1])"


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_a_parser_after_its_reader(number, tmp_path):
    path = endless(tmp_path / "a.mat")
    command = [sys.executable, "-c", CTRL_C, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as reader:
        reader.stdout.readline()
        found: list[int] = []
        deadline = time.monotonic() + 60
        while not found and time.monotonic() < deadline:
            found = children(reader.pid)
            time.sleep(0.01)
        assert found
        reader.send_signal(number)
        reader.communicate(timeout=60)
    deadline = time.monotonic() + 60  # the one whose reader was killed ends when its time is over
    while Path(f"/proc/{found[0]}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{found[0]}").exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.mat"]


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_a_parser_ends_with_its_file(tmp_path, short):
    path = write_demuse(tmp_path / "a.mat", short)
    before = children(os.getpid())
    alone = contextvars.Context()  # in which none is kept
    assert alone.run(demuse.read, str(path)).signal.shape == short.signal.shape
    path.write_bytes(path.read_bytes()[:-100])
    assert "is not a whole MATLAB file" in alone.run(refusal, demuse.read, str(path))
    assert children(os.getpid()) == before


def test_files_are_parsed_in_daemonic_processes_too(tmp_path, short):
    """As the jobs of a launch are: such a process may have no children of multiprocessing."""
    path = write_demuse(tmp_path / "a.mat", short)
    codes = []
    for file in (path, tmp_path / "gone.mat"):
        process = multiprocessing.get_context("spawn").Process(target=demuse.read, args=(str(file),), daemon=True)
        process.start()
        process.join()
        codes.append(process.exitcode)
    assert codes == [0, 1]


def test_memory_is_watched_where_the_system_keeps_no_limit():
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[1]); import matparse; import threading; "
        "threading.Thread(target=matparse.watch, args=(50 << 20,), daemon=True).start(); time.sleep(0.3); "
        "kept = [bytes([1]) * (1 << 20) for _ in range(int(sys.argv[2]))]; time.sleep(0.5)"
    )
    # forked by a shell: Linux counts the memory of who has started a program as the program's
    line = ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", code, str(parser.PROGRAM.parent)]
    assert subprocess.run([*line, "10"], check=False).returncode == 0
    assert subprocess.run([*line, "100"], check=False).returncode == parser.OUT_OF_MEMORY


def test_a_parser_that_does_not_start_is_no_fault_of_the_file(tmp_path, short, monkeypatch):
    path = write_demuse(tmp_path / "a.mat", short)
    program = tmp_path / "program.py"
    for text, why in (
        ("raise SystemExit(3)", "exit code 3"),
        ("""print('{"broken": "No module named scipy"}')""", "No module named scipy"),
    ):
        program.write_text(text)
        monkeypatch.setattr(parser, "PROGRAM", program)
        process = parser.Parser()
        said = refusal(process.parse, path, "a.mat", ["SIG"])
        assert said == f"a.mat cannot be read, for the process that parses it does not start: {why}"


@pytest.mark.parametrize(
    "answer",
    [
        '{"names": ["a"], "variables": {"a": {"kind": "numbers", "type": "float64", "shape": [1000000000000]}}}',
        '{"names": ["a"], "variables": {"a": {"kind": "numbers", "type": "object", "shape": [1]}}}',
        '{"names": ["a"], "variables": {"a": {"kind": "numbers", "type": "int8", "shape": [-1]}}}',
        '{"names": ["a"], "variables": {"a": {"kind": "numbers", "type": "int8", "shape": [9]}}}',
        '{"names": ["a"], "variables": {"a": {"kind": "cells", "shape": [7], "cells": []}}}',
        '{"names": 5, "variables": []}',
        "[1]",
        "no json",
    ],
)
def test_a_parser_that_lies_is_not_believed(answer, tmp_path, short, monkeypatch):
    program = tmp_path / "program.py"
    program.write_text(
        f"import sys\nprint('{{\"ready\": true}}', flush=True)\nsys.stdin.readline()\nprint({answer!r})\n"
    )
    monkeypatch.setattr(parser, "PROGRAM", program)
    process = parser.Parser()
    said = refusal(process.parse, write_demuse(tmp_path / "a.mat", short), "a.mat", ["SIG"])
    assert said.startswith("a.mat is damaged: the process that parses it ends over it")
    assert process.process is None


# ---- variables ----------------------------------------------------------------------------------------------------------

NOTHING = np.empty((0, 0))
FOREIGN = {
    "text": EVIL,
    "a struct": {EVIL[4:7]: 1.0},
    "a sparse matrix": scipy.sparse.csc_array(np.eye(3)),
    "complex": np.array([[1 + 2j, 3]]),
    "logical": np.array([[True, False]]),
    "a cell array of": cell(cell(1.0, "x"), NOTHING),
    "3 x 4 x 5": np.ones((3, 4, 5)),
}
NUMERIC = {
    demuse.read: ("fsamp", "PNR", "ref_signal", "startSIGInt", "stopSIGInt"),
    otb.read: ("SamplingFrequency", "Data"),
    signatures.read: ("training_data_rat", "test_data_labels"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_variable_of_another_kind_is_named(kind, short, tmp_path):
    for read, keys in NUMERIC.items():
        for key in keys:
            path = tmp_path / "a.mat"
            if read is signatures.read:
                write_signatures(path, **{key: FOREIGN[kind]})
            else:
                (write_demuse if read is demuse.read else write_otb)(path, short, **{key: FOREIGN[kind]})
            said = refusal(read, str(path), **({"crop": True} if read is demuse.read else {}))
            assert f"a.mat: '{key}'" in said
            assert kind in said or (key, kind) == ("test_data_labels", "3 x 4 x 5")


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_cell_of_another_kind_is_named_with_its_place(kind, short, tmp_path):
    path = write_demuse(tmp_path / "a.mat", short)
    contents = scipy.io.loadmat(path)
    signals, pulses = contents["SIG"].copy(), contents["MUPulses"].copy()
    signals[4, 2] = pulses[0, 1] = FOREIGN[kind]
    said = refusal(demuse.read, str(write_demuse(path, short, SIG=signals)))
    assert "a.mat: 'SIG' of the electrode in row 5, column 3 must be a row of numbers, or empty, found" in said
    assert kind in said
    said = refusal(demuse.read, str(write_demuse(path, short, MUPulses=pulses)))
    assert "a.mat: 'MUPulses' of motor unit 2 must be a row of samples, found" in said
    assert kind in said
    if kind != "text":
        texts = scipy.io.loadmat(write_otb(path, short))["Description"].copy()
        texts[3, 0] = FOREIGN[kind]
        said = refusal(otb.read, str(write_otb(path, short, Description=texts)))
        assert "a.mat: 'Description' of column 4 must be text, found" in said
        assert kind in said


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"fsamp": np.nan}, "'fsamp' must be one number, found nan"),
        ({"fsamp": 1e300}, "the sampling rate is 1e\\+300 Hz; valid is 100 to"),
        ({"fsamp": 2.048}, "the sampling rate is 2.048 Hz; .*: if that is kHz, in MATLAB fsamp = 2048"),
        ({"fsamp": "2048 Hz"}, "found the text '2048 Hz'; in MATLAB fsamp = 2048 makes it one"),
        ({"fsamp": NOTHING}, "'fsamp' must be one number, it holds 0 values"),
        ({"startSIGInt": 1e300}, "startSIGInt to stopSIGInt is 1e\\+300 to 8 s"),
        ({"stopSIGInt": np.inf}, "'stopSIGInt' must be one number, found inf"),
        ({"stopSIGInt": None}, "'stopSIGInt' must be one number, it holds 0 values"),
        (
            {"SIG": cell(*np.ones((8, 1)), shape=(2, 2, 2))},
            "'SIG' is no cell array .*; it is a cell array of 2 x 2 x 2",
        ),
        ({"SIG": cell(NOTHING, NOTHING)}, "every cell of 'SIG' is empty"),
        ({"SIG": cell(np.ones((2, 9)))}, "found 2 x 9 numbers"),
        ({"MUPulses": cell(np.array([[2**64 - 1]], np.uint64))}, "motor unit 1 holds 1.84467e\\+19: pulses are whole"),
        ({"MUPulses": cell(np.array([[1e300]]))}, "motor unit 1 holds 1e\\+300"),
        ({"MUPulses": cell(*np.ones((4, 1, 1)), shape=(2, 2))}, "one cell per motor unit, found a cell array of 2 x 2"),
        ({"MUPulses": "12 40"}, "'MUPulses' of motor unit 1 must be a row of samples, found the text"),
        ({"PNR": np.array([[31.0, np.nan]])}, r"'PNR' of motor unit 2 is nan; .*discard_units=\[2\]"),
        (
            {"discardChannelsVec": np.full((13, 5), np.nan)},
            "'discardChannelsVec' must be 0 or 1 .* found nan or infinity",
        ),
        (
            {"discardChannelsVec": cell(1.0)},
            "'discardChannelsVec' must be 0 or 1 for each electrode, found a cell array",
        ),
        ({"discardChannelsVec": EVIL}, "'discardChannelsVec' must be 0 or 1 for each electrode, found the text"),
    ],
)
def test_demuse_values_out_of_bounds(changes, says, short, tmp_path):
    path = write_demuse(tmp_path / "a.mat", short, **changes)
    with pytest.raises(ValueError, match=rf"a\.mat: .*{says}"):
        demuse.read(str(path), crop=True)


SIGNALLING = {  # a NaN for which arithmetic warns
    np.float32: np.array([[0x7FA00000]], np.uint32).view(np.float32),
    np.float64: np.array([[0x7FF4000000000000]], np.uint64).view(np.float64),
}


@pytest.mark.parametrize("kind", SIGNALLING)
def test_a_signalling_nan_is_no_number_either(kind, short, tmp_path):
    path, nan = tmp_path / "a.mat", SIGNALLING[kind]
    for key, value in (("fsamp", nan), ("MUPulses", nan), ("PNR", nan.repeat(2)[None])):
        assert re.search("(found|holds|is) nan", refusal(demuse.read, str(write_demuse(path, short, **{key: value}))))
    data = scipy.io.loadmat(write_otb(path, short))["Data"][0, 0].astype(kind)
    data[5, 7] = nan[0, 0]
    assert "channel 8 is not finite" in refusal(otb.read, str(write_otb(path, short, Data=data)))
    labels = np.array([[1, 2, 3] * 3], kind)
    labels[0, 1] = nan[0, 0]
    assert "holds nan" in refusal(signatures.read, str(write_signatures(path, training_data_labels=labels)))


@pytest.mark.parametrize(("name", "says"), [("fsamp", ""), ("SIG", "'SIG' is no cell array"), ("MUPulses", "")])
def test_an_array_without_dimensions_is_one_value(name, says, tmp_path, short):
    path = write_demuse(tmp_path / "a.mat", short, MUPulses=cell(np.array([[7.0]])))
    raw = bytearray(path.read_bytes())
    found = list(mutations.elements(raw, 128, len(raw)))
    place = next(i for i, (_, _, data, end) in enumerate(found) if raw[data:end].rstrip(b"\0") == name.encode())
    matrix, _, dimensions = (found[place - back][0] for back in (3, 2, 1))
    raw[dimensions + 4 : dimensions + 16] = bytes(4)
    raw[matrix + 4 : matrix + 8] = struct.pack("<I", struct.unpack_from("<I", raw, matrix + 4)[0] - 8)
    path.write_bytes(raw)
    if says:
        assert says in refusal(demuse.read, str(path))
    else:
        read = demuse.read(str(path))
        assert (read.rate_hz, read.spike_trains[0].tolist()) == (2048, [6])


def test_marks_of_channels_may_be_logical(short, tmp_path):
    marks = np.zeros((13, 5), dtype=bool)
    marks[1, 0] = True
    assert demuse.read(str(write_demuse(tmp_path / "a.mat", short, discardChannelsVec=marks))).discarded_channels == (
        1,
    )


def test_what_single_precision_cannot_hold_is_a_channel_that_is_not_finite(short, tmp_path):
    signals = scipy.io.loadmat(write_demuse(tmp_path / "a.mat", short))["SIG"].copy()
    signals[1, 0][0, 7] = 1e300
    said = refusal(demuse.read, str(write_demuse(tmp_path / "a.mat", short, SIG=signals)))
    assert "channel 1 is not finite, first at sample 7" in said


def test_data_may_be_whole_numbers_and_a_source_must_be_finite(short, tmp_path):
    path = write_otb(tmp_path / "a.mat", short)
    data = scipy.io.loadmat(path)["Data"][0, 0].astype(np.float64)
    whole = np.round(data).astype(np.int16)
    read = otb.read(str(write_otb(path, short, Data=whole)))
    assert np.array_equal(read.signal, whole[:, :64].astype(np.float32))
    n_columns = data.shape[1]
    data[9, n_columns - 2] = np.nan
    assert "the source of motor unit 2 holds a value that is not finite" in refusal(
        otb.read, str(write_otb(path, short, Data=data))
    )


def test_two_variables_of_one_name_are_refused(short, tmp_path):
    path = write_demuse(tmp_path / "a.mat", short)
    scipy.io.savemat(tmp_path / "b.mat", {"fsamp": 1000.0})
    path.write_bytes(path.read_bytes() + (tmp_path / "b.mat").read_bytes()[128:])
    assert "a.mat holds two variables named 'fsamp', where one is valid" in refusal(demuse.read, str(path))
    write_demuse(path, short)
    assert demuse.read(str(path)).rate_hz == 2048  # nothing of the file before is left in between


def test_more_cells_than_any_recording_has_are_refused(short, tmp_path):
    path = tmp_path / "a.mat"
    empty = struct.pack("<10I", 14, 48, 6, 8, 6, 0, 5, 8, 0, 0) + struct.pack("<4I", 1, 0, 9, 0)
    head = struct.pack("<12I", 6, 8, 1, 0, 5, 8, 1, 120_000, 1, 8, 0, 0)[:40] + b"MUPulses"
    scipy.io.savemat(path, {"SIG": cell(np.ones((1, 9))), "fsamp": 2048.0})
    path.write_bytes(
        path.read_bytes() + struct.pack("<2I", 14, len(head) + 120_000 * len(empty)) + head + empty * 120_000
    )
    assert "a.mat holds more than 100,000 cells, which no recording has" in refusal(demuse.read, str(path))
    deep = np.ones((1, 1))
    for _ in range(12):
        deep = cell(deep)
    said = refusal(otb.read, str(write_otb(path, short, Data=deep)))
    assert "a.mat holds cells in one another, more than 8 deep" in said


def test_names_out_of_a_file_never_reach_the_terminal_as_they_are(tmp_path):
    raw = mutations.matlab({"variable_of_12": np.ones((2, 2))}, "5")
    name = EVIL.encode("utf-8")[:14].ljust(14, b"\x1b")
    path = tmp_path / f"S1{EVIL}.mat"
    path.write_bytes(raw.replace(b"variable_of_12", name))
    for read in READERS.values():
        said = refusal(read, str(path))
        assert r"S1\x1b[2Jred\x07\u202etxt\n\u200b\x9b.mat: no variable" in said
        assert r"found: \x1b[2Jred\x07" in said


def test_a_file_with_many_variables_names_some_of_them(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {f"variable{number:023}": 1.0 for number in range(500)})
    said = refusal(signatures.read, str(tmp_path / "a.mat"))
    assert said.endswith("variable00000000000000000000011 and 488 more)")


def test_a_name_that_is_no_text_of_the_system_can_be_read_and_shown(short, tmp_path):
    path = write_demuse(tmp_path / "a.mat", short).rename(tmp_path / os.fsdecode(b"caf\xe9.mat"))
    assert demuse.read(str(path)).name == r"caf\udce9"
    assert "is no name of a file" in refusal(demuse.read, 7)


def test_a_recording_of_an_evil_file_has_a_name_that_can_be_shown(short, tmp_path):
    for read, path in (
        (demuse.read, write_demuse(tmp_path / f"S1{EVIL}.mat", short)),
        (otb.read, write_otb(tmp_path / f"S2{EVIL}.mat", short)),
        (signatures.read, write_signatures(tmp_path / f"S3{EVIL}.mat")),
    ):
        assert read(str(path)).name == plain(path.stem)
    session = intan.read(str(write_rat(tmp_path / f"Rat{EVIL}")))
    assert session.name == plain(f"Rat{EVIL}")
    assert session.read("pricking").name == f"{plain(f'Rat{EVIL}')} pricking"


# ---- Intan --------------------------------------------------------------------------------------------------------------


def intan_header(rat: Path, change) -> str:
    """Change the header of a rat's first file and return how it is refused."""
    path = rat / FIRST
    write_rhd(path, drawn())
    raw = bytearray(path.read_bytes())
    change(raw)
    path.write_bytes(raw)
    return refusal(intan.read, str(rat))


def test_intan_headers_that_lie(tmp_path):
    rat = write_rat(tmp_path / "Rat4")
    counts = bytes(write_name("A-000"))

    def channels(raw):  # 32,767 in each of as many groups, all taken from the voltages
        place = raw.index(write_name("Port A")) - 2
        raw[place : place + 2] = struct.pack("<h", 32767)
        place = raw.index(counts) - 4
        raw[place : place + 2] = struct.pack("<h", 32767)

    def strings(raw):
        place = raw.index(write_name("a rat"))
        raw[place : place + 4] = struct.pack("<I", 0xFFFFFFFE)

    def nameless(raw):  # NumPy would name this channel itself
        raw[raw.index(counts) : raw.index(counts) + 14] = bytes(4)

    def rate(raw):
        raw[8:12] = struct.pack("<f", np.nan)

    began = time.perf_counter()
    for change in (channels, strings, nameless, rate):
        said = intan_header(rat, change)
        assert "Do_0.rhd: its header is" in said, change
        assert "damaged" in said
    assert time.perf_counter() - began < 60


def write_name(name: str) -> bytes:
    raw = name.encode("utf-16-le")
    return struct.pack("<I", len(raw)) + raw


def test_voltages_that_fit_no_memory_are_refused_before_they_are_read(tmp_path, monkeypatch):
    rat = write_rat(tmp_path / "Rat4")
    monkeypatch.setattr(memory, "physical_bytes", lambda: memory.PROCESS + 100_000)
    said = refusal(intan.read, str(rat))
    assert re.search(
        r"Rat4: dorsiflexion takes about 0\.0\d+ GB of memory, there are 0\.0001 GB for it: leave files out", said
    )


# ---- damaged files by the hundred ---------------------------------------------------------------------------------------


def test_damaged_files_end_as_recordings_or_sentences():
    tally = fuzz.fuzz(range(200))
    assert not tally.violations
    assert tally.outcomes.total() == 200
    assert {"read", "refused by a reader", "not a whole file", "header damaged"} <= set(tally.outcomes)


def test_a_seed_makes_the_same_file_again():
    for kind in fuzz.KINDS:
        one, other = (fuzz.damaged(kind, np.random.default_rng(5)) for _ in range(2))
        assert one == other


def test_a_reader_that_breaks_the_promise_is_found(monkeypatch, tmp_path):
    def raising(error):
        def read(*_):
            raise error

        return read

    for error in (KeyError("x"), ValueError("operands could not be broadcast"), ValueError(f"{fuzz.STEM} \x1b")):
        monkeypatch.setattr(fuzz, "read", raising(error))
        assert fuzz.judged("intan", b"", tmp_path)[1]


def test_valid_files_of_the_fuzz_are_read(tmp_path):
    for kind in fuzz.KINDS:
        raw = fuzz.valid(kind)
        outcome = fuzz.judged(kind, bytes(mutations.packed(bytearray(raw))) if "packed" in kind else raw, tmp_path)
        assert outcome == ("read", ""), kind


def test_foreign_files_are_checked_before_they_are_parsed(tmp_path):
    assert matfile.found(np.ones((1, 1), complex)) == "one complex number"
    assert foreign.physical_bytes() > 1 << 28
