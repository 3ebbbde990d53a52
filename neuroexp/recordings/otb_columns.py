"""What the columns of an OTBioLab+ export are, by their descriptions: channels of the grid, units, sources, the force."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from neuroexp.data.voltages import NAMES, microvolts
from neuroexp.terminal.shown import plain

SPIKES = re.compile(r"^(?:[\d\s-]*-\s*)?decomposition of ", re.IGNORECASE)
SOURCES = re.compile(r"^(?:[\d\s-]*-\s*)?source for decomposition of ", re.IGNORECASE)
FORCE = re.compile(r"acquired data|performed path|force|torque|load ?cell", re.IGNORECASE)
FORCE_UNIT = re.compile(r"k?N|N[ .*]?m|kgf?|lbf?|%\s*\(?MVC\)?", re.IGNORECASE)  # whatever the column is called
TARGET = re.compile(r"performed path", re.IGNORECASE)
UNIT = re.compile(r"\[([^\[\]]*)\]\s*$")
CHANNEL = re.compile(r"^(.*?)\((\d+)\)\s*(?:\[([^\[\]]*)\])?\s*$", re.DOTALL)
ARRAY = re.compile(r"(?:GR|HD)\d\dMM\d{4}", re.IGNORECASE)  # an electrode array: distance, rows and columns
NUMBERS = range(1, 65)  # of the electrodes of an array
FEWEST = 8  # columns of one name that are a grid beside others
MOST_NAMED = 6


@dataclass(frozen=True)
class Columns:
    """The columns of a file, counted from 0."""

    channels: list[int]  # all in a unit that the grid has, numbered in this order
    electrodes: list[int]  # the number that each of `channels` has in its description
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
    numbered: dict[int, tuple[str, int, str | None]] = {}
    for place, text in enumerate(descriptions):
        found = CHANNEL.search(text)
        if found and place not in {*spikes, *sources, force}:
            numbered[place] = (found[1], int(found[2]), None if found[3] is None else found[3].strip())
    grid = _grid(numbered, descriptions, name)
    if not spikes:
        raise ValueError(f"{name}: no column is described as 'Decomposition of ...': export the decomposition as well")
    units = {numbered[place][2] for place in grid}
    channels = [place for place in numbered if numbered[place][2] in units]
    factors = [_factor(numbered[place][2]) or 1.0 for place in channels]
    strangers = [place for place, column in enumerate(channels) if column not in grid]
    used = {*channels, *spikes, *sources, force}
    unknown = [place for place, text in enumerate(descriptions) if place not in used and not FORCE.search(text)]
    notes = _converted(sorted(filter(None, units)))
    if strangers:
        which = _listed("channel", strangers, [descriptions[channels[place]] for place in strangers])
        notes.append(f"{which} not of the electrode grid and left out")
    if unknown:
        which = _listed("column", unknown, [descriptions[place] or "not described" for place in unknown])
        notes.append(f"{which} left out, as neither electrode, motor unit nor force")
    if sources and len(sources) != len(spikes):
        notes.append(
            f"'Source for decomposition of ...' is there {len(sources)} time{'s' * (len(sources) > 1)} for {len(spikes)} motor "
            f"unit{'s' * (len(spikes) > 1)}, so nobody can tell whose pulse-to-noise ratio it is: none is used"
        )
    twice = [channel for channel, count in Counter(numbered[place][:2] for place in grid).items() if count > 1]
    if twice:
        notes.append(
            f"electrode {twice[0][1]} is described twice, so nobody can tell which is where: the shape of the grid is not used"
        )
    electrodes = [numbered[place][1] for place in channels]
    return Columns(channels, electrodes, strangers, factors, spikes, sources, force, force_unit, notes)


def _listed(what: str, places: Sequence[int], descriptions: Sequence[str]) -> str:
    """Return in words which channels or columns, with their verb."""
    named = [f"{place + 1} ({plain(text, 60)})" for place, text in zip(places, descriptions, strict=True)][:MOST_NAMED]
    more = f" and {len(places) - MOST_NAMED} more" if len(places) > MOST_NAMED else ""
    several = len(places) > 1
    return f"{what}{'s' * several} {', '.join(named)}{more} {'are' if several else 'is'}"


def _factor(unit: str | None) -> float | None:
    return None if unit is None else microvolts(unit)


def _grid(numbered: dict[int, tuple[str, int, str | None]], descriptions: Sequence[str], name: str) -> set[int]:
    """Return the columns that are channels of the grid.

    Where descriptions name electrode arrays it is those of an array, with numbers that an array has. The largest grid counts,
    and another one that is at least half as large; where none is larger than a few bipolar channels, all columns do.
    """
    voltages = [place for place, (_, _, unit) in numbered.items() if _factor(unit) is not None]
    if not voltages:
        units = sorted({f"[{plain(unit, 20)}]" for _, _, unit in numbered.values() if unit is not None})
        found = units or [f"'{plain(text, 40)}'" for text in descriptions]  # without channels, what there is instead
        more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
        raise ValueError(
            f"{name}: no column is described as a channel in a unit of voltage that is known, such as '... (1)[uV]', [mV] or "
            f"[V] (found: {', '.join(found[:MOST_NAMED])}{more})"
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
        unit = numbered[place][2]
        if _factor(unit) is None:
            said = (
                "has no unit"
                if unit is None
                else f"is in [{plain(unit, 20)}], which is no unit of voltage that is known"
            )
            raise ValueError(
                f"{name}: column {place + 1} of the electrode grid {said}; valid are [uV], [mV] and [V] at the end of its "
                "description"
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
        channel = CHANNEL.search(text)
        alone = channel is None or (names[channel[1]] < FEWEST and not ARRAY.search(channel[1]))
        unit = said[1].strip() if (said := UNIT.search(text)) else ""
        if place not in others and (FORCE.search(text) or FORCE_UNIT.fullmatch(unit)) and alone:
            percent = unit.startswith("%")
            found.append((not percent, not percent and bool(TARGET.search(text)), place, unit))
    if not found:
        return None, ""
    other, _, place, unit = min(found)
    if not other:
        return place, "% MVC" if "mvc" in unit.lower() else "%"
    return place, plain(unit, 20)
