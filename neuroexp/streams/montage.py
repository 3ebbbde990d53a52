"""Which channels of a live stream a decoder is fed, and in which unit they come."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neuroexp.data import voltages
from neuroexp.deploy.decoder import Spec
from neuroexp.terminal.shown import plain

SHOWN = 12  # labels of a stream, of which a sentence names no more


def chosen(words: str | None, labels: Sequence[str | None], count: int, name: str, spec: Spec) -> NDArray[np.int64]:
    """Return the places (channel,), from 0, of the channels that feed the decoder, in its order.

    `words` names them, parted by commas: a label of the stream, a number from 1, or a range of numbers such as 1-64; without
    it they are all the `count` channels of the stream. Raises ValueError for a channel that the stream does not have or that
    is named twice, and when they are not as many as the run was trained on.
    """
    if words is None:
        if count > spec.n_channels:
            raise ValueError(
                f"lsl:{name} has {count} channels, {spec.name} was trained on {spec.n_channels}: choose them in its order, by "
                f"number such as channels=1-{spec.n_channels} or by label such as {_example(labels)}{_known(labels)}"
            )
        if count < spec.n_channels:
            raise ValueError(f"lsl:{name} has {count} channels, {spec.name} was trained on {spec.n_channels}")
        return np.arange(count)
    places = [place for word in words.split(",") for place in _places(word.strip(), labels, count, name)]
    twice = next((place for number, place in enumerate(places) if place in places[:number]), None)
    if twice is not None:
        raise ValueError(f"channels={words} names channel {twice + 1} of lsl:{name} twice")
    if len(places) != spec.n_channels:
        raise ValueError(
            f"channels={words} chooses {len(places)} of the {count} channels of lsl:{name}, {spec.name} was trained on "
            f"{spec.n_channels}"
        )
    return np.array(places, dtype=np.int64)


def _places(word: str, labels: Sequence[str | None], count: int, name: str) -> list[int]:
    """Return the places of the channels that one word names: labels go before numbers."""
    same = [place for place, label in enumerate(labels[:count]) if label and label.strip() == word]
    if len(same) > 1:
        numbers = ", ".join(str(place + 1) for place in same)
        raise ValueError(f"channels: lsl:{name} has several channels {word}, choose by number: {numbers}")
    if same:
        return same
    found = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", word)
    if found is None:
        raise ValueError(
            f"channels: lsl:{name} has no channel {word or 'without a name'}; valid are numbers from 1 to {count}, ranges such "
            f"as 1-{count}, and labels{_known(labels) or ' where the stream has them'}"
        )
    low, high = int(found[1]), int(found[2] or found[1])
    if not 1 <= low <= high <= count:
        raise ValueError(f"channels: {word} is not within the {count} channels of lsl:{name}, 1-{count}")
    return list(range(low - 1, high))


def _example(labels: Sequence[str | None]) -> str:
    named = [label for label in labels if label][:2]
    return f"channels={','.join(named or ['EMG1', 'EMG2'])},..."


def _known(labels: Sequence[str | None]) -> str:
    named = [label for label in labels if label]
    return f" (its labels: {', '.join(named[:SHOWN])}{', ...' * (len(named) > SHOWN)})" if named else ""


def microvolts(units: Sequence[str | None], taken: NDArray[np.int64], name: str) -> tuple[NDArray[np.float32], str]:
    """Return the microvolts (channel,) of one unit of each channel at the places `taken`, and what to say of it, if anything.

    Channels without a unit are in that of the others, and in microvolts where no channel names one. Raises ValueError for a
    unit that is not known, and when the others have several.
    """
    named = [(place + 1, (units[place] or "").strip() if place < len(units) else "") for place in taken.tolist()]
    for number, unit in named:
        if unit and voltages.microvolts(unit) is None:
            raise ValueError(
                f"lsl:{name} has channel {number} in {plain(unit, 20)}: valid are uV, mV and V, and their names"
            )
    known = {unit for _, unit in named if unit}
    without = [number for number, unit in named if not unit]
    if not known:
        return np.ones(len(named), np.float32), f"lsl:{name} names no unit: its values are taken as microvolts"
    if without and len({voltages.microvolts(unit) for unit in known}) > 1:
        raise ValueError(
            f"lsl:{name} names no unit for channel {without[0]}, and those of the others are {', '.join(sorted(known))}"
        )
    other = min(known)
    scale = np.array([voltages.microvolts(unit or other) for _, unit in named], dtype=np.float32)
    if not without:
        return scale, ""
    which = f"channel {without[0]}" + (f" and {len(without) - 1} more" if len(without) > 1 else "")
    return scale, f"lsl:{name} names no unit for {which}: taken as {plain(other, 20)}, like the others"
