"""Files of other programs, given to every reader: each says what the file is and what to do."""

import gzip
import io
import json
import os
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import cell, write_demuse, write_otb
from hypothesis import given
from hypothesis import strategies as st
from test_eng_readers import FIRST, write_rat
from test_foreign_files import READERS, refusal

from neuroexp.data.recording import Recording, broken_allowed, where
from neuroexp.deploy import executorch_file, onnx_file
from neuroexp.machine import kinds
from neuroexp.recordings import demuse, hdsemg_simulated, intan, otb

pytestmark = pytest.mark.usefixtures("one_parser")
OID = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"
LFS = f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize 12345\n".encode()
ANNEX = f"../.git/annex/objects/Xx/Yy/SHA256E-s9--{OID}.mat/SHA256E-s9--{OID}.mat"
OPENED = "open it in OTBioLab+ and export signals and decomposition as .mat, which recording=otb reads"
V7 = "save it in MATLAB with save(..., '-v7')"
UNPACK = "unpack it and give what is in it"
ENDED = "let it end, or start it once more"
AGAIN = "download or copy the file itself once more"


def tarred(*names: str) -> bytes:
    """Return an archive with files of these names."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size = 3
            archive.addfile(entry, io.BytesIO(b"abc"))
    return out.getvalue()


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.mat", "x")
    return out.getvalue()


def saved(array: np.ndarray, how) -> bytes:
    out = io.BytesIO()
    how(out, array)
    return out.getvalue()


def hdf5(userblock: bytes) -> bytes:
    return userblock + b"\x89HDF\r\n\x1a\n" + bytes(2000)


PROJECT = tarred("signal_1.sig", "abstract.xml")
JSON = json.dumps({"SOURCE": "CUSTOMCSV", "FSAMP": 2048}).encode()
# name, content, what is said of it, and what to do; no advice: what is read instead
FOREIGN = [
    ("S1.otb+", PROJECT, "a project of OTBioLab", OPENED),
    ("S1.otb4", PROJECT, "a project of OTBioLab", OPENED),
    ("S1.otb", gzip.compress(PROJECT), "a project of OTBioLab", OPENED),
    ("S1.OTB+", b"\x01\x02\x03\x04", "a project of OTBioLab", OPENED),
    ("renamed.mat", PROJECT, "a project of OTBioLab", OPENED),
    ("renamed2.mat", gzip.compress(PROJECT), "a project of OTBioLab", OPENED),
    ("S1.csv", b"time,1,2\n" + b"0.1,2,3\n" * 90, "a table of text (CSV)", ""),
    ("semicolon.mat", b"1;2;3\n" * 9, "a table of text (CSV)", ""),
    ("excel.txt", "time\tch1\n0.1\t2\n".encode("utf-16"), "a table of text (CSV)", ""),
    ("S1.json", JSON, "JSON", ""),
    ("openhdemg.json", gzip.compress(JSON), "JSON, compressed, as openhdemg saves it", ""),
    ("lfs.mat", LFS, "a Git LFS pointer, the file itself of 12,345 bytes was not fetched", "git lfs pull"),
    ("annex.mat", ANNEX.encode(), "a git-annex pointer", "git annex get (or datalad get)"),
    ("annex2.mat", f"/annex/objects/SHA256E-s9--{OID}\n".encode(), "a git-annex pointer", "git annex get"),
    ("S1.zip", zipped(), "an archive (zip)", UNPACK),
    ("zip.mat", zipped(), "an archive (zip)", UNPACK),
    ("a.tar", tarred("S1.mat"), "an archive (tar)", UNPACK),
    ("S1.mat.gz", gzip.compress(bytes(500)), "a compressed file (gzip)", UNPACK),
    ("empty.mat", b"", "empty (0 bytes)", AGAIN),
    ("zeros.mat", bytes(5000), "nothing but zeros at its beginning", AGAIN),
    ("blank.mat", b"\r\n" * 600, "nothing but blanks at its beginning", AGAIN),
    (
        "v73.mat",
        hdf5(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(384)),
        "a MATLAB file of version 7.3 (HDF5)",
        V7,
    ),
    ("a.h5", hdf5(b""), "an HDF5 file", ""),
    ("a.nwb", hdf5(b""), "an NWB file", ""),
    ("a.npy", saved(np.zeros(9), np.save), "a NumPy array", ""),
    ("a.npz", saved(np.zeros(9), np.savez), "a NumPy archive", ""),
    ("a.pkl", b"\x80\x04\x95" + bytes(90), "a Python pickle, which is never opened here", ""),
    ("a.html", b"<!DOCTYPE html><html><body>Please log in", "a web page", AGAIN),
    ("page.mat", b"\n <HTML>404", "a web page", AGAIN),
    ("a.xml", b'<?xml version="1.0"?><a/>', "XML", ""),
    ("a.edf", b"0".ljust(256), "an EDF recording", ""),
    ("a.bdf", b"\xffBIOSEMI".ljust(256), "a BDF recording", ""),
    ("a.rhs", b"\xac\x27\x91\xd6" + bytes(90), "an Intan recording with stimulation (.rhs)", ""),
    ("._S1.mat", b"\x00\x05\x16\x07" + bytes(90), "what macOS keeps beside a file", "no ._ in front"),
    ("octave.mat", b"# Created by Octave 8.4.0\n# name: SIG\n", "Octave's own text", "save -v7"),
    ("load.m", b"% reads S1\nx = load('S1.mat');\n", "a MATLAB script", "run it in MATLAB"),
    ("a.xlsx", zipped(), "an Office document", ""),
    (
        "S1.mat.crdownload",
        b"MATLAB 5.0".ljust(124) + b"\x00\x01IM" + bytes(90),
        "by its name an unfinished download",
        ENDED,
    ),
    ("S1.mat.part", bytes(900), "by its name an unfinished download", ENDED),
]
READS = {
    "otb": "recording=otb reads the .mat file that OTBioLab+ exports",
    "demuse": "recording=demuse reads the .mat file that DEMUSE saves",
    "signatures": "recording=signatures reads MATLAB files such as",
    "intan": "recording=intan reads",
}


@pytest.mark.parametrize(("name", "content", "what", "advice"), FOREIGN, ids=[name for name, *_ in FOREIGN])
def test_every_reader_says_what_a_file_is_and_what_to_do(name, content, what, advice, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    for reader, read in (READERS | {"intan": intan.read}).items():
        said = refusal(read, str(path))
        assert f"{name} is {what}" in said, reader
        assert (advice or READS[reader]) in said, reader
    for decoder in (onnx_file, executorch_file):
        assert f"{name} is {what}" in refusal(decoder.read, path)


def test_a_file_in_the_folder_of_a_class_is_known_as_well(tmp_path):
    rat = write_rat(tmp_path / "Rat4")
    for content, what in ((LFS, "a Git LFS pointer"), (zipped(), "an archive (zip)"), (b"", "empty (0 bytes)")):
        (rat / FIRST).write_bytes(content)
        assert f"Do_0.rhd is {what}" in refusal(intan.read, str(rat))
    (rat / FIRST).unlink()
    (rat / FIRST).symlink_to(ANNEX)
    assert "Do_0.rhd is a git-annex pointer" in refusal(intan.read, str(rat))
    (rat / FIRST).unlink()
    (rat / FIRST).with_name("Do_1.rhd").rename((rat / FIRST).with_suffix(".rhs"))
    assert "Dorsiflexion holds no .rhd file (found: Do_0.rhs)" in refusal(intan.read, str(rat))


def test_a_recording_of_a_class_that_is_not_whole_yet_is_not_passed_over(tmp_path):
    rat = write_rat(tmp_path / "Rat4")
    (rat / "Pricking" / "Pr_2.rhd.part").write_bytes((rat / FIRST).read_bytes()[:5000])
    said = refusal(intan.read, str(rat))
    assert said.endswith(f"Pr_2.rhd.part is by its name an unfinished download: {ENDED}")


def test_a_link_into_an_annex_is_no_lost_file(tmp_path):
    (tmp_path / "a.mat").symlink_to(ANNEX)
    for read in READERS.values():
        said = refusal(read, str(tmp_path / "a.mat"), **({} if read is demuse.read else {"missing": "do that"}))
        assert "a.mat is a git-annex pointer" in said
        assert "do that" not in said


def test_folders_and_files_in_the_place_of_one_another(tmp_path):
    rat = write_rat(tmp_path / "Rat4")
    assert f"Do_0.rhd is one file; {READS['intan']} a rat's folder" in refusal(intan.read, str(rat / FIRST))
    assert f"give the folder above, {rat}" in refusal(intan.read, str(rat / "Pricking"))
    (tmp_path / "S2.mat").write_bytes(b"x")
    for read in READERS.values():
        assert "recording=intan reads a rat's folder of Intan files" in refusal(read, str(rat))
        assert "is a folder, not a file; recording=intan" in refusal(read, str(rat / "Pricking"))
        assert "is a folder, not a file; give a file in it, such as S2.mat" in refusal(read, str(tmp_path))
        assert "is an Intan recording (.rhd): recording=intan" in refusal(read, str(rat / FIRST))
    mat = write_otb(tmp_path / "S3.mat", hdsemg_simulated.read(duration_s=1, units=1))
    assert "S3.mat is a MATLAB file: recording=intan reads" in refusal(intan.read, str(mat))


@given(st.binary(max_size=kinds.HEAD), st.sampled_from(["a.mat", "a.csv", "a.otb+", "a"]))
def test_no_bytes_are_too_strange(head, name):
    said = kinds.said(Path(name), head, "nothing is read")
    assert said == "" or (said.startswith("is ") and "\n" not in said)


# ---- what is inside -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def short() -> Recording:
    return hdsemg_simulated.read(duration_s=2, units=3)


@pytest.mark.parametrize(
    ("write", "read", "key"), [(write_otb, otb.read, "SamplingFrequency"), (write_demuse, demuse.read, "fsamp")]
)
def test_a_rate_that_is_text_is_shown(write, read, key, short, tmp_path):
    said = refusal(read, str(write(tmp_path / "a.mat", short, **{key: "2048"})))
    assert f"'{key}' must be one number, found the text '2048'; in MATLAB {key} = 2048 makes it one" in said


def columns(short: Recording, tmp_path: Path) -> np.ndarray:
    """Return the table of an export."""
    import scipy.io

    table = scipy.io.loadmat(write_otb(tmp_path / "a.mat", short))["Data"][0, 0]
    return table.astype(float)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (slice(-300, None), r"in the last 300 samples (from 1.854 s on)"),
        (slice(0, 1), r"in the first 1 sample (to 0.000 s)"),
        (slice(100, 300), r"in 200 samples (between 0.049 and 0.146 s)"),
        (slice(0, None), r"in all samples"),
    ],
)
def test_rows_without_any_number_are_no_units_fault(rows, says, short, tmp_path):
    table = columns(short, tmp_path)
    table[rows] = np.nan
    said = refusal(otb.read, str(write_otb(tmp_path / "b.mat", short, Data=cell(table, shape=(1, 1)))))
    assert f"{says} every column of 'Data' is NaN" in said
    assert "motor unit" not in said
    signal = short.signal.copy()
    signal[rows] = np.nan
    with broken_allowed():
        holed = replace(short, signal=signal)
    for write, read in ((write_otb, otb.read), (write_demuse, demuse.read)):
        said = refusal(read, str(write(tmp_path / "b.mat", holed)))
        assert f"{says} no channel is finite; give a file without that time" in said
        assert "discard_channels" not in said


def test_all_units_at_fault_are_named_with_a_way_out(short, tmp_path):
    table = columns(short, tmp_path)
    first = short.signal.shape[1]
    for unit, out in (
        (0, "recording.discard_units=[1] leaves"),
        (1, "=[1,2] leaves"),
        (2, "export the decomposition anew"),
    ):
        table[-5:, first + unit] = np.nan
        path = str(write_otb(tmp_path / "b.mat", short, Data=cell(table, shape=(1, 1))))
        said = refusal(otb.read, path)
        assert "spike train of motor unit 1 holds values other than 0 and 1, first nan at sample 4091" in said
        assert out in said
        assert ("more are like it" in said) == (unit > 0)
    table = columns(short, tmp_path)
    table[7, first + 3 + 1] = np.inf
    path = str(write_otb(tmp_path / "b.mat", short, Data=cell(table, shape=(1, 1))))
    assert "the source of motor unit 2 holds a value that is not finite, first inf at sample 7" in refusal(
        otb.read, path
    )
    assert len(otb.read(path, discard_units=[2]).spike_trains) == 2


def test_a_recording_without_any_signal_has_no_channels_to_leave_out(short):
    with pytest.raises(ValueError, match="every channel is flat, so there is no signal in it"):
        replace(short, signal=np.zeros_like(short.signal))


@pytest.mark.parametrize("length", [1, 4095, 4097])
def test_a_force_of_another_length_can_be_left_out(length, short, tmp_path):
    path = str(write_demuse(tmp_path / "a.mat", short, startSIGInt=None, ref_signal=np.ones((1, length))))
    said = refusal(demuse.read, path)
    assert f"'ref_signal' has {length} samples, 'SIG' 4096; recording.force=false leaves it out" in said
    assert demuse.read(path, force=False).force is None


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_where_names_what_is_set(flags):
    said = where(np.array(flags), 10.0)
    assert (said == "") == (not any(flags))
    assert said in {"", "all samples"} or f"{sum(flags)} sample" in said


def test_none_of_this_reads_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "is a file, not a folder" in refusal(intan.read, str(tmp_path / "pipe"))
