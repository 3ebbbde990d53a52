"""Simulated rats to train on and others to test on: what a decoder of one nerve knows of another."""

from __future__ import annotations

from collections.abc import Sequence

from neuroexp.data.cuff import Animals, Session
from neuroexp.recordings import eng_simulated


def read(
    test: Sequence[int],
    train: Sequence[int] | None = None,
    duration_s: float = 20,
    beats: int = 2,
    selectivity: float = 0.95,
    spontaneous: float = 5,
    drift: float = 0,
    seed: int = 0,
    neighbours: str = "line",
) -> Animals:
    """Simulate rats to train on and others to test on, for `split=given`.

    Every rat has a nerve of its own: fascicles, conduction velocities, and which of them a stimulus excites.

    Parameters
    ----------
    test : sequence of int
        The rats to test on.
    train : sequence of int, optional
        The rats to train on; None: all others.
    duration_s, beats, selectivity, spontaneous, drift, seed, neighbours
        As in `eng_simulated`.

    Returns
    -------
    Animals

    Raises
    ------
    ValueError
        When a rat is in both parts, or a part is empty.
    """
    rats = list(eng_simulated.SNR_DB)
    training = [rat for rat in rats if rat not in test] if train is None else list(train)
    both = sorted(set(training) & set(test))
    if both:
        raise ValueError(f"rat {both[0]} is in recording.train and in recording.test")
    for name, part in (("train", training), ("test", test)):
        if not part:
            raise ValueError(f"recording.{name} names no rat, there are {', '.join(map(str, rats))}")

    def sessions(part: Sequence[int]) -> list[Session]:
        settings = (duration_s, beats, selectivity, spontaneous, drift, seed, neighbours)
        return [eng_simulated.read(rat, *settings) for rat in part]

    numbers = " ".join(map(str, test))
    name = f"simulated rats {' '.join(map(str, training))}, tested on {numbers}"
    return Animals(name, tuple(sessions(training)), tuple(sessions(test)))
