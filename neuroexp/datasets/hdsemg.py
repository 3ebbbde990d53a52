"""HD-sEMG: from a decomposed recording to a fold of windows labelled with motor-unit discharges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neuroexp.data import segments, signals, splits
from neuroexp.data.fold import Fold, Metadata
from neuroexp.data.recording import Recording
from neuroexp.evaluation.agreement import Steps

ORDER = 2  # of the band-pass


def hdsemg(
    recording: Recording,
    window: int,
    step: int,
    fold: int,
    seed: int,
    label: segments.Label,
    split: splits.Splitter,
    rate_hz: float,
    band_hz: tuple[float, float] | None,
    zero_phase: bool,
    align: bool,
    max_lag_ms: float,
    batch_size: int,
    order: int = ORDER,
) -> Fold:
    """Cut the recording into windows and label them with the motor units' discharges.

    Parameters
    ----------
    recording : Recording
        With spike trains.
    window, step : int
        Samples in a window, and between two windows.
    fold, seed : int
        Which fold tests, and the seed of the order of the batches.
    label : function
        From spike trains and windows to labels, such as `label_step`.
    split : function
        From windows to parts, such as `blocked`.
    rate_hz : float
        The sampling rate that window and step are counted in.
    band_hz : (float, float), optional
        Filters the signal first; None leaves it raw.
    zero_phase : bool
        Whether that filter runs forwards and backwards, or is causal.
    align : bool
        Moves every spike train to the peak of its spike-triggered-average energy, estimated on samples and discharges of the
        training windows alone.
    max_lag_ms : float
        The largest such move, either way.
    batch_size : int
        Windows in a training batch.
    order : int
        Of the filter, see `signals.butterworth`. It is no key of the configuration, so that earlier runs keep theirs, and is
        typed as `+dataset.order=1`.

    Returns
    -------
    Fold

    Raises
    ------
    ValueError
        For a recording without discharges or with another sampling rate than `rate_hz`.
    """
    _check(recording, window, step, rate_hz, band_hz, batch_size, order)
    signal = recording.signal
    if band_hz is not None:
        signal = signals.bandpass(signal, rate_hz, *band_hz, order=order, zero_phase=zero_phase)
    n_samples = len(signal)
    starts = segments.window_starts(n_samples, window, step)
    timeline = splits.Timeline(n_samples, rate_hz, recording.spike_trains, recording.force)
    parts = split(starts, window, timeline, fold)

    trains, lags = list(recording.spike_trains), np.zeros(len(recording.spike_trains), dtype=np.int64)
    if align:
        seen = segments.coverage(n_samples, starts[parts.train], window) > 0
        lags = signals.muap_lags(signal, trains, round(max_lag_ms * rate_hz / 1000), seen)
        trains = signals.shift(trains, lags, n_samples)
    recording = recording.with_spike_trains(trains)
    labels = label(trains, starts, window, step)
    steps = Steps(window, step, rate_hz, peak=getattr(label, "func", label) is segments.label_step)
    return Fold(
        signal=signal,
        starts=starts,
        window=window,
        labels=labels,
        split=parts,
        batch_size=batch_size,
        seed=seed,
        metadata=Metadata(
            facts=_facts(recording, lags, starts, labels, parts, steps),
            source=recording,
            preparation={
                "band_hz": None if band_hz is None else list(band_hz),
                "order": order,
                "zero_phase": zero_phase,
            },
            decisions_hz=rate_hz / step,
            steps=steps,
        ),
    )


def _check(
    recording: Recording,
    window: int,
    step: int,
    rate_hz: float,
    band_hz: tuple[float, float] | None,
    batch_size: int,
    order: int,
) -> None:
    """Raise ValueError for a recording that cannot be labelled, and for the first setting that is not valid."""
    name = recording.name
    if not isinstance(recording, Recording):
        raise ValueError(
            f"{name} is no HD-sEMG recording: dataset=hdsemg takes recording=hdsemg_simulated, otb or demuse"
        )
    if not recording.spike_trains:
        raise ValueError(f"{name}: there are no spike trains, dataset=hdsemg needs a decomposed recording")
    signals.check_rate(name, recording.rate_hz, rate_hz, band_hz, "dataset.band_hz", "window and step")
    if recording.seams:
        at_s = recording.seams[0] / rate_hz
        raise ValueError(f"{name}: time is missing at {at_s:.3f} s; dataset=hdsemg takes recordings in one piece")
    silent = [place for place, train in enumerate(recording.spike_trains) if not len(train)]
    if silent:
        raise ValueError(recording.without_units(silent, ("has no discharge", "have no discharge")))
    for key, value in (("window", window), ("step", step), ("dataset.batch_size", batch_size)):
        if value < 1:
            raise ValueError(f"{key}={value} must be at least 1")
    if order != ORDER and band_hz is None:
        raise ValueError(f"dataset.order={order} says nothing without a filter: set dataset.band_hz=[20,750] as well")


def _facts(
    recording: Recording,
    lags: NDArray[np.int64],
    starts: NDArray[np.int64],
    labels: NDArray[np.float32],
    parts: splits.Split,
    steps: Steps,
) -> dict[str, float]:
    """Return what is known of the windows and of the discharges, which have been moved by `lags`; without what is not."""
    trains, n_samples, window = list(recording.spike_trains), len(recording.signal), steps.window
    used = np.concatenate([parts.train, parts.validation, parts.test])
    overlapping, samples_seen = segments.overlap_audit(n_samples, starts, window, parts.train, parts.test)
    facts = {
        "positive_rate": float(labels[used].mean()),
        "units": len(trains),
        "windows": len(used),
        "windows_left_out": len(starts) - len(used),
        "positives_outside_window": segments.outside_window(labels[used], trains, starts[used], window),
        "discharges_in_no_window": segments.in_no_window(trains, starts, window, n_samples),
        "discharge_rate_hz": signals.discharge_rate_hz(trains, steps.rate_hz),
        "test_windows_overlapping_train": overlapping,
        "test_samples_seen_in_train": samples_seen,
        "mean_absolute_lag_ms": float(np.abs(lags).mean() * 1000 / steps.rate_hz),
        "pnr_db": float(np.mean(recording.pnr_db or (np.nan,))),
    }
    return {name: value for name, value in facts.items() if np.isfinite(value)}
