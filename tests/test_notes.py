"""What readers decide for a file, and what looks wrong in it: the right values, and a sentence that says so."""

import dataclasses

import numpy as np
import pytest
from conftest import write_demuse, write_otb

from neuroexp.recording import Recording
from neuroexp.recordings import demuse, hdsemg_simulated, otb

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
