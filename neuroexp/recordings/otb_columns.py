"""What the columns of an OTBioLab+ export are, by their descriptions: channels of the grid, units, sources, the force."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from neuroexp.shown import plain
from neuroexp.voltages import NAMES, microvolts

SPIKES = re.compile(r"^(?:[\d\s-]*-\s*)?decomposition of ", re.IGNORECASE)
SOURCES = re.compile(r"^(?:[\d\s-]*-\s*)?source for decomposition of ", re.IGNORECASE)
FORCE = re.compile(r"acquired data|performed path|force|torque", re.IGNORECASE)
TARGET = re.compile(r"performed path", re.IGNORECASE)
UNIT = re.compile(r"\[([^\[\]]*)\]\s*$")
CHANNEL = re.compile(r"^(.*?)\((\d+)\)\s*\[([^\[\]]*)\]\s*$", re.DOTALL)
ARRAY = re.compile(r"(?:GR|HD)\d\dMM\d{4}", re.IGNORECASE)  # an electrode array: distance, rows and columns
NUMBERS = range(1, 65)  # of the electrodes of an array
FEWEST = 8  # columns of one name that are a grid beside others
MOST_NAMED = 6


@dataclass(frozen=True)
class Columns:
    """The columns of a file, counted from 0."""

    channels: list[int]  # all in a unit that the grid has, numbered in this order
    strangers: list[int]  # places in `channels` of those that are not of the grid
    factors: list[float]  # microvolts in the unit of each of `channels`
    spikes: list[int]
    sources: list[int]
    force: int | None
    force_unit: str
    notes: list[str]  # without the file's name


def columns(descriptions: Sequence[str], name: str) -> Columns:
    """Sort the columns of a file by their descriptions; `name` is the file's, for sentences.

    Raises ValueError when none is a channel in a unit of voltage, a channel of the grid is in another one, or none is a
    spike train.
    """
    spikes = [place for place, text in enumerate(descriptions) if SPIKES.search(text)]
    sources = [place for place, text in enumerate(descriptions) if SOURCES.search(text)]
    force, force_unit = _force(descriptions, {*spikes, *sources})
    numbered: dict[int, tuple[str, int, str]] = {}
    for place, text in enumerate(descriptions):
        found = CHANNEL.search(text)
        if found and place not in {*spikes, *sources, force}:
            numbered[place] = (found[1], int(found[2]), found[3].strip())
    grid = _grid(numbered, name)
    if not spikes:
        raise ValueError(f"{name}: no column is described as 'Decomposition of ...': export the decomposition as well")
    units = {numbered[place][2] for place in grid}
    channels = [place for place in numbered if numbered[place][2] in units]
    factors = [microvolts(numbered[place][2]) or 1.0 for place in channels]
    strangers = [place for place, column in enumerate(channels) if column not in grid]
    notes = _converted(sorted(units))
    if strangers:
        named = [f"{place + 1} ({plain(descriptions[channels[place]], 60)})" for place in strangers[:MOST_NAMED]]
        more = f" and {len(strangers) - MOST_NAMED} more" if len(strangers) > MOST_NAMED else ""
        several = len(strangers) > 1
        notes.append(
            f"channel{'s' * several} {', '.join(named)}{more} {'are' if several else 'is'} not of the "
            "electrode grid and left out"
        )
    return Columns(channels, strangers, factors, spikes, sources, force, force_unit, notes)


def _grid(numbered: dict[int, tuple[str, int, str]], name: str) -> set[int]:
    """Return the columns that are channels of the grid.

    Where descriptions name electrode arrays it is those of an array, with numbers that an array has. The largest grid counts,
    and another one that is at least half as large; where none is larger than a few bipolar channels, all columns do.
    """
    voltages = [place for place, (_, _, unit) in numbered.items() if microvolts(unit) is not None]
    if not voltages:
        units = sorted({unit for _, _, unit in numbered.values()})
        found = f" (found: {', '.join(f'[{plain(unit, 20)}]' for unit in units[:MOST_NAMED])})" if units else ""
        raise ValueError(
            f"{name}: no column is described as a channel in a unit of voltage that is known, such as '... (1)[uV]', [mV] or "
            f"[V]{found}"
        )
    arrays = [place for place in numbered if ARRAY.search(numbered[place][0])]
    named = any(place in arrays for place in voltages)
    if named:
        possible = [place for place in arrays if numbered[place][1] in NUMBERS] or arrays
    else:
        possible = [place for place in numbered if numbered[place][0] in {numbered[other][0] for other in voltages}]
    sizes = Counter(_group(numbered[place][0]) for place in possible)
    most = max(sizes.values())
    grid = [place for place in possible if most < FEWEST or 2 * sizes[_group(numbered[place][0])] >= most]
    for place in grid:
        if microvolts(numbered[place][2]) is None:
            raise ValueError(
                f"{name}: column {place + 1} of the electrode grid is in [{plain(numbered[place][2], 20)}], which is no unit "
                "of voltage that is known; valid are [uV], [mV] and [V]"
            )
    return set(grid)


def _group(text: str) -> str:
    """Return what the channels of one grid have in common: the name of the electrode array, else all before the number."""
    found = ARRAY.search(text)
    return found[0].upper() if found else text


def _converted(units: Sequence[str]) -> list[str]:
    """Return a note on the units that are not microvolts."""
    names = sorted({NAMES[known] for unit in units if (known := microvolts(unit)) not in (None, 1.0)})
    return [f"its channels are in {' and '.join(names)}, and were converted to microvolts"] if names else []


def _force(descriptions: Sequence[str], others: set[int]) -> tuple[int | None, str]:
    """Return the column of the force and its unit: one in percent first, and a measured one before the path to follow.

    Columns that are numbered under one name are the channels of a muscle, whatever it is called.
    """
    names = Counter(channel[1] for channel in map(CHANNEL.search, descriptions) if channel)
    found: list[tuple[bool, bool, int, str]] = []
    for place, text in enumerate(descriptions):
        unit, channel = UNIT.search(text), CHANNEL.search(text)
        alone = channel is None or (names[channel[1]] < FEWEST and not ARRAY.search(channel[1]))
        if place not in others and FORCE.search(text) and unit and alone:
            percent = unit[1].strip().startswith("%")
            found.append((not percent, not percent and bool(TARGET.search(text)), place, unit[1].strip()))
    if not found:
        return None, ""
    other, _, place, said = min(found)
    if not other:
        return place, "% MVC" if "mvc" in said.lower() else "%"
    return place, plain(said, 20)
