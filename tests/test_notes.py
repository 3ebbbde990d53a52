"""What readers decide for a file, and what looks wrong in it: the right values, and a sentence that says so."""

import dataclasses

import numpy as np
import pytest
from conftest import cell, write_demuse, write_otb

from neuroexp.data.recording import Recording
from neuroexp.data.voltages import microvolts
from neuroexp.recordings import demuse, hdsemg_simulated, otb
from neuroexp.tasks import plots

pytestmark = pytest.mark.usefixtures("one_parser")


@pytest.fixture(scope="module")
def short() -> Recording:
    return hdsemg_simulated.read(duration_s=10, units=4)


def with_trains(recording: Recording, *trains: np.ndarray) -> Recording:
    return recording.with_spike_trains([np.asarray(train, np.int64) for train in trains])


def inside(recording: Recording, low_s: float, high_s: float) -> Recording:
    """Return a recording of which only a part was decomposed."""
    low, high = low_s * recording.rate_hz, high_s * recording.rate_hz
    return with_trains(recording, *(t[(t >= low) & (t < high)] for t in recording.spike_trains))


# ---- time that nobody decomposed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("edge", [0, 1])
def test_demuse_is_cropped_where_all_pulses_lie_in_its_interval(edge, short, tmp_path):
    part = inside(short, 4, 6)
    low, high = 4 * 2048, 6 * 2048
    ends = part.spike_trains[0], np.array([low, high - 1 + edge])  # a pulse may lie on the very edge
    part = with_trains(part, np.unique(np.concatenate(ends)), *part.spike_trains[1:])
    path = str(write_demuse(tmp_path / "a.mat", part, startSIGInt=4.0, stopSIGInt=6.0))
    read = demuse.read(path)
    assert np.array_equal(read.signal, short.signal[low : high + edge])
    assert all(np.array_equal(a, b - low) for a, b in zip(read.spike_trains, part.spike_trains, strict=True))
    assert len(read.force) == len(read.signal)
    [note] = read.notes
    assert note.startswith("a: only 4 to 6")
    assert note.endswith("nobody decomposed the rest; recording.crop=false uses all")
    whole = demuse.read(path, crop=False)
    assert len(whole.signal) == len(short.signal)
    assert any("as active as elsewhere from " in note for note in whole.notes)
    assert demuse.read(path, crop=True).notes == ()


def test_demuse_is_whole_where_a_pulse_lies_outside_or_its_interval_says_nothing(short, tmp_path):
    middle = inside(short, 4, 6)
    cases = {
        "a pulse outside": (short, {}),
        "all of it": (short, {"startSIGInt": 0.0, "stopSIGInt": 10.0}),
        "none": (middle, {"startSIGInt": None, "stopSIGInt": None}),
        "empty": (middle, {"startSIGInt": np.empty((0, 0)), "stopSIGInt": np.empty((0, 0))}),
        "no pulses": (with_trains(short, *(t[:0] for t in short.spike_trains)), {}),
    }
    for name, (recording, changes) in cases.items():
        read = demuse.read(str(write_demuse(tmp_path / "a.mat", recording, **changes)))
        assert len(read.signal) == len(short.signal), name
        assert not any("SIGInt" in note for note in read.notes), name
    for changes in ({"stopSIGInt": 99.0}, {"startSIGInt": 9.0}, {"startSIGInt": "two"}, {"stopSIGInt": None}):
        read = demuse.read(str(write_demuse(tmp_path / "a.mat", short, **changes)))
        assert len(read.signal) == len(short.signal)
        assert read.notes[0].endswith("the whole recording is used")
    with pytest.raises(ValueError, match="recording.crop=maybe must be true, false, or null"):
        demuse.read(str(tmp_path / "a.mat"), crop="maybe")


def test_an_interval_in_samples_or_a_little_too_long_is_understood(short, tmp_path):
    part, path = inside(short, 4, 6), tmp_path / "a.mat"

    def read(recording: Recording, start: float, stop: float, **settings) -> Recording:
        return demuse.read(str(write_demuse(path, recording, startSIGInt=start, stopSIGInt=stop)), **settings)

    found = read(part, 4.0 * 2048, 6.0 * 2048)
    assert np.array_equal(found.signal, short.signal[4 * 2048 : 6 * 2048])
    assert found.notes[0].startswith("a: only 4 to 6 s of 10 s are used")
    with pytest.raises(ValueError, match="is 8192 to 12288 s of 10 s"):
        read(part, 4.0 * 2048, 6.0 * 2048, crop=True)  # nobody can be sure
    in_ms = read(part, 4000.0, 6000.0)
    assert len(in_ms.signal) == len(short.signal)
    assert in_ms.notes[0].endswith("the whole recording is used")
    late = inside(short, 4, 10)
    assert len(read(late, 4.0, 10.4).signal) == 6 * 2048
    assert len(read(late, 4.0, 10.4, crop=True).signal) == 6 * 2048
    assert read(short, -0.001, 10.0).notes == ()


def test_pulses_astray_of_the_interval_are_named(short, tmp_path):
    part, path = inside(short, 4, 6), str(tmp_path / "a.mat")
    trains = part.spike_trains
    stray = with_trains(part, *trains[:2], np.append(trains[2], 9 * 2048), trains[3])
    write_demuse(tmp_path / "a.mat", stray, startSIGInt=4.0, stopSIGInt=6.0)
    read = demuse.read(path)
    assert len(read.signal) == len(short.signal)
    count = sum(map(len, stray.spike_trains))
    assert read.notes[0] == (
        f"a: 1 of {count} pulses lies outside startSIGInt to stopSIGInt, so that all 10 s are used; "
        "recording.crop=true keeps 4 to 6 s alone"
    )
    assert len(demuse.read(path, crop=True).signal) == 2 * 2048
    assert len(demuse.read(path, discard_units=[3]).signal) == 2 * 2048  # the others all lie inside
    moved = with_trains(part, *(train - 4 * 2048 for train in trains))
    write_demuse(tmp_path / "a.mat", moved, startSIGInt=4.0, stopSIGInt=6.0)
    assert demuse.read(path).notes[0].startswith("a: all pulses lie outside startSIGInt to stopSIGInt")


def test_what_to_leave_out_is_named_at_once_beside_what_is_left_out_already(short, tmp_path):
    path = str(write_demuse(tmp_path / "a.mat", short, PNR=np.array([[np.nan, 31.0, np.nan, 30.0]])))
    for typed, says in (([], "1,3"), ([2], "1,2,3"), ([1], "1,3")):
        with pytest.raises(ValueError, match=rf"'PNR' of motor unit . is nan.* recording.discard_units=\[{says}\]"):
            demuse.read(path, discard_units=typed)
    assert len(demuse.read(path, discard_units=[1, 3]).spike_trains) == 2
    pulses = cell(*(train[None] + 1 + (unit == 1) * 30_000 for unit, train in enumerate(short.spike_trains)))
    path = str(write_demuse(tmp_path / "a.mat", short, MUPulses=pulses))
    with pytest.raises(ValueError, match=r"outside 0 to 20479; leave it out with recording.discard_units=\[2,4\]"):
        demuse.read(path, discard_units=[4])
    for changes, says in (
        ({"discardChannelsVec": np.zeros((1, 64))}, "is 1 x 64, the grid of 'SIG' is 13 x 5, .*keep_discarded=true"),
        ({"MUPulses": cell(np.eye(1, 20480))}, "holds a 0 or 1 for each sample; in MATLAB find"),
    ):
        path = str(write_demuse(tmp_path / "a.mat", short, **changes))
        with pytest.raises(ValueError, match=says):
            demuse.read(path)
    assert demuse.read(
        str(write_demuse(tmp_path / "a.mat", short, discardChannelsVec=np.zeros(9))), keep_discarded=True
    )


@pytest.mark.parametrize("corner", [0.0, np.nan])
def test_an_electrode_of_another_length_is_the_odd_one(corner, short, tmp_path):
    import scipy.io

    signals = scipy.io.loadmat(write_demuse(tmp_path / "a.mat", short))["SIG"].copy()
    signals[0, 0] = np.array([[corner]])
    with pytest.raises(
        ValueError, match=r"row 1, column 1 has 1 sample, others have 20480; .* in MATLAB SIG\{1,1\} = \[\]"
    ):
        demuse.read(str(write_demuse(tmp_path / "a.mat", short, SIG=signals)))


def test_long_activity_without_a_discharge_is_named(short, tmp_path):
    active = np.flatnonzero(short.force > 0.9 * short.force.max()) / 2048
    begin, end = np.ceil(active[0]), np.floor(active[-1])
    assert end - begin >= 4
    part = inside(short, begin, begin + 1)
    for read in (
        otb.read(str(write_otb(tmp_path / "a.mat", part))),
        demuse.read(str(write_demuse(tmp_path / "a.mat", part, startSIGInt=None))),
    ):
        said = [note for note in read.notes if "as active as elsewhere" in note]
        assert len(said) == 1
        first, last = (float(word) for word in said[0].split("from ")[1].split(" s,")[0].split(" to "))
        assert abs(first - begin - 1) <= 0.25
        assert last >= end - 0.25
    for forceless in (short, dataclasses.replace(short, force=None)):
        assert otb.read(str(write_otb(tmp_path / "a.mat", forceless))).notes == ()


# ---- channels and units that a file itself doubts -------------------------------------------------------------------------


def test_discarded_channels_can_be_kept(short, tmp_path):
    marks = np.zeros((13, 5))
    marks[3, 1] = marks[4, 1] = 1
    numbers = sorted(int(short.grid[row, 1]) + 1 for row in (3, 4))
    path = str(write_demuse(tmp_path / "a.mat", short, discardChannelsVec=marks))
    read = demuse.read(path)
    assert read.signal.shape[1] == 62
    assert read.notes == (
        f"a: channels {numbers[0]},{numbers[1]} are marked as discarded and left out; recording.keep_discarded=true keeps all",
    )
    kept = demuse.read(path, keep_discarded=True)
    assert np.array_equal(kept.signal, short.signal)
    assert kept.notes == ()
    assert demuse.read(path, keep_discarded=True, discard_channels=numbers[:1]).signal.shape[1] == 63


def test_units_of_a_low_pulse_to_noise_ratio_are_left_out_by_name(short, tmp_path):
    path = str(write_demuse(tmp_path / "a.mat", short, PNR=np.array([[31.0, 29.9, 30.0, 12.0]])))
    read = demuse.read(path, min_pnr_db=30)
    assert [len(train) for train in read.spike_trains] == [len(short.spike_trains[unit]) for unit in (0, 2)]
    assert (read.pnr_db, read.discarded_units) == ((31.0, 30.0), (2, 4))
    assert read.notes == ("a: motor units 2 (29.9 dB), 4 (12.0 dB) are left out: below recording.min_pnr_db=30",)
    assert demuse.read(path, min_pnr_db=30, discard_units=[4]).notes == (
        "a: motor unit 2 (29.9 dB) is left out: below recording.min_pnr_db=30",
    )
    for value, says in (
        (50, "no motor unit reaches recording.min_pnr_db=50, the highest ratio is 31.0 dB"),
        (np.nan, "must be a number of decibels"),
        ("high", "must be a number of decibels"),
    ):
        with pytest.raises(ValueError, match=says):
            demuse.read(path, min_pnr_db=value)
    bare = str(write_demuse(tmp_path / "b.mat", short))
    with pytest.raises(ValueError, match="b: recording.min_pnr_db=30 needs the pulse-to-noise ratio"):
        demuse.read(bare, min_pnr_db=30)


def test_ratios_that_are_not_one_per_unit_are_named_and_not_used(short, tmp_path):
    path = str(write_demuse(tmp_path / "a.mat", short, PNR=np.full((1, 5), 31.0)))
    read = demuse.read(path)
    assert read.pnr_db == ()
    assert len(read.spike_trains) == 4
    assert read.notes == (
        "a: 'PNR' holds 5 values for 4 motor units, so nobody can tell whose they are: it is not used",
    )
    with pytest.raises(ValueError, match=r"min_pnr_db=30 needs .* this file tells none that can be used"):
        demuse.read(path, min_pnr_db=30)


# ---- labels that nobody looked at -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lag", [0, 9])
@pytest.mark.parametrize(("share", "named"), [(1.0, True), (0.4, True), (0.2, False)])
def test_units_that_share_their_discharges_are_named(lag, share, named, short, tmp_path):
    first, second, third = short.spike_trains[:3]
    rng = np.random.default_rng(0)
    twin = np.sort(rng.choice(first, round(share * len(first)), replace=False)) + lag
    alone = rng.choice(np.setdiff1d(np.arange(4096, 16000, 150), first), len(first) - len(twin), replace=False)
    path = str(write_demuse(tmp_path / "a.mat", with_trains(short, first, second, np.unique([*twin, *alone]), third)))
    said = [note for note in demuse.read(path).notes if "share their discharges" in note]
    assert bool(said) == named
    if named:
        assert said[0].startswith("a: motor units 1 and 3 (")
        assert "recording.discard_units=[3]" in said[0]
        again = demuse.read(path, discard_units=[3])
        assert not any("share" in note for note in again.notes)
        later = [note for note in demuse.read(path, discard_units=[2]).notes if "share" in note]
        assert "motor units 1 and 3 (" in later[0]
        assert "recording.discard_units=[2,3]" in later[0]


def test_of_two_that_are_one_the_better_stays(short, tmp_path):
    twice = with_trains(short, short.spike_trains[0], short.spike_trains[1], short.spike_trains[0])
    for ratios, worse in (([30.0, 40, 35], 1), ([35.0, 40, 30], 3)):
        read = demuse.read(str(write_demuse(tmp_path / "a.mat", twice, PNR=np.array([ratios]))))
        assert [f"discard_units=[{worse}]" in note for note in read.notes] == [True]


@pytest.mark.parametrize("apart", [1, 6, 10])
def test_pulses_within_the_refractory_time_are_counted(apart, short, tmp_path):
    trains = [
        np.unique([*train, *train[:7] + apart]) if unit == 1 else train for unit, train in enumerate(short.spike_trains)
    ]
    doubled = with_trains(short, *trains)
    for read in (
        otb.read(str(write_otb(tmp_path / "a.mat", doubled))),
        demuse.read(str(write_demuse(tmp_path / "a.mat", doubled))),
    ):
        [note] = read.notes
        assert note.startswith("a: motor unit 2 (7 times) discharges again within 5 ms")
        assert note.endswith("leave it out with recording.discard_units=[2]")


def test_clean_recordings_have_no_notes(short, tmp_path, sample_recording):
    assert short.notes == otb.read(str(write_otb(tmp_path / "a.mat", short))).notes == ()
    assert demuse.read(str(write_demuse(tmp_path / "a.mat", short))).notes == ()
    assert otb.read(str(sample_recording)).notes == ()


# ---- units of measure -----------------------------------------------------------------------------------------------------

VOLTAGES = {
    1e6: ("V", "v", "Volt", "volts"),
    1e3: ("mV", "MV", "millivolts", "milli volt"),
    1.0: (
        "uV",
        "UV",
        "\u00b5V",
        "\u03bcV",
        "\u039cV",
        "microvolt",
        "MicroVolts",
        "u V",
        " uV ",
        "\u00c2\u00b5V",
        "\\muV",
        "mcV",
    ),
    1e-3: ("nV",),
}


def described(recording: Recording, unit: str, *more: str) -> dict[str, object]:
    """Return the descriptions of a recording as `write_otb` writes it, its channels in a unit, and more columns."""
    units = range(1, len(recording.spike_trains) + 1)
    texts = [f"Muscle - AUX 3 - GR08MM1305 ({i + 1})[{unit}]" for i in range(recording.signal.shape[1])]
    texts += [f"Decomposition of Muscle - GR08MM1305 ({i})[a.u]" for i in units]
    texts += [f"Source for decomposition of Muscle - GR08MM1305 ({i})[a.u]" for i in units]
    return {"Description": cell(*texts, *more)}


def with_columns(recording: Recording, *columns: np.ndarray) -> np.ndarray:
    """Return the data of a recording as `write_otb` writes it, without its force, and more columns."""
    spikes = np.zeros((len(recording.signal), len(recording.spike_trains)), np.float32)
    for unit, train in enumerate(recording.spike_trains):
        spikes[train, unit] = 1
    table = np.concatenate([recording.signal, spikes, spikes, *(column[:, None] for column in columns)], axis=1)
    return cell(table, shape=(1, 1))


@pytest.mark.parametrize("factor", VOLTAGES)
def test_units_of_voltage_become_microvolts(factor, short, tmp_path):
    scaled = dataclasses.replace(short, signal=(short.signal / np.float32(factor)), force=None)
    for unit in VOLTAGES[factor]:
        assert microvolts(unit) == factor
    for unit in VOLTAGES[factor][:3]:
        read = otb.read(str(write_otb(tmp_path / "a.mat", scaled, **described(scaled, unit))))
        np.testing.assert_allclose(read.signal, short.signal, rtol=1e-5)
        assert len(read.notes) == (factor != 1)
        assert all("and were converted to microvolts" in note for note in read.notes)


@pytest.mark.parametrize("unit", ["a.u.", "uA", "", "uV/bit", "%", "mV2"])
def test_a_unit_that_is_not_known_is_named(unit, short, tmp_path):
    bare = dataclasses.replace(short, force=None)
    with pytest.raises(
        ValueError, match=r"a.mat: no column .* unit of voltage that is known, such as '... \(1\)\[uV\]'"
    ) as caught:
        otb.read(str(write_otb(tmp_path / "a.mat", bare, **described(short, unit))))
    assert f"(found: [{unit}])" in str(caught.value)
    texts = described(short, "uV")["Description"].copy()
    texts[4, 0] = f"Muscle - AUX 3 - GR08MM1305 (5)[{unit}]"
    with pytest.raises(ValueError, match="column 5 of the electrode grid is in ") as caught:
        otb.read(str(write_otb(tmp_path / "a.mat", bare, Description=texts)))
    assert f"is in [{unit}], which is no unit of voltage that is known; valid are [uV], [mV] and [V]" in str(
        caught.value
    )


def test_a_file_of_forces_alone_is_refused_by_what_it_holds(short, tmp_path):
    texts = ("acquired data[ %(MVC)]", "performed path[ %(MVC)]", *(f"AUX {number}[V]" for number in range(5)))
    columns = np.random.default_rng(0).normal(size=(4096, len(texts)))
    with pytest.raises(ValueError, match="no column is described as a channel") as caught:
        otb.read(str(write_otb(tmp_path / "a.mat", short, Data=columns, Description=cell(*texts))))
    assert "(found: 'acquired data[ %(MVC)]', 'performed path[ %(MVC)]', 'AUX 0[V]'" in str(caught.value)
    assert str(caught.value).endswith("'AUX 3[V]' and 1 more)")


@pytest.mark.parametrize(
    ("scale", "says"),
    [
        (1e-6, "volts take recording.scale_uv=1e6"),
        (1e-3, "millivolts recording.scale_uv=1000"),
        (1e4, "nanovolts take recording.scale_uv=0.001"),
    ],
)
def test_a_spread_that_no_muscle_has_is_named_once_with_what_to_type(scale, says, short, tmp_path):
    scaled = dataclasses.replace(short, signal=short.signal * np.float32(scale))
    path = str(write_demuse(tmp_path / "a.mat", scaled))
    [note] = demuse.read(path).notes
    assert note.startswith("a: its channels have a standard deviation of ")
    assert says in note
    right = demuse.read(path, scale_uv=1 / scale)
    assert right.notes == ()
    np.testing.assert_allclose(right.signal, short.signal, rtol=1e-5)
    [note] = otb.read(str(write_otb(tmp_path / "b.mat", scaled))).notes
    assert says in note
    np.testing.assert_allclose(otb.read(str(tmp_path / "b.mat"), scale_uv=1 / scale).signal, short.signal, rtol=1e-5)


@pytest.mark.parametrize("value", [0, -1, np.nan, np.inf, "mV", True])
def test_a_scale_that_is_none(value, tmp_path):
    for read in (demuse.read, otb.read):
        with pytest.raises(ValueError, match="recording.scale_uv=.* must be a positive number"):
            read(str(tmp_path / "a.mat"), scale_uv=value)


@pytest.mark.parametrize(
    ("texts", "chosen", "unit"),
    [
        (["acquired data[N]"], 0, "N"),
        (["Force transducer[kg]"], 0, "kg"),
        (["AUX 1 - Torque (1)[V]"], 0, "V"),
        (["performed path[a.u.]", "acquired data[a.u.]"], 1, "a.u."),
        (["acquired data[N]", "performed path[ %(MVC)]"], 1, "% MVC"),
        (["acquired data[%]"], 0, "%"),
        (["acquired data"], 0, ""),
        (["Load cell (1)[kg]"], 0, "kg"),
        (["Forza[Nm]"], 0, "Nm"),
    ],
)
def test_a_force_keeps_its_unit_and_axes_name_it(texts, chosen, unit, short, tmp_path):
    forces = [short.force + 5 * number for number in range(len(texts))]
    changes = described(short, "uV", *texts) | {"Data": with_columns(short, *forces)}
    read = otb.read(str(write_otb(tmp_path / "a.mat", short, **changes)))
    assert np.array_equal(read.force, forces[chosen])
    assert read.force_unit == unit
    assert read.signal.shape[1] == 64
    assert read.notes == ()
    centres = np.arange(0, 2000, 20)
    nothing = np.zeros((len(centres), 4), bool)
    labels = {axes.get_ylabel() for axes in plots.raster(read, centres, nothing, nothing).axes}
    assert f"force ({unit or 'unit not known'})" in labels
    assert otb.read(str(tmp_path / "a.mat"), force=False).force is None


def test_nobody_says_percent_of_a_demuse_force(short, tmp_path):
    centres, nothing = np.arange(0, 2000, 20), np.zeros((100, 4), bool)
    read = demuse.read(str(write_demuse(tmp_path / "a.mat", short)))
    for recording, label in ((read, "force (unit not known)"), (short, "force (% MVC)")):
        assert label in {axes.get_ylabel() for axes in plots.raster(recording, centres, nothing, nothing).axes}


# ---- columns that are not of the grid -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "Biceps - bipolar (1)[uV]",
        "AUX 2 (1)[uV]",
        "Muscle - AUX 3 - GR08MM1305 (65)[uV]",
        "Muscle - IN 2 - GR10MM0808 (1)[uV]",
    ],
)
def test_a_channel_that_is_not_of_the_grid_is_left_out_and_named(text, short, tmp_path):
    changes = described(short, "uV", text) | {"Data": with_columns(short, short.signal[:, 0] * 3)}
    path = str(write_otb(tmp_path / "a.mat", short, **changes))
    read = otb.read(path)
    assert np.array_equal(read.signal, short.signal)
    assert read.grid.shape == (13, 5)
    assert read.notes == (f"a: channel 65 ({text}) is not of the electrode grid and left out",)
    assert read.discarded_channels == (65,)
    assert otb.read(path, discard_channels=[65]).signal.shape[1] == 64  # what was typed for an earlier version
    assert np.array_equal(otb.read(path, discard_channels=[1]).signal, short.signal[:, 1:])


def test_without_names_of_arrays_the_grid_is_what_most_columns_belong_to(short, tmp_path):
    for names, width in (
        (["Muscle"] * 64 + ["Other"], 64),
        (["A"] * 32 + ["B"] * 33, 65),
        ([f"M{i}" for i in range(65)], 65),
    ):
        texts = described(short, "uV", "")["Description"].copy()
        texts[:64, 0] = [f"{name} ({i + 1})[uV]" for i, name in enumerate(names[:64])]
        texts[-1, 0] = f"{names[-1]} (1)[uV]"
        changes = {"Description": texts, "Data": with_columns(short, short.signal[:, 0] * 3)}
        read = otb.read(str(write_otb(tmp_path / "a.mat", short, **changes)))
        assert read.signal.shape[1] == width, names[-1]


def test_electrodes_have_their_place_by_number_in_whatever_order_the_columns_are(short, tmp_path):
    order = np.random.default_rng(0).permutation(64)
    texts = described(short, "uV")["Description"].copy()
    texts[:64, 0] = [f"Muscle - AUX 3 - GR08MM1305 ({i + 1})[uV]" for i in order]
    mixed = dataclasses.replace(short, signal=short.signal[:, order], grid=None, force=None)
    read = otb.read(str(write_otb(tmp_path / "a.mat", mixed, Description=texts)))
    usual = otb.read(str(write_otb(tmp_path / "b.mat", dataclasses.replace(short, force=None))))
    for row, column in np.argwhere(usual.grid >= 0):
        one, other = read.signal[:, read.grid[row, column]], usual.signal[:, usual.grid[row, column]]
        assert np.array_equal(one, other)
    texts[5, 0] = texts[6, 0]
    read = otb.read(str(write_otb(tmp_path / "a.mat", mixed, Description=texts)))
    assert (read.grid, read.signal.shape[1]) == (None, 64)
    assert read.notes == (
        f"a: electrode {order[6] + 1} is described twice, so nobody can tell which is where: the shape of the grid is not used",
    )


def test_no_column_is_left_out_without_a_word(short, tmp_path):
    bare = dataclasses.replace(short, force=None)
    texts = described(short, "uV")["Description"]

    def changed(place: int, text: str) -> str:
        other = texts.copy()
        other[place, 0] = text
        return str(write_otb(tmp_path / "a.mat", bare, Description=other))

    with pytest.raises(ValueError, match="a.mat: column 5 of the electrode grid has no unit; valid are"):
        otb.read(changed(4, "Muscle - AUX 3 - GR08MM1305 (5)"))
    for text, said in (("", "not described"), ("AUX 1[V]", "AUX 1[V]"), ("Muscle - GR08MM1305[uV]",) * 2):
        [note] = otb.read(changed(4, text)).notes
        assert note == f"a: column 5 ({said}) is left out, as neither electrode, motor unit nor force"
    said = otb.read(changed(70, "AUX 1[V]")).notes
    assert said[1].startswith("a: 'Source for decomposition of ...' is there 3 times for 4 motor units")
    assert said[1].endswith("none is used")


def test_two_arrays_are_both_read(short, tmp_path):
    twice = dataclasses.replace(
        short, signal=np.concatenate([short.signal, short.signal * 2], axis=1), grid=None, force=None
    )
    read = otb.read(str(write_otb(tmp_path / "a.mat", twice)))
    assert read.signal.shape[1] == 64  # numbered 1 to 128 by one array of 64
    texts = described(twice, "uV")["Description"].copy()
    texts[64:128, 0] = [f"Other - GR10MM0808 ({i + 1})[uV]" for i in range(64)]
    read = otb.read(str(write_otb(tmp_path / "a.mat", twice, Description=texts)))
    assert np.array_equal(read.signal, twice.signal)
    assert (read.grid, read.notes) == (None, ())


def test_otb_units_of_a_low_pulse_to_noise_ratio_are_left_out(sample_recording):
    read = otb.read(str(sample_recording), min_pnr_db=30)
    assert [round(ratio) for ratio in read.pnr_db] == [31, 32]
    assert read.discarded_units == (3, 4, 5)
    assert len(read.notes) == 1
    assert read.notes[0].startswith("otb_testfile: motor units 3 (")


# ---- from the reader to the run and the terminal --------------------------------------------------------------------------


def test_notes_reach_run_log_and_terminal_once(short, several, tmp_path):
    part = inside(short, 3, 8)
    write_demuse(tmp_path / "a.mat", part, startSIGInt=3.0, stopSIGInt=8.0, PNR=np.full((1, 5), 31.0))
    words = ["-m", "recording=demuse", "recording.path=a.mat", "trainer=smoke", "fold=0,1", "window=20", "step=20"]
    first, second = several([words, words])
    for done in (first, second):
        assert done.code == 0, done.out
        assert done.text.count("a: only 3 to 8 s of 10 s are used") == 1
        assert done.text.count("a: 'PNR' holds 5 values for 4 motor units") == 1
    files = sorted((tmp_path / "outputs" / "artifacts").rglob("notes.txt"))
    assert len(files) == 2
    for path in files:
        assert len(path.read_text().splitlines()) == 2
        assert "a: only 3 to 8 s" in (path.parent / "job.log").read_text()
    assert [result["status"] for result in second.results()] == ["skipped", "skipped"]
