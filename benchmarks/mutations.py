"""Small valid recordings as files, and changes that damage them: of any bytes, and of what the format says in them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.io
import scipy.sparse
from numpy.random import Generator

HEADER = 128  # bytes before the first variable of a MATLAB 5 file
MATRIX, COMPRESSED, INT32 = 14, 15, 5
BELOW = (0, 1, 2, 7, 8, 127, 128, 255, 32767, 32768, 65535, 65536)
EXTREMES = (*BELOW, 1 << 24, 1 << 27, 1 << 30, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
VALUES = (np.nan, np.inf, -np.inf, -1.0, 0.0, 0.5, 1e-300, 1e300, 1e15, 2.0**63)


def cells(rows: list[list[Any]]) -> np.ndarray[Any, Any]:
    """Return a cell array."""
    found = np.empty((len(rows), len(rows[0])), dtype=object)
    for place in np.ndindex(found.shape):
        found[place] = rows[place[0]][place[1]]
    return found


def demuse() -> dict[str, Any]:
    """Return the variables of a DEMUSE result."""
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(5, 1, 200))
    return {
        "SIG": cells([[np.empty((0, 0)), signal[0]], [signal[1], signal[2]], [signal[3], signal[4]]]),
        "MUPulses": cells([[np.array([[3.0, 50, 120]]), np.array([[20.0, 99]])]]),
        "fsamp": 2048.0,
        "discardChannelsVec": np.zeros((3, 2)),
        "PNR": np.array([[31.0, 28.5]]),
        "ref_signal": rng.random((1, 200)),
        "startSIGInt": 0.01,
        "stopSIGInt": 0.09,
    }


def otb(flat: bool = False) -> dict[str, Any]:
    """Return the variables of an OTBioLab+ export; `flat` ones have no cells."""
    rng = np.random.default_rng(1)
    data = np.concatenate([rng.normal(size=(200, 4)), np.zeros((200, 1)), rng.random((200, 2))], axis=1)
    data[[5, 60, 130], 4] = 1
    texts = [f"Muscle - GR08MM1305 ({i + 1})[uV]" for i in range(4)]
    texts += [
        "Decomposition of Muscle (1)[a.u]",
        "Source for decomposition of Muscle (1)[a.u]",
        "acquired data[ %(MVC)]",
    ]
    return {
        "Data": data if flat else cells([[data]]),
        "Description": texts if flat else cells([[text] for text in texts]),
        "SamplingFrequency": np.array([[2048.0]]),
    }


def signatures() -> dict[str, Any]:
    """Return the variables of a file of signatures."""
    rng = np.random.default_rng(2)
    return {
        f"{part}_data_{what}": rng.integers(-90, 90, (5600, 3)).astype(np.int8)
        if what == "rat"
        else np.array([[1.0, 2, 3]])
        for part in ("training", "test")
        for what in ("rat", "labels")
    }


def matlab(contents: dict[str, Any], version: str) -> bytes:
    """Return the file of some variables."""
    file = io.BytesIO()
    scipy.io.savemat(file, contents, format=version)
    return file.getvalue()


def rhd(seed: int = 3) -> bytes:
    """Return an Intan file with 56 channels and two blocks, of other samples with another seed."""

    def text(value: str) -> bytes:
        raw = value.encode("utf-16-le")
        return struct.pack("<I", len(raw)) + raw

    raw = struct.pack("<I2h", 0xC6912702, 2, 0) + struct.pack(
        "<fh6fh2f", 30000, 1, 1, 0.1, 7500, 1, 0.1, 7500, 0, 1000, 1000
    )
    raw += text("a rat") + text("") + text("µ") + struct.pack("<2h", 0, 0) + text("n/a") + struct.pack("<h", 1)
    raw += text("Port A") + text("A") + struct.pack("<3h", 1, 56, 56)
    for order in range(56):
        raw += text(f"A-{order:03d}") * 2 + struct.pack(
            "<10h2f", order, order, 0, 1, order % 32, 0, 0, 0, 0, 0, 1e5, -45.0
        )
    blocks = np.zeros(2, [("time", "<i4", 128), ("amplifier", "<u2", (56, 128))])
    blocks["time"] = np.arange(256).reshape(2, 128)
    blocks["amplifier"] = np.random.default_rng(seed).integers(0, 1 << 16, (2, 56, 128))
    return raw + blocks.tobytes()


def foreign() -> list[Any]:
    """Return values that belong nowhere in a recording, or only somewhere."""
    nothing = np.empty((0, 0))
    text = "\x1b[2J\u202eevil\n\u200b" + "x" * 300
    return [
        text,
        "",
        ["one", "two"],
        np.array([[1 + 2j]]),
        np.array([[True, False]]),
        scipy.sparse.csc_array(np.eye(3)),
        {"a": 1.0, "b": "c"},
        cells([[np.eye(2), "x"], [nothing, cells([[1.0]])]]),
        cells([[cells([[cells([[np.arange(200.0)]])]])]]),
        np.empty((1, 0), dtype=object),
        nothing,
        np.ones((3, 4, 5)),
        np.ones((5600, 3)),
        np.array([[2**63, 2**64 - 1]], np.uint64),
        np.array([[-5, 100]], np.int16),
        *(np.array([[value]]) for value in VALUES),
    ]


def replaced(contents: dict[str, Any], rng: Generator) -> dict[str, Any]:
    """Return variables of which one, or one cell in it, is something else, or its number is, or it is not there."""
    contents = dict(contents)
    key = str(rng.choice(list(contents)))
    value, others = contents[key], foreign()
    other = others[int(rng.integers(0, len(others)))]
    if isinstance(value, np.ndarray) and value.size and rng.random() < 0.7:
        value = value.astype(object if value.dtype == object else float)
        place = tuple(int(rng.integers(0, size)) for size in value.shape)
        value[place] = other if value.dtype == object else rng.choice(VALUES)
        contents[key] = value
    elif rng.random() < 0.1:
        del contents[key]
    else:
        contents[key] = other
    return contents


def elements(raw: bytearray, start: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (tag, type, first byte of data, end) of the elements of a MATLAB 5 file, those inside of matrices too."""
    while start + 8 <= stop:
        kind, size = struct.unpack_from("<II", raw, start)
        data = start + 8
        if kind >> 16:  # a small element: type and size share four bytes
            kind, size, data = kind & 0xFFFF, kind >> 16, start + 4
        end = start + 8 if data == start + 4 else data + size + -size % 8 * (kind != COMPRESSED)
        yield start, kind, data, min(end, stop)
        if kind == MATRIX:
            yield from elements(raw, data, min(end, stop))
        start = end


def anything(raw: bytearray, rng: Generator) -> None:
    """Change bytes without a look at what they are."""
    place, other = (int(number) for number in rng.integers(0, len(raw), 2))
    size = int(rng.choice([1, 2, 4, 8, 56, 500]))
    match rng.integers(0, 8):
        case 0:
            raw[place] ^= 1 << int(rng.integers(0, 8))
        case 1:
            raw[place] = int(rng.integers(0, 256))
        case 2:
            del raw[max(place, 1) :]
        case 3:
            del raw[place : place + size]
        case 4:
            raw[place:place] = rng.bytes(size)
        case 5:
            raw[place : place + size] = bytes(len(raw[place : place + size]))
        case 6:
            raw[place : place + size], raw[other : other + size] = raw[other : other + size], raw[place : place + size]
        case _:
            put(raw, place, rng)


def put(raw: bytearray, place: int, rng: Generator) -> None:
    """Write an extreme number of 1, 2, 4 or 8 bytes."""
    if rng.random() < 0.2:
        part = struct.pack("<d", rng.choice(VALUES))
    else:
        size = int(rng.choice([1, 2, 4, 4]))
        part = int(rng.choice(EXTREMES)).to_bytes(8, "little")[:size]
    raw[place : place + len(part)] = part[: len(raw) - place]


def put_anywhere(raw: bytearray, rng: Generator) -> None:
    """Write an extreme number somewhere behind the first four bytes."""
    put(raw, int(rng.integers(4, max(len(raw), 5))), rng)


def tags(raw: bytearray, rng: Generator) -> None:
    """Change what a MATLAB 5 file, not compressed, says about one of its elements, or where the element is."""
    found = list(elements(raw, HEADER, len(raw)))
    if not found:
        return
    tag, _, data, end = found[int(rng.integers(0, len(found)))]
    _, _, other, other_end = found[int(rng.integers(0, len(found)))]
    match rng.integers(0, 9):
        case 0:
            raw[tag] = int(rng.integers(0, 21))
        case 1:
            size = int(rng.choice([*EXTREMES, max(end - data + int(rng.integers(-9, 10)), 0)]))
            raw[tag + 4 : tag + 8] = size.to_bytes(4, "little")
        case 2 | 3:  # of the flags of an array: its class, whether it is complex, global or logical
            flags = [data for _, kind, data, end in found if kind == 6 and end - data == 8]
            if flags:
                place = int(rng.choice(flags))
                raw[place + int(rng.integers(0, 2))] = int(rng.choice([*range(20), 0x20, 0x40, 0x80, 0x0F, 0xFF]))
        case 4 | 5:  # its dimensions, and other whole numbers
            numbers = [data for _, kind, data, _ in found if kind == INT32]
            if numbers:
                place = int(rng.choice(numbers)) + 4 * int(rng.integers(0, 2))
                raw[place : place + 4] = int(rng.choice(EXTREMES)).to_bytes(4, "little")
        case 6:
            part = bytes(raw[tag:end])
            raw[other:other_end] = part if rng.random() < 0.5 else b""
        case 7:
            raw[tag:tag] = bytes(raw[tag:end])
        case _:
            if end > data:
                put(raw, int(rng.integers(data, end)) // 8 * 8, rng)


def headers(raw: bytearray, rng: Generator) -> None:
    """Change one of the five numbers before a variable of a MATLAB 4 file."""
    starts: list[int] = []
    place = 0
    while place + 20 <= len(raw) and len(starts) < 10:
        starts.append(place)
        code, rows, columns, imaginary, name = struct.unpack_from("<5i", raw, place)
        width = {0: 8, 1: 4, 2: 4, 3: 2, 4: 2, 5: 1}.get(code // 10 % 10, 8)
        place += max(20 + name + rows * columns * width * (1 + (imaginary == 1)), 20)
    if starts:
        place = int(rng.choice(starts)) + 4 * int(rng.integers(0, 5))
        raw[place : place + 4] = int(rng.choice([*EXTREMES, *range(0, 53)])).to_bytes(4, "little")


def packed(raw: bytearray) -> bytearray:
    """Return a MATLAB 5 file with each of its variables compressed."""
    out, place = raw[:HEADER], HEADER
    while place + 8 <= len(raw):
        end = place + 8 + int.from_bytes(raw[place + 4 : place + 8], "little")
        part = zlib.compress(bytes(raw[place : min(end, len(raw))]))
        out += struct.pack("<II", COMPRESSED, len(part)) + part
        place = end
    return out
