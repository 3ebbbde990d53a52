"""Readers of nerve-cuff data: voltages come back within half a step of the converter, and mistakes get one sentence."""

import dataclasses
import re
import shutil
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from neuroexp.data import cuff
from neuroexp.recordings import intan, signatures
from neuroexp.settings import keys

pytestmark = pytest.mark.usefixtures("one_parser")
STEP_UV = 0.195  # of the converter
BLOCK = 128


def text(value: str) -> bytes:
    """Return a QString."""
    raw = value.encode("utf-16-le")
    return struct.pack("<I", len(raw)) + raw


def group(name: str, channels: list[tuple[str, int]], amplifiers: int) -> bytes:
    """Return the header of a signal group with channels (name, signal type)."""
    raw = text(name) + text(name[-1]) + struct.pack("<3h", 1, len(channels), amplifiers)
    for order, (channel, kind) in enumerate(channels):
        raw += text(channel) + text(channel)
        raw += struct.pack("<10h2f", order, order, kind, 1, order % 32, 0, 0, 0, 0, 0, 1e5, -45.0)
    return raw


def write_rhd(
    path: Path,
    counts: np.ndarray,
    rate_hz: float = 30000,
    version: tuple[int, int] = (2, 0),
    others: bool = False,
    temperatures: int = 0,
    start: int = 0,
    stamps: np.ndarray | None = None,
) -> tuple[int, int]:
    """Write counts (time, channel) after Intan's RHD2000 data file formats; return the bytes of the header and a block.

    `others` adds auxiliary, supply, board and digital channels; `start` is the first time stamp, or `stamps`
    are all of them.
    """
    size = BLOCK if version >= (2, 0) else 60
    raw = struct.pack("<I2h", 0xC6912702, *version)
    raw += struct.pack("<fh6fh2f", rate_hz, 1, 1, 0.1, 7500, 1, 0.1, 7500, 0, 1000, 1000)
    raw += text("a rat") + text("") + text("µ")
    raw += struct.pack("<h", temperatures) if version >= (1, 1) else b""
    raw += struct.pack("<h", 0) if version >= (1, 3) else b""
    raw += text("n/a") if version >= (2, 0) else b""
    amplifiers = [(f"A-{channel:03d}", 0) for channel in range(counts.shape[1])]
    chip = [("A-AUX1", 1), ("A-AUX2", 1), ("A-VDD1", 2)] if others else []
    board = [("ANALOG-IN-0", 3), ("DIN-00", 4), ("DIN-01", 4)] if others else []
    raw += struct.pack("<h", 2) + group("Port A", amplifiers + chip, len(amplifiers)) + group("Board", board, 0)
    layout: list[tuple] = [("time", "<i4", size), ("amplifier", "<u2", (len(amplifiers), size))]
    layout += [("auxiliary", "<u2", (2, size // 4)), ("supply", "<u2")] if others else []
    layout += [("temperature", "<i2", temperatures)] if temperatures else []
    layout += [("analog", "<u2", size), ("digital", "<u2", size)] if others else []
    blocks = np.full(len(counts) // size, 7, np.dtype(layout))
    blocks["time"] = (np.arange(start, start + len(counts)) if stamps is None else stamps).reshape(-1, size)
    blocks["amplifier"] = counts.reshape(len(blocks), size, -1).swapaxes(1, 2)
    path.write_bytes(raw + blocks.tobytes())
    return len(raw), blocks.itemsize


def drawn(n_samples: int = 3 * BLOCK, channels: int = 56, seed: int = 0) -> np.ndarray:
    """Return counts (time, channel)."""
    return np.random.default_rng(seed).integers(0, 1 << 16, (n_samples, channels)).astype(np.uint16)


def microvolts(counts: np.ndarray) -> np.ndarray:
    return (counts.astype(float) - 32768) * STEP_UV


def write_rat(folder: Path, **how) -> Path:
    """Write a rat with two files a class."""
    for number, name in enumerate(("Dorsiflexion", "Plantarflexion", "Pricking")):
        (folder / name).mkdir(parents=True)
        for part in range(2):
            write_rhd(folder / name / f"{name[:2]}_{part}.rhd", drawn(seed=2 * number + part), **how)
    return folder


@pytest.fixture
def rat(tmp_path: Path) -> Path:
    return write_rat(tmp_path / "Rat4")


@pytest.fixture(scope="module")
def shared_rat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rat that no test changes."""
    return write_rat(tmp_path_factory.mktemp("shared") / "Rat5")


FIRST = "Dorsiflexion/Do_0.rhd"


@pytest.mark.parametrize("version", [(1, 0), (1, 2), (1, 5), (2, 0), (3, 3)])
@pytest.mark.parametrize("channels", [56, 64])
@pytest.mark.parametrize(("others", "temperatures"), [(False, 0), (True, 0), (True, 2)])
def test_voltages_come_back_within_half_a_step(version, channels, others, temperatures, rat):
    if temperatures and version < (1, 1):
        temperatures = 0  # the first version has no field for them
    rng = np.random.default_rng(1)
    voltages = rng.uniform(-6389, 6389, (1920, channels))
    counts = np.round(voltages / STEP_UV).astype(int) + 32768
    (rat / "Dorsiflexion" / "Do_1.rhd").unlink()
    write_rhd(rat / FIRST, counts.astype(np.uint16), version=version, others=others, temperatures=temperatures)
    signal = intan.read(str(rat)).read("dorsiflexion").signal
    assert signal.shape == (1920, 56)
    assert (signal.dtype, signal.flags.c_contiguous) == (np.float32, True)
    assert np.abs(signal - voltages[:, :56]).max() < STEP_UV / 2 + 0.001


def test_neo_reads_the_same_voltages(shared_rat):
    from neo.rawio import IntanRawIO

    reader = IntanRawIO(filename=str(shared_rat / FIRST))
    reader.parse_header()
    expected = reader.rescale_signal_raw_to_float(reader.get_analogsignal_chunk(stream_index=0), "float64", 0)
    read = intan.read(str(shared_rat)).read("dorsiflexion").signal[: len(expected)]
    np.testing.assert_allclose(read, expected, atol=0.001)


def test_files_follow_in_order_of_name(rat):
    folder = rat / "Pricking"
    write_rhd(folder / "Pr_2.RHD", drawn(BLOCK * 70, seed=9))  # longer than what is converted at once
    (folder / "._Pr_0.rhd").write_bytes(b"what macOS adds")
    (folder / "notes.txt").write_text("not a recording")
    read = intan.read(str(rat)).read("pricking")
    expected = np.concatenate([drawn(seed=4), drawn(seed=5), drawn(BLOCK * 70, seed=9)])
    np.testing.assert_allclose(read.signal, microvolts(expected), atol=0.001)


def of_files(folder: Path, **files: tuple[int, int]) -> Path:
    """Write a rat whose class Pricking has other files: name -> seed and first time stamp."""
    rat = write_rat(folder)
    for path in (rat / "Pricking").iterdir():
        path.unlink()
    for name, (seed, start) in files.items():
        write_rhd(rat / "Pricking" / f"{name}.rhd", drawn(seed=seed), start=start)
    return rat


def joined(*seeds: int) -> np.ndarray:
    return microvolts(np.concatenate([drawn(seed=seed) for seed in seeds]))


def test_time_stamps_that_run_on_decide_the_order(tmp_path):
    rat = of_files(tmp_path / "Rat4", b=(10, 0), a=(11, 384), rec_10=(12, 768), rec_2=(13, 768 + 384 + 3000))
    session = intan.read(str(rat))
    np.testing.assert_allclose(session.read("pricking").signal, joined(10, 11, 12, 13), atol=0.001)
    said = [note for note in session.notes if "pricking" in note]
    assert said == [
        "Rat4: the time stamps of the files of pricking decide their order, not their names: "
        "b.rhd, a.rhd, rec_10.rhd, rec_2.rhd",
        "Rat4: pricking: 0.1 s are missing between rec_10.rhd and rec_2.rhd, by their time stamps: no window, stimulus or "
        "filter reaches across",
    ]
    assert session.read("pricking").seams == (3 * 384,)
    rat = of_files(tmp_path / "Rat5", a=(10, 500), b=(11, 884))
    session = intan.read(str(rat))
    assert not any("pricking" in note for note in session.notes)
    assert session.read("pricking").seams == ()


@pytest.mark.parametrize(
    ("starts", "said"), [((0, 0, 0), "each start at the same"), ((0, 100, 9000), "have time stamps that overlap")]
)
def test_where_time_starts_again_the_natural_order_of_names_decides(starts, said, tmp_path):
    rat = of_files(
        tmp_path / "Rat4", rec_10=(10, starts[0]), rec_2=(11, starts[1]), Rec_1=(12, starts[2]), rec_1=(13, starts[0])
    )
    session = intan.read(str(rat))
    [note] = [note for note in session.notes if "pricking" in note]
    assert said in note
    order = "so their names decide their order: Rec_1.rhd, rec_1.rhd, rec_2.rhd, rec_10.rhd; "
    assert note.endswith(f"{order}no window, stimulus or filter reaches across from one to the next")
    assert session.read("pricking").seams == (384, 768, 1152)
    np.testing.assert_allclose(session.read("pricking").signal, joined(12, 13, 11, 10), atol=0.001)


def key(folder: Path, reader: str = "neuroexp.recordings.intan.read") -> str:
    return keys.configuration_key({"recording": {"_target_": reader, "path": str(folder)}})


def test_the_key_covers_what_is_read_and_nothing_else(rat, tmp_path):
    before = key(rat)
    for stray in (
        ".DS_Store",
        "notes.txt",
        "Pricking/.DS_Store",
        "Pricking/notes.txt",
        "Pricking/._Pr_0.rhd",
        "more.rhd",
    ):
        (rat / stray).write_text("not a recording")
        assert key(rat) == before, stray
    (rat / "Pricking" / "older").mkdir()
    shutil.copy(rat / FIRST, rat / "Pricking" / "older" / "Pr_9.rhd")
    (tmp_path / "link").symlink_to(rat)
    assert key(tmp_path / "link") == key(shutil.copytree(rat, tmp_path / "elsewhere" / "Rat9")) == before
    changed = set()
    write_rhd(rat / "Pricking" / "Pr_10.rhd", drawn(seed=9))
    changed.add(key(rat))
    (rat / "Pricking" / "Pr_10.rhd").rename(rat / "Pricking" / "Pr_01.rhd")
    changed.add(key(rat))
    write_rhd(rat / "Pricking" / "Pr_01.rhd", drawn(seed=9), start=384)  # now no other order than before
    changed.add(key(rat))
    (rat / "Pricking" / "Pr_01.rhd").unlink()
    assert key(rat) == before
    write_rhd(rat / FIRST, drawn(seed=10))
    assert len(changed | {before, key(rat)}) == 5
    (rat / FIRST).write_bytes(b"damaged")  # the reader says so
    assert key(rat) not in changed | {before}


def test_the_order_in_which_files_are_joined_is_part_of_the_key(tmp_path):
    starts = {"a": 384, "b": 0}, {"a": 0, "b": 384}
    rats = [of_files(tmp_path / str(n), a=(10, s["a"]), b=(11, s["b"])) for n, s in enumerate(starts)]
    order = [[path.name for path in intan.files(rat)][-2:] for rat in rats]
    assert order == [["b.rhd", "a.rhd"], ["a.rhd", "b.rhd"]]
    assert key(rats[0]) != key(rats[1])


def test_of_a_reader_of_ones_own_every_file_counts_but_those_of_file_browsers(rat):
    before = key(rat, "my_reader.read")
    for stray in (".DS_Store", "Pricking/Thumbs.db", "Pricking/._Pr_0.rhd"):
        (rat / stray).touch()
    assert key(rat, "my_reader.read") == before
    (rat / "notes.txt").touch()
    assert key(rat, "my_reader.read") != before


@pytest.mark.parametrize("start", [0, 5000])
def test_one_recording_twice_is_refused_by_the_names_of_its_files(start, tmp_path):
    rat = of_files(tmp_path / "Rat4", a=(10, 0), b=(11, 384))
    folder = rat / "Pricking"
    write_rhd(folder / "merged.rhd", np.concatenate([drawn(seed=10), drawn(seed=11)]), start=start)
    says = r"Rat4: the same recording is there twice, in pricking/a\.rhd and pricking/merged\.rhd \(100% of the shorter one\), "
    refused(rat, says + r"pricking/b\.rhd and pricking/merged\.rhd \(100% of the shorter one\); leave one of each out")
    # one sample later in its blocks
    other = np.concatenate([drawn(seed=20)[:1], drawn(seed=10), drawn(seed=11)[:127]])
    write_rhd(folder / "merged.rhd", other, start=start)
    refused(rat, r"pricking/a\.rhd and pricking/merged\.rhd \(100% of the shorter one\)")
    half = np.concatenate([drawn(seed=11)[192:], drawn(seed=20)[:192]])
    write_rhd(folder / "merged.rhd", half, start=start)
    refused(rat, r"in pricking/b\.rhd and pricking/merged\.rhd \((3|4|5|6)\d% of the shorter one\); leave")


def test_one_recording_as_three_classes_is_refused(rat):
    for name in ("Plantarflexion", "Pricking"):
        shutil.rmtree(rat / name)
        shutil.copytree(rat / "Dorsiflexion", rat / name)
    refused(
        rat,
        r"the same recording is there twice, in dorsiflexion/Do_0\.rhd and plantarflexion/Do_0\.rhd \(100%.* and 3 more; leave",
    )


def test_flat_stretches_are_no_copies(tmp_path):
    rat = write_rat(tmp_path / "Rat4")
    for number, path in enumerate(sorted((rat / "Pricking").iterdir())):
        counts = drawn(seed=4 + number)
        counts[:200] = 32768
        write_rhd(path, counts)
    assert len(intan.read(str(rat)).read("pricking").signal) == 6 * BLOCK


def test_session_and_its_recordings(shared_rat):
    session = intan.read(str(shared_rat))
    assert (session.name, session.classes, session.simulated) == ("Rat5", cuff.CLASSES, False)
    for name in session.classes:
        read = session.read(name)
        assert (read.name, read.rate_hz, read.sha256) == (f"Rat5 {name}", 30000, session.sha256)
        assert np.array_equal(read.grid, cuff.GRID)


def test_folders_are_found_in_any_case(rat):
    (rat / "Pricking").rename(rat / "PRICKING")
    assert len(intan.read(str(rat)).read("pricking").signal) == 6 * BLOCK


def test_other_rate(tmp_path):
    rat = write_rat(tmp_path / "Rat2", rate_hz=20000)
    assert intan.read(str(rat), rate_hz=20000).read("pricking").rate_hz == 20000


def test_digest_is_of_names_contents_and_filled_channels_wherever_they_lie(rat, tmp_path):
    first = intan.read(str(rat)).sha256
    assert intan.read(str(shutil.copytree(rat, tmp_path / "elsewhere" / "Rat9"))).sha256 == first
    filled = {intan.read(str(rat), fill_channels=numbers).sha256 for numbers in ([3], [4], [3, 4])}
    assert len(filled | {first}) == 4
    assert intan.read(str(rat), fill_channels=[4, 3, 4]).sha256 in filled
    counts = drawn()
    counts[-1, -1] ^= 1
    write_rhd(rat / FIRST, counts)
    changed = intan.read(str(rat)).sha256
    (rat / FIRST).rename(rat / "Dorsiflexion" / "Do_00.rhd")
    assert len({first, changed, intan.read(str(rat)).sha256}) == 3


def test_voltages_are_read_only_when_asked_for(rat):
    session = intan.read(str(rat))
    (rat / FIRST).unlink()
    path = rat / "Plantarflexion" / "Pl_1.rhd"
    path.write_bytes(path.read_bytes()[:-10])
    assert len(session.read("pricking").signal) == 6 * BLOCK
    with pytest.raises(FileNotFoundError):
        session.read("dorsiflexion")
    with pytest.raises(ValueError, match=r"Pl_1\.rhd has become shorter"):
        session.read("plantarflexion")


def test_memory_is_that_of_the_signal(rat):
    for part in range(2):
        write_rhd(rat / "Pricking" / f"Pr_{part}.rhd", np.tile(drawn(BLOCK * 100, 64, seed=part), (8, 1)))
    session = intan.read(str(rat))
    tracemalloc.start()
    read = session.read("pricking")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.15 * read.signal.nbytes


# ---- filled channels ----------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(numbers=st.lists(st.integers(1, 56), max_size=30))
def test_filled_channels_are_means_of_the_nearest_good_contacts(numbers, shared_rat):
    rings = {
        (number - 1) // 8
        for number in numbers
        if set(range(8 * ((number - 1) // 8) + 1, 8 * ((number + 7) // 8) + 1)) <= set(numbers)
    }
    if rings:
        with pytest.raises(ValueError, match=rf"no contact of ring {min(rings) + 1} is left"):
            intan.read(str(shared_rat), fill_channels=numbers)
        return
    plain = intan.read(str(shared_rat)).read("pricking").signal
    filled = intan.read(str(shared_rat), fill_channels=numbers).read("pricking").signal
    for channel in range(56):
        ring = channel - channel % 8
        good = [contact for contact in range(8) if ring + contact + 1 not in numbers]
        if channel + 1 not in numbers:
            assert np.array_equal(filled[:, channel], plain[:, channel])
            continue
        after = min(good, key=lambda contact: (contact - channel) % 8)
        before = min(good, key=lambda contact: (channel - contact) % 8)
        expected = (plain[:, ring + before] + plain[:, ring + after]) / 2
        np.testing.assert_allclose(filled[:, channel], expected, rtol=1e-6)


def test_flat_channel_is_named_with_the_way_out(rat):
    for part in range(2):
        counts = drawn(seed=4 + part)
        counts[:, 4] = 32768
        write_rhd(rat / "Pricking" / f"Pr_{part}.rhd", counts)
    with pytest.raises(ValueError, match=r"Rat4 pricking: channel 5 is flat; .*recording\.fill_channels=\[5\]"):
        intan.read(str(rat)).read("pricking")
    read = intan.read(str(rat), fill_channels=[5]).read("pricking")
    assert np.ptp(read.signal[:, 4]) > 0


@pytest.mark.parametrize("number", [0, 57, -1])
def test_there_is_no_such_channel_to_fill(number, shared_rat):
    with pytest.raises(ValueError, match=f"{number} is no channel, they are numbered 1 to 56"):
        intan.read(str(shared_rat), fill_channels=[number])


# ---- broken folders and files: each is refused before anything is read ----------------------------------------------------


def refused(rat: Path, says: str, **how) -> str:
    with pytest.raises((ValueError, FileNotFoundError), match=says) as caught:
        intan.read(str(rat), **how)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="needs a rat's folder; do this"):
        intan.read(None, missing="do this")
    refused(tmp_path / "gone", "gone is not there; do this", missing="do this")
    (tmp_path / "file").write_bytes(b"\x01\x02")
    refused(tmp_path / "file", "file is a file, not a folder")


def test_class_without_folder_or_files(rat):
    (rat / "Pricking").rename(rat / "Prickling")
    refused(
        rat, r"Rat4 must hold one folder named Pricking, it holds 0 \(.*: Dorsiflexion, Plantarflexion, Prickling\)"
    )
    (rat / "Pricking").mkdir()
    refused(rat, r"Rat4/Pricking holds no \.rhd file")
    refused(rat.parent, "one folder named Dorsiflexion, it holds 0 .*: Rat4")


@pytest.mark.parametrize("cut", [1, 500, -1])
def test_truncated_data(cut, rat):
    path = rat / "Plantarflexion" / "Pl_1.rhd"
    _, block = write_rhd(path, drawn(), others=True)
    path.write_bytes(path.read_bytes()[:-cut] if cut > 0 else path.read_bytes() + bytes(block - 3))
    refused(rat, rf"Pl_1\.rhd is truncated: its last block lacks {cut if cut > 0 else 3} of {block} bytes")


def test_truncated_header(rat):
    path = rat / FIRST
    start, _ = write_rhd(path, drawn(), others=True)
    whole = path.read_bytes()
    for length in {*range(4, 200), *range(200, start, 37), start - 1}:
        path.write_bytes(whole[:length])
        refused(rat, rf"Do_0\.rhd: its header is cut short or damaged \({length} bytes\)")
    path.write_bytes(whole[:start])
    refused(rat, r"Do_0\.rhd holds no voltages, only a header")


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_header_is_refused_or_harmless(data, shared_rat, tmp_path_factory):
    whole = bytearray((shared_rat / FIRST).read_bytes())
    start = len(whole) - 3 * (4 * BLOCK + 56 * 2 * BLOCK)
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, start - 1))] = data.draw(st.integers(0, 255))
    rat = shutil.copytree(shared_rat, tmp_path_factory.mktemp("damaged") / "Rat5")
    (rat / FIRST).write_bytes(whole)
    try:
        read = intan.read(str(rat)).read("dorsiflexion")
    except ValueError as error:
        assert "Do_" in str(error)  # noqa: PT017  # it need not raise
    else:
        assert read.signal.shape == (6 * BLOCK, 56)


RHS = struct.pack("<I", 0xD69127AC) + bytes(99)


@pytest.mark.parametrize("content", [b"", b"Rat", b"no recording at all" * 99, RHS])
def test_foreign_file(content, rat):
    (rat / FIRST).write_bytes(content)
    unknown = rf"is no Intan RHD file \({len(content)} bytes that begin with 0x.*, not 0xc6912702\)"
    known = {b"": "is empty", RHS: r"is an Intan recording with stimulation \(.rhs\)"}
    refused(rat, rf"Do_0\.rhd {known.get(content, unknown)}")


def test_another_rate_names_every_setting_at_once(tmp_path):
    said = refused(
        write_rat(tmp_path / "Slow", rate_hz=20000), r"Do_0\.rhd is sampled at 20000 Hz, recording\.rate_hz is 30000"
    )
    for setting in ("recording.rate_hz=20000", "dataset.rate_hz=20000", "band_hz must end below 10000 Hz"):
        assert setting in said
    said = refused(write_rat(tmp_path / "Fast", rate_hz=40000), "recording.rate_hz=40000 and dataset.rate_hz=40000")
    assert "band_hz" not in said


def test_classes_of_different_rates(rat):
    for part in range(2):
        write_rhd(rat / "Pricking" / f"Pr_{part}.rhd", drawn(), rate_hz=25000)
    refused(rat, r"Pr_0\.rhd is sampled at 25000 Hz, .*Do_0\.rhd at 30000 Hz; the classes of a rat must agree")


@pytest.mark.parametrize(
    ("channels", "rate_hz", "says"), [(64, 30000, "64 channels at 30000 Hz"), (56, 20000, "56 channels at 20000 Hz")]
)
def test_files_of_a_class_disagree(channels, rate_hz, says, rat):
    write_rhd(rat / "Pricking" / "Pr_1.rhd", drawn(channels=channels), rate_hz)
    refused(rat, rf"Pr_1\.rhd has {says}, Pr_0\.rhd beside it 56 at 30000 Hz; the files of a class must agree")


@pytest.mark.parametrize("channels", [0, 1, 32, 55, 57, 128])
def test_wrong_number_of_channels(channels, rat):
    for part in range(2):
        write_rhd(rat / "Pricking" / f"Pr_{part}.rhd", drawn(channels=channels), others=True)
    refused(
        rat, rf"Pr_0\.rhd has {channels} amplifier channels; a cuff .* has 56, or 64 of which the last 8 are not used"
    )


def runs(*parts: tuple[int, int]) -> np.ndarray:
    """Return time stamps in runs (first, length)."""
    return np.concatenate([np.arange(first, first + length) for first, length in parts])


LONG = 90 * BLOCK  # samples, 0.38 s


@pytest.mark.parametrize(
    ("stamps", "seams", "says"),
    [
        (runs((0, 5000), (5050, LONG - 5000)), (5000,), "50 samples are missing at 0.167 s"),
        (runs((700, 5000), (0, LONG - 5000)), (5000,), "its time stamps step back by 0.19 s at 0.167 s"),
        (
            runs((0, 5000), (5050, 3000), (8000, LONG - 8000)),
            (5000, 8000),
            "50 .* 0.167 s, its .* by 0.00167 s at 0.267 s",
        ),
        (runs((0, 5000), (5000, 1), (0, LONG - 5001)), (5001,), "its time stamps step back by 0.167 s at 0.167 s"),
    ],
)
def test_a_recording_that_was_interrupted_is_used_stretch_by_stretch(stamps, seams, says, tmp_path):
    rat, counts = write_rat(tmp_path / "Rat4"), drawn(LONG, seed=9)
    for path in (rat / "Pricking").iterdir():
        path.unlink()
    write_rhd(rat / "Pricking" / "a.rhd", counts)
    whole = intan.read(str(rat)).sha256
    write_rhd(rat / "Pricking" / "a.rhd", counts, stamps=stamps)
    write_rhd(rat / "Pricking" / "b.rhd", drawn(seed=10), start=int(stamps[-1]) + 1)
    session = intan.read(str(rat))
    [note] = [note for note in session.notes if "pricking" in note]
    assert re.fullmatch(
        rf"Rat4: pricking: the recording of a\.rhd was interrupted \({says}\): no window, stimulus or filter reaches across",
        note,
    )
    read = session.read("pricking")
    assert read.seams == seams  # the second file runs on
    np.testing.assert_allclose(read.signal, microvolts(np.concatenate([counts, drawn(seed=10)])), atol=0.001)
    assert session.sha256 != whole


def test_time_stamps_that_hardly_ever_follow_on_are_refused(rat):
    write_rhd(rat / "Pricking" / "Pr_1.rhd", drawn(seed=9), stamps=np.arange(0, 768, 2))
    refused(rat, r"Pr_1\.rhd: its time stamps jump 383 times in 0\.0128 s, .*; leave this file out of the folder")


def test_what_is_joined_at_seams_is_no_cell_of_before(tmp_path):
    rat = of_files(tmp_path / "Rat4", a=(10, 0), b=(11, 384))
    for name in ("Dorsiflexion", "Plantarflexion"):
        (rat / name / f"{name[:2]}_1.rhd").unlink()
    assert intan.means(rat) == []
    for seed, start in ((11, 385), (11, 0)):
        before = key(rat)
        write_rhd(rat / "Pricking" / "b.rhd", drawn(seed=seed), start=start)
        assert intan.means(rat) == ["seams"]
        assert key(rat) != before


@pytest.mark.process
def test_without_neo_the_extra_is_named(shared_rat):
    code = (
        f"import sys; sys.modules['neo'] = None; from neuroexp.recordings import intan; intan.read({str(shared_rat)!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].endswith(
        "ValueError: recording=intan needs the package neo: pip install 'neuroexp[intan]'"
    )


# ---- signatures that were cut already -----------------------------------------------------------------------------------


def write_signatures(path: Path, counts: tuple[int, int] = (9, 6), **changes: object) -> Path:
    """Write a file of signatures, `counts` for training and test; `changes` replace variables."""
    rng = np.random.default_rng(0)
    contents: dict[str, object] = {}
    for part, n_caps in zip(("training", "test"), counts, strict=True):
        contents[f"{part}_data_rat"] = rng.normal(size=(5600, n_caps))
        contents[f"{part}_data_labels"] = np.arange(n_caps)[:, None] % 3 + 1.0
    contents |= changes
    scipy.io.savemat(path, {name: value for name, value in contents.items() if value is not None}, format="5")
    return path


def test_signatures_as_they_were_written(tmp_path):
    path = write_signatures(tmp_path / "Training_Fold2_RAW.mat")
    read = signatures.read(str(path))
    contents = scipy.io.loadmat(path)
    assert (read.name, read.rate_hz, read.n_samples, read.rest, read.stimulus) == (
        "Training_Fold2_RAW",
        30000,
        1500,
        None,
        None,
    )
    assert (read.windows.shape, read.windows.flags.c_contiguous) == ((15, 100, 56), True)
    assert read.test.tolist() == [False] * 9 + [True] * 6
    assert read.label.tolist() == [0, 1, 2] * 5
    assert read.first.tolist() == list(range(0, 1500, 100))
    columns = np.concatenate([contents["training_data_rat"], contents["test_data_rat"]], axis=1)
    assert np.array_equal(read.windows[11].T, columns[:, 11].reshape(56, 100).astype(np.float32))


@settings(max_examples=60, deadline=None)
@given(cap=st.integers(0, 14), ring=st.integers(0, 6), contact=st.integers(0, 7), time=st.integers(0, 99))
def test_every_value_is_where_its_order_says(cap, ring, contact, time, both_orders):
    columns, by_ring, by_contact = both_orders
    channel = cuff.GRID[ring, contact]
    assert by_ring.windows[cap, time, channel] == columns[(ring * 8 + contact) * 100 + time, cap]
    assert by_contact.windows[cap, time, channel] == columns[(contact * 7 + ring) * 100 + time, cap]


@pytest.fixture(scope="module")
def both_orders(tmp_path_factory):
    """The columns of a file, and the file read in either order."""
    path = write_signatures(tmp_path_factory.mktemp("orders") / "a.mat")
    contents = scipy.io.loadmat(path)
    columns = np.concatenate([contents["training_data_rat"], contents["test_data_rat"]], axis=1).astype(np.float32)
    return columns, signatures.read(str(path)), signatures.read(str(path), order="contact")


def test_twin_file_by_contact_holds_the_same_signatures(tmp_path):
    path = write_signatures(tmp_path / "a.mat")
    contents = scipy.io.loadmat(path)
    swapped = {
        name: contents[name].reshape(7, 8, 100, -1).swapaxes(0, 1).reshape(5600, -1)
        for name in ("training_data_rat", "test_data_rat")
    }
    twin = write_signatures(tmp_path / "b.mat", **swapped)
    assert np.array_equal(signatures.read(str(twin), order="contact").windows, signatures.read(str(path)).windows)


def test_whole_numbers_and_rows_of_labels_are_read_as_well(tmp_path):
    changes = {
        "training_data_rat": np.ones((5600, 3), np.int16),
        "training_data_labels": np.array([[3, 1, 2]], np.uint8),
    }
    read = signatures.read(str(write_signatures(tmp_path / "a.mat", **changes)))
    assert read.label[:3].tolist() == [2, 0, 1]
    assert dataclasses.replace(read, rate_hz=1).windows.dtype == np.float32


def wrong(value: float, shape: tuple[int, int] = (5600, 9)) -> np.ndarray:
    values = np.ones(shape)
    values[77, 3] = value
    return values


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"test_data_labels": None},
            "no variable 'test_data_labels'.*found: test_data_rat, training_data_labels, training",
        ),
        (
            {"training_data_rat": np.ones((3200, 9))},
            r"has 3200 rows \(32 channels\), 56 channels of 100 samples make 5600",
        ),
        ({"training_data_rat": np.ones((9, 5600))}, "has 9 rows, 56 channels"),
        ({"test_data_rat": "words"}, "'test_data_rat' is no table of numbers"),
        ({"training_data_rat": wrong(np.nan)}, "column 4 of 'training_data_rat' holds a value that is not finite"),
        ({"training_data_rat": wrong(np.inf)}, "column 4 of 'training_data_rat'"),
        ({"training_data_rat": wrong(1e300)}, "column 4 of 'training_data_rat'"),
        ({"test_data_labels": [1, 2, 3]}, "'test_data_labels' holds 3 values for 6 signatures"),
        ({"test_data_labels": np.eye(6)[:, :3]}, "'test_data_labels' holds 18 values for 6"),
        ({"test_data_labels": [0, 1, 2, 3, 1, 2]}, "'test_data_labels' holds 0, labels are 1 dorsiflexion, 2"),
        ({"test_data_labels": [4, 1, 2, 3, 1, 2]}, "holds 4, labels are"),
        ({"test_data_labels": [1.5, 1, 2, 3, 1, 2]}, "holds 1.5, labels are"),
        ({"test_data_labels": [np.nan, 1, 2, 3, 1, 2]}, "holds nan, labels are"),
        ({"training_data_labels": [1, 2, 1, 2, 1, 2, 1, 2, 1]}, "never holds 3, but labels are"),
        (
            {"test_data_rat": np.ones((5600, 0)), "test_data_labels": np.ones((0, 1))},
            "'test_data_labels' never holds 1",
        ),
    ],
)
def test_wrong_variable(changes, says, tmp_path):
    with pytest.raises(ValueError, match=rf"a\.mat: .*{says}") as caught:
        signatures.read(str(write_signatures(tmp_path / "a.mat", **changes)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("how", "says"),
    [({"order": "rings"}, "recording.order=rings must be ring or contact"), ({"rate_hz": 0}, "rate_hz=0")],
)
def test_wrong_setting(how, says, tmp_path):
    with pytest.raises(ValueError, match=says):
        signatures.read(str(write_signatures(tmp_path / "a.mat")), **how)


def test_no_file_of_signatures(tmp_path):
    with pytest.raises(ValueError, match="recording=signatures needs a file.*; do this"):
        signatures.read(None, missing="do this")
    with pytest.raises(FileNotFoundError, match=r"gone\.mat is not there; do this"):
        signatures.read(str(tmp_path / "gone.mat"), missing="do this")
    (tmp_path / "foreign.mat").write_bytes(b"no matlab at all" * 40)
    with pytest.raises(ValueError, match=r"foreign\.mat"):
        signatures.read(str(tmp_path / "foreign.mat"))


# ---- configuration ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["intan", "signatures"])
def test_configuration_fits_the_reader_and_says_what_brings_the_data(name):
    from hydra.utils import get_method

    config = OmegaConf.load(Path(__file__).parent.parent / "conf" / "recording" / f"{name}.yaml")
    values = {key: value for key, value in config.items() if key != "_target_"}
    with pytest.raises((ValueError, FileNotFoundError), match="neuroexp fetch doi:10.5683/SP3/JRZDDR"):
        get_method(config._target_)(**values)
