"""Readers: what was written comes back, the real file is as described, and broken files get one clear sentence."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import scipy.io
from conftest import cell, write_demuse, write_otb

from neuroexp.data.recording import Recording, broken_allowed, keep, without_channels
from neuroexp.downloads import sample
from neuroexp.recordings import demuse, hdsemg_simulated, otb

pytestmark = pytest.mark.usefixtures("one_parser")


@pytest.fixture(scope="module")
def short() -> Recording:
    return hdsemg_simulated.read(duration_s=10, units=4)


def same_trains(one: Recording, other: Recording) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one.spike_trains, other.spike_trains, strict=True))


def test_otb_round_trip(short, tmp_path):
    read = otb.read(str(write_otb(tmp_path / "a.mat", short)))
    assert np.array_equal(read.signal, short.signal)
    assert same_trains(read, short)
    assert np.array_equal(read.force, short.force)
    assert (read.rate_hz, read.name) == (2048, "a")
    assert read.grid.shape == (13, 5)
    assert read.pnr_db == (np.inf,) * 4  # the sources written here are the discharges themselves


def test_otb_sample_recording_is_as_described(sample_recording):
    read = otb.read(str(sample_recording))
    assert read.signal.shape == (66560, 64)
    assert [len(train) for train in read.spike_trains] == [137, 154, 197, 293, 292]
    assert read.sha256 == sample.SHA256
    assert read.force.max() > 20
    assert [round(pnr) for pnr in read.pnr_db] == [31, 32, 26, 25, 27]  # dB


def test_otb_grid_puts_alike_channels_beside_each_other(sample_recording):
    read = otb.read(str(sample_recording))
    signal = read.signal - read.signal.mean(axis=1, keepdims=True)
    alike = np.corrcoef(signal.T)
    grid = read.grid
    below = [(grid[r, c], grid[r + 1, c]) for r in range(12) for c in range(5) if grid[r, c] >= 0]
    beside = [(grid[r, c], grid[r, c + 1]) for r in range(13) for c in range(4) if grid[r, c] >= 0]
    neighbours = np.mean([alike[pair] for pair in below + beside])
    assert neighbours > 0.6
    assert neighbours > np.mean(alike) + 0.5
    # one wrong turn of the serpentine would break the likeness across columns
    assert np.mean([alike[pair] for pair in beside]) > 0.5


def test_demuse_round_trip(short, tmp_path):
    read = demuse.read(str(write_demuse(tmp_path / "S1_10_GM.mat", short)))
    assert np.array_equal(read.signal, short.signal)
    assert same_trains(read, short)
    assert np.array_equal(read.grid, short.grid)
    assert np.array_equal(read.force, short.force)
    assert read.name == "S1_10_GM"


def test_demuse_single_unit_loses_its_cell(short, tmp_path):
    pulses = short.spike_trains[0][None] + 1
    read = demuse.read(str(write_demuse(tmp_path / "a.mat", short, MUPulses=pulses)))
    assert np.array_equal(read.spike_trains[0], short.spike_trains[0])
    assert len(read.spike_trains) == 1


def test_demuse_tells_the_pulse_to_noise_ratio(short, tmp_path):
    path = write_demuse(tmp_path / "a.mat", short, PNR=np.array([[31.0, 32.5, 33.0, 38.0]]))
    assert demuse.read(str(path)).pnr_db == (31.0, 32.5, 33.0, 38.0)
    assert demuse.read(str(path), discard_units=[2]).pnr_db == (31.0, 33.0, 38.0)
    assert demuse.read(str(write_demuse(tmp_path / "b.mat", short))).pnr_db == ()


def test_demuse_crops(short, tmp_path):
    read = demuse.read(str(write_demuse(tmp_path / "a.mat", short)), crop=True)
    assert np.array_equal(read.signal, short.signal[4096:16384])
    whole = short.spike_trains[0]
    assert np.array_equal(read.spike_trains[0], whole[(whole >= 4096) & (whole < 16384)] - 4096)
    assert len(read.force) == 12288


def test_discarded_channels_leave_signal_and_grid(short, tmp_path):
    marks = np.zeros((13, 5))
    marks[3, 1] = 1
    channel = short.grid[3, 1]
    path = str(write_demuse(tmp_path / "a.mat", short, discardChannelsVec=marks))
    read = demuse.read(path, discard_channels=[1], discard_units=[2])
    assert read.signal.shape[1] == 62
    assert read.grid[3, 1] == -1
    assert read.grid[1, 0] == -1
    assert np.array_equal(read.signal, np.delete(short.signal, [0, channel], axis=1))
    assert len(read.spike_trains) == 3
    for row, column in ((2, 0), (12, 4), (4, 1)):
        assert np.array_equal(read.signal[:, read.grid[row, column]], short.signal[:, short.grid[row, column]])


def test_without_channels_renumbers():
    grid = np.array([[-1, 2], [0, 3], [1, 4]])
    assert without_channels(grid, keep(5, [1, 4], "channel", "x")).tolist() == [[-1, 1], [-1, -1], [0, 2]]


# ---- broken files: (what is written, what the sentence must say) --------------------------------------------------------


def test_missing_file_says_what_brings_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.mat is not there; do this"):
        otb.read(str(tmp_path / "gone.mat"), missing="do this")


@pytest.mark.parametrize("reader", [otb.read, demuse.read])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.999])
def test_truncated_file(reader, share, short, tmp_path):
    write = write_otb if reader is otb.read else write_demuse
    whole = write(tmp_path / "whole.mat", short).read_bytes()
    path = tmp_path / "cut.mat"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ValueError, match=r"cut\.mat"):
        reader(str(path))


@pytest.mark.parametrize(
    "content", [b"no matlab at all" * 40, bytes(range(256)) * 8, b"\x89HDF\r\n\x1a\n" + bytes(600)]
)
@pytest.mark.parametrize("reader", [otb.read, demuse.read])
def test_foreign_bytes(reader, content, tmp_path):
    path = tmp_path / "foreign.mat"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"foreign\.mat"):
        reader(str(path))


@pytest.mark.parametrize(("reader", "kind"), [(otb.read, "no OTBioLab"), (demuse.read, "no DEMUSE")])
def test_foreign_mat_file_names_what_it_holds(reader, kind, tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"x": np.eye(3), "y": 1})
    with pytest.raises(ValueError, match=f"{kind}.*found: x, y"):
        reader(str(tmp_path / "a.mat"))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"SamplingFrequency": np.array([[0]])}, "sampling rate is 0"),
        ({"SamplingFrequency": np.array([[1, 2]])}, "holds 2 values"),
        ({"Description": cell("one")}, "1 descriptions for"),
        ({"Data": "text"}, "no single table"),
        (
            {"Data": np.ones((72, 9)), "Description": cell(*["AUX"] * 72)},
            "72 descriptions for 9 columns .* Data = Data.'",
        ),
    ],
)
def test_otb_wrong_variable(changes, says, short, tmp_path):
    with pytest.raises(ValueError, match=says):
        otb.read(str(write_otb(tmp_path / "a.mat", short, **changes)))


def test_otb_without_decomposition(short, tmp_path):
    bare = dataclasses.replace(short, spike_trains=())
    with pytest.raises(ValueError, match="export the decomposition"):
        otb.read(str(write_otb(tmp_path / "a.mat", bare)))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"fsamp": None}, "no variable 'fsamp'"),
        ({"fsamp": -1.0}, "sampling rate is -1"),
        ({"discardChannelsVec": np.zeros((2, 2))}, "discardChannelsVec"),
        ({"ref_signal": np.zeros((1, 3))}, "ref_signal.*3 samples"),
        (
            {"MUPulses": cell(np.array([[1, 99999999]]), shape=(1, 1))},
            "motor unit 1 has a discharge at sample 99999998",
        ),
        ({"MUPulses": cell(np.array([[-3, 5]]), shape=(1, 1))}, "discharge at sample -4"),
        ({"MUPulses": cell(np.array([[0, 5]]), shape=(1, 1))}, "unit 1 holds 0, pulses are counted from 1; .* add 1"),
        ({"MUPulses": np.arange(4096)[None] % 200 == 0.0}, "must be a row of samples, found 1 x 4096 logical values"),
        ({"MUPulses": cell(np.array([[5, 5]]), shape=(1, 1))}, "there twice"),
        ({"SIG": np.eye(3)}, "no cell array"),
    ],
)
def test_demuse_wrong_variable(changes, says, short, tmp_path):
    with pytest.raises(ValueError, match=says):
        demuse.read(str(write_demuse(tmp_path / "a.mat", short, **changes)))


def test_demuse_wrong_interval(short, tmp_path):
    path = write_demuse(tmp_path / "a.mat", short, stopSIGInt=99.0)
    with pytest.raises(ValueError, match="2 to 99 s of 10 s"):
        demuse.read(str(path), crop=True)


@pytest.mark.parametrize(
    ("value", "says"), [(np.nan, "channel 8 is not finite, first at sample 5"), (np.inf, "channel 8 is not")]
)
def test_a_value_that_is_not_finite(value, says, short):
    signal = short.signal.copy()
    signal[5:9, 7] = value
    with pytest.raises(ValueError, match=says):
        dataclasses.replace(short, signal=signal)


def test_flat_channels_are_named_with_the_way_out(short):
    signal = short.signal.copy()
    signal[:, [2, 40]] = 1.5
    with pytest.raises(ValueError, match=r"channels 3,41 are flat.*discard_channels=\[3,41\]"):
        dataclasses.replace(short, signal=signal)


def test_what_is_named_after_a_discard_is_numbered_as_in_the_file(short, tmp_path):
    signal = short.signal.copy()
    signal[50, 7], signal[:, [9, 11]] = np.nan, 0
    trains = [train if unit in (0, 3) else train[:0] for unit, train in enumerate(short.spike_trains)]
    with broken_allowed():
        broken = dataclasses.replace(short, signal=signal, spike_trains=tuple(trains))
    for write, read in ((write_otb, otb.read), (write_demuse, demuse.read)):
        path = str(write(tmp_path / "a.mat", broken))
        with pytest.raises(
            ValueError, match=r"channel 8 is not finite.* leave it out with .*discard_channels=\[1,2,8\]$"
        ):
            read(path, discard_channels=[2, 1])
        with pytest.raises(
            ValueError, match=r"channels 10,12 are flat; leave them out .*discard_channels=\[2,8,10,12\]$"
        ):
            read(path, discard_channels=[8, 2])
        good = read(path, discard_channels=[8, 10, 12], discard_units=[1])
        assert [len(train) > 0 for train in good.spike_trains] == [False, False, True]
        says = "a: motor units 2,3 have no discharge; leave them out with recording.discard_units=[1,2,3]"
        assert good.without_units([0, 1], ("has no discharge", "have no discharge")) == says


def test_a_force_with_a_hole_is_refused_and_can_be_left_out(short, tmp_path):
    force = short.force.copy()
    force[100] = np.nan
    for write, read in ((write_otb, otb.read), (write_demuse, demuse.read)):
        with broken_allowed(), pytest.raises(ValueError, match="force is not finite"):
            dataclasses.replace(short, force=force)
        object.__setattr__(holed := dataclasses.replace(short), "force", force)
        path = str(write(tmp_path / "a.mat", holed))
        with pytest.raises(
            ValueError, match=r"first at sample 100 .*; read the recording without it with recording.force=false"
        ):
            read(path)
        assert read(path, force=False).force is None


@pytest.mark.parametrize("value", [np.nan, 100.5, np.inf])
def test_demuse_pulses_that_are_no_samples(value, short, tmp_path):
    pulses = [train[None] + 1.0 for train in short.spike_trains]
    pulses[2][0, 5] = value
    path = write_demuse(tmp_path / "a.mat", short, MUPulses=cell(*pulses, shape=(1, -1)))
    with pytest.raises(
        ValueError, match=f"'MUPulses' of motor unit 3 holds {value:g}: pulses are whole numbers of samples"
    ):
        demuse.read(str(path))


def test_each_reader_knows_the_files_of_the_other(short, tmp_path):
    with pytest.raises(ValueError, match="recording=demuse reads DEMUSE's results"):
        otb.read(str(write_demuse(tmp_path / "a.mat", short)))
    with pytest.raises(ValueError, match=r"recording=otb reads exports of OTBioLab\+"):
        demuse.read(str(write_otb(tmp_path / "b.mat", short)))


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"discard_units": [9]}, "no motor unit 9"), ({"discard_channels": list(range(1, 65))}, "leaves nothing")],
)
def test_impossible_discards(changes, says, short, tmp_path):
    with pytest.raises(ValueError, match=says):
        demuse.read(str(write_demuse(tmp_path / "a.mat", short)), **changes)


# ---- the sample recording's downloader ----------------------------------------------------------------------------------


def test_fetch_offline_says_so_in_one_sentence_and_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="pip could not download openhdemg==0.1.2 .*offline"):
        sample.fetch(tmp_path / "data", ("--no-index", "--find-links", str(tmp_path)))
    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.process
def test_fetch_refuses_another_file_of_that_name(tmp_path):
    (tmp_path / "otb_testfile.mat").write_bytes(b"something else")
    done = subprocess.run(
        [sys.executable, "-m", "neuroexp", "fetch", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "is not the sample recording" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.process
def test_fetched_file_is_published_with_its_attribution(sample_recording):
    done = subprocess.run(
        [sys.executable, "-m", "neuroexp", "fetch", str(sample_recording.parent)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Giacomo Valli" in done.stdout
    assert str(sample_recording) in done.stdout
