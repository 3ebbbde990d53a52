"""Two simulated contractions of one muscle, one to train on and one to test on, with the same motor units labelled."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache

import numpy as np

from neuroexp.data.recording import Recording
from neuroexp.recordings.hdsemg_simulated import RATE_HZ, simulate


@lru_cache(maxsize=2)
def read(
    subject: int = 1,
    train_mvc: float = 30,
    test_mvc: float = 50,
    duration_s: float = 30,
    pool_size: int = 60,
    units: int = 6,
    snr_db: float | None = 20,
    isi_cov: float = 0.15,
    seed: int = 0,
) -> Recording:
    """Simulate two contractions with the same motor units, for `split=contraction` with `fold=1`, which tests on the second.

    Only units that are active in both are labelled; the simulator knows them, so nobody has to match them. Both contractions
    have discharges and noise of their own.

    Parameters
    ----------
    train_mvc, test_mvc : float
        Force of the first and of the second in percent of the maximum.
    duration_s : float
        Seconds of each.
    subject, pool_size, units, snr_db, isi_cov, seed
        As in `hdsemg_simulated`.

    Returns
    -------
    Recording

    Raises
    ------
    ValueError
        When no unit is active in both.
    """
    settings = dict(sorted(locals().items()))
    parts = [
        simulate(subject, mvc, duration_s, 1, pool_size, units, snr_db, isi_cov, seed=2 * seed + number)
        for number, mvc in enumerate((train_mvc, test_mvc))
    ]
    strength = np.minimum(parts[0].strength, parts[1].strength)
    strongest = sorted(int(unit) for unit in np.argsort(strength)[::-1][:units] if strength[unit] >= 0)
    name = f"simulated S{subject} {train_mvc:g}% to {test_mvc:g}% MVC"
    if not strongest:
        raise ValueError(f"{name}: no motor unit is active often enough in both contractions")
    n_samples = len(parts[0].signal)
    return Recording(
        name=name,
        signal=np.concatenate([part.signal for part in parts]),
        rate_hz=RATE_HZ,
        sha256=hashlib.sha256(json.dumps(["crossed", settings]).encode()).hexdigest(),
        grid=parts[0].grid,
        spike_trains=tuple(np.concatenate([parts[0].trains[u], parts[1].trains[u] + n_samples]) for u in strongest),
        force=np.concatenate([part.force for part in parts]),
        force_unit="% MVC",
        simulated=True,
    )
