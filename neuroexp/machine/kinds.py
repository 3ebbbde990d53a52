"""What a file of another program is, by its first bytes, and what its owner can do with it: a reader says so."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

HEAD = 1024  # bytes of a file by which it is known
HDF5 = b"\x89HDF\r\n\x1a\n"
GZIP = b"\x1f\x8b"
MATLAB = (b"\x00\x01IM", b"\x01\x00MI")  # bytes 124 to 128 of versions 5 to 7.2, and below of 7.3
MATLAB_HDF5 = (b"\x00\x02IM", b"\x02\x00MI")
LFS = re.compile(rb"version https://git-lfs\.github\.com/spec/.*?(?:\nsize (\d+)|$)", re.DOTALL)
ANNEX = re.compile(r"^(?:[./\\]*\.git)?[/\\]annex[/\\]objects[/\\]")  # how what stands for an annexed file begins
OTB = (".otb", ".otb+", ".otb4")
OTB_PARTS = re.compile(rb"[^\0]*\.(?:sig|sip|pro)\0|(?:abstract|Tracks_\d+|markers_\d+)\.xml\0")  # first in such a tar
TABLE = re.compile(r"[^\n]*[^\n,;\t]([,;\t])[^\n]*\n[^\n]*\1")  # two lines with the same separator

UNFINISHED = (
    ".crdownload",
    ".part",
    ".partial",
    ".opdownload",
    ".filepart",
    ".download",
)  # names until a file is whole

Kind = tuple[str, str | None]  # what a file is, and what to do; None: what is read instead
UNPACK = "unpack it and give what is in it"
AGAIN = "download or copy the file itself once more"
OFFICE = "an Office document"
ZIPPED = {(".npz",): "a NumPy archive (.npz)", (".xlsx", ".docx", ".ods", ".odt"): OFFICE}  # endings -> what it is
# first bytes and kind
MAGIC: tuple[tuple[bytes, str, str | None], ...] = (
    (b"\xac\x27\x91\xd6", "an Intan recording with stimulation (.rhs), which nothing here reads", None),
    (b"\x02\x27\x91\xc6", "an Intan recording (.rhd)", "recording=intan reads a rat's folder of such files"),
    (
        b"\x00\x05\x16\x07",
        "what macOS keeps beside a file on foreign disks",
        "give the file whose name has no ._ in front",
    ),
    (b"\x93NUMPY", "a NumPy array (.npy)", None),
    (b"0       ", "an EDF recording", None),
    (b"\xffBIOSEMI", "a BDF recording", None),
    (b"%PDF-", "a PDF document", None),
    (b"\xd0\xcf\x11\xe0", OFFICE, None),
    (b"SQLite format 3", "an SQLite database", None),
    (b"PAR1", "a Parquet table", None),
    (b"\x89PNG", "a picture (PNG)", None),
    (b"\xff\xd8\xff", "a picture (JPEG)", None),
    (b"BZh", "a compressed file (bzip2)", UNPACK),
    (b"\xfd7zXZ", "a compressed file (xz)", UNPACK),
    (b"\x28\xb5\x2f\xfd", "a compressed file (zstd)", UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "an archive (7z)", UNPACK),
    (b"Rar!", "an archive (RAR)", UNPACK),
    (b"# Created by Octave", "Octave's own text", "save it in Octave with save -v7 FILE.mat"),
    (b"Octave-1-", "Octave's own binary format", "save it in Octave with save -v7 FILE.mat"),
    (b"<?xml", "XML", None),
)


def annexed(text: str) -> str:
    """Return what is said of the text or link that stands for a file in git-annex; empty when it is none."""
    if not ANNEX.match(text):
        return ""
    return "is a git-annex pointer, the file itself was not fetched: git annex get (or datalad get) in its folder brings it"


def said(file: Path, head: bytes, reads: str) -> str:
    """Return what a file is and what to do, as the rest of a sentence that begins with its name; empty when unknown.

    `head` are its first bytes, at most `HEAD`; `reads` says what is read here, as a sentence without its full stop.
    """
    if pointer := _pointer(head):
        return pointer
    for look in (_unfinished, _unwritten, _otb, _matlab, _packed, _listed, _text):
        if known := look(file.name.lower(), head):
            what, advice = known
            return f"is {what}: {advice or reads}"
    return ""


def of(file: Path, reads: str) -> str:
    """Return the same of a file that is there; raises OSError when it cannot be read."""
    with file.open("rb") as opened:
        return said(file, opened.read(HEAD), reads)


def _pointer(head: bytes) -> str:
    if found := LFS.match(head):
        size = f" of {int(found[1]):,} bytes" if found[1] else ""
        return f"is a Git LFS pointer, the file itself{size} was not fetched: git lfs pull in its folder brings it"
    return annexed(head[:200].decode("utf-8", "replace"))


def _unfinished(name: str, _: bytes) -> Kind | None:
    known = name.endswith(UNFINISHED)
    return ("by its name an unfinished download", "let it end, or start it once more") if known else None


def _unwritten(_: str, head: bytes) -> Kind | None:
    if not head:
        return "empty (0 bytes)", AGAIN
    if not head.strip(b"\0"):
        return "nothing but zeros at its beginning", f"it was not written to its end, {AGAIN}"
    return None if head.strip() else ("nothing but blanks at its beginning", AGAIN)


def _otb(name: str, head: bytes) -> Kind | None:
    """Know a project of OTBioLab by its name, or as an archive, compressed or not, that begins as theirs do."""
    tar = _unpacked(head) if head[:2] == GZIP else head
    inside = tar[257:262] == b"ustar" and OTB_PARTS.match(tar)
    if not (inside or name.endswith(OTB)) or head[124:128] in MATLAB:
        return None
    advice = "open it in OTBioLab+ and export signals and decomposition as .mat, which recording=otb reads"
    return "a project of OTBioLab, not an export", advice


def _matlab(name: str, head: bytes) -> Kind | None:
    if head[124:128] in MATLAB_HDF5:
        return "a MATLAB file of version 7.3 (HDF5), which is not read here", "save it in MATLAB with save(..., '-v7')"
    if head[124:128] in MATLAB:
        return "a MATLAB file", None
    if HDF5 in (head[:8], head[512:520]):
        return f"an {'NWB' if name.endswith('.nwb') else 'HDF5'} file, which is not read here", None
    return None


def _packed(name: str, head: bytes) -> Kind | None:
    """Know archives, and the files of programs that are archives inside."""
    if head[:4] == b"PK\x03\x04":
        what = next((what for endings, what in ZIPPED.items() if name.endswith(endings)), "")
        return (what, None) if what else ("an archive (zip)", UNPACK)
    if head[257:262] == b"ustar":
        return "an archive (tar)", UNPACK
    if head[:2] == GZIP:
        json = _unpacked(head)[:1] in (b"{", b"[")
        return ("JSON, compressed, as openhdemg saves it", None) if json else ("a compressed file (gzip)", UNPACK)
    return None


def _unpacked(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(31).decompress(head, HEAD)
    except zlib.error:
        return b""


def _listed(_: str, head: bytes) -> Kind | None:
    if head[0] == 0x80 and head[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        return "a Python pickle, which is never opened here, for it can hold any code", None
    return next(((what, advice) for magic, what, advice in MAGIC if head.startswith(magic)), None)


def _text(name: str, head: bytes) -> Kind | None:
    """Know which kind of text a file is."""
    wide = head[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = head.decode("utf-16" if wide else "utf-8-sig", "replace").rstrip("\ufffd")  # the last letter may be cut
    if any(letter != "\ufffd" and not letter.isprintable() and not letter.isspace() for letter in text):
        return None
    begins = text.strip()[:300].lower()
    if begins.startswith(("<!doctype html", "<html", "<head")):
        return "a web page, such as a server sends where a log-in or another address is needed", AGAIN
    if begins.startswith(("{", "[")):
        return "JSON", None
    if name.endswith(".m"):
        return "a MATLAB script", "run it in MATLAB and save what it makes as .mat"
    if TABLE.match(text) or name.endswith((".csv", ".tsv")):
        return "a table of text (CSV)", None
    return ("text", None) if name.endswith((".txt", ".dat", ".asc", ".md")) else None
