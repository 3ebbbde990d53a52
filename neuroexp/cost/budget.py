"""What a decoder may take where it is to run, and what of it a run has used: `budget.latency_ms=4.9` and its like."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from neuroexp.cost.devices import Device, devices

LIMITS = {  # in the order in which they are told: what it limits, its unit, and how many of it make one of that unit
    "latency_ms": ("latency", "ms", 1.0),
    "memory_kb": ("memory", "KB", 1.0),
    "mac_per_s": ("MAC rate", "million MAC/s", 1e6),
    "energy_uj": ("energy", "µJ", 1.0),
}
MAC, RATE = (
    ("cost/mac", "cost/macs"),
    ("cost/mac_rate_hz", "cost/mac_per_s"),
)  # as recorded now, and by earlier versions
EARLIER = "counted with normalisation"  # and pooling, as earlier versions did: somewhat more than MAC alone
DEVICE = "stm32u575"  # where a run of an earlier version names none


@dataclass(frozen=True)
class Budget:
    """The limits that are set, and the device whose energy and precision count."""

    limits: dict[str, float]
    device: Device


def read(settings: Mapping[str, Any] | None) -> Budget:
    """Return the budget of a configuration's `budget` section; raises ValueError for what is none."""
    if settings is None:
        settings = {}
    if not isinstance(settings, Mapping):
        raise ValueError(f"budget={settings} is no budget: set one of its values, such as budget.latency_ms=5")
    for name in settings:
        if name not in (*LIMITS, "device"):
            raise ValueError(f"budget.{name} is no limit: there are {', '.join(LIMITS)}, and the device")
    limits = {}
    for name in LIMITS:
        value = settings.get(name)
        if value is None:
            continue
        number = not isinstance(value, bool) and isinstance(value, int | float)
        if not number or not 0 < value < math.inf:
            raise ValueError(f"budget.{name}={value} is no number above 0 (null: no limit)")
        limits[name] = float(value)
    device = settings.get("device", DEVICE)
    if device not in devices():
        raise ValueError(f"budget.device={device} is not among the devices: {', '.join(devices())}")
    return Budget(limits, devices()[device])


def estimates(costs: Mapping[str, float], decisions_hz: float | None, device: Device) -> dict[str, float]:
    """Return what follows from a run's `cost/mac`: their rate where that of decisions is known, energy per decision."""
    found = {"cost/mac_energy_uj": device.energy_uj(costs["cost/mac"])}
    if decisions_hz is not None:
        found["cost/mac_rate_hz"] = costs["cost/mac"] * decisions_hz
    return found


def used(costs: Mapping[str, float], device: Device) -> dict[str, float]:
    """Return what a run uses of each limit, from its recorded costs; what they do not tell is left out.

    Memory is weights and activations in the device's precision. Energy is an estimate for the device, whichever the run
    was recorded for. Where a run of an earlier version has no `cost/mac`, its `cost/macs` stands for it, see `EARLIER`.
    """
    found = {}
    if "cost/ms_per_window" in costs:
        found["latency_ms"] = costs["cost/ms_per_window"]
    size = "cost/size_kb" if device.precision == "fp32" else "cost/size_int8_kb"
    if size in costs and "cost/activation_kb" in costs:
        found["memory_kb"] = costs[size] + costs["cost/activation_kb"] * device.value_bytes / 4
    mac, rate = (next((costs[name] for name in names if name in costs), math.nan) for names in (MAC, RATE))
    found |= {"mac_per_s": rate, "energy_uj": device.energy_uj(mac)}
    return {name: value for name, value in found.items() if math.isfinite(value)}


def metrics(costs: Mapping[str, float], budget: Budget) -> dict[str, float]:
    """Return the share of each limit that a run uses, and whether it is within all of them, where all are known."""
    spent = used(costs, budget.device)
    shares = {name: spent[name] / limit for name, limit in budget.limits.items() if name in spent}
    found = {f"budget/{name}_share": share for name, share in shares.items()}
    if budget.limits and len(shares) == len(budget.limits):
        found["budget/within"] = float(max(shares.values()) <= 1 and not _too_slow(spent, budget))
    return found


def _too_slow(spent: Mapping[str, float], budget: Budget) -> bool:
    """Return whether the device whose energy counts is known to reach fewer operations per second than a run needs."""
    return "energy_uj" in budget.limits and spent.get("mac_per_s", 0) > budget.device.mac_per_s


def verdict(costs: Mapping[str, float], budget: Budget, numbers: bool = True) -> str:
    """Return `within`, or what is over, with `numbers` by how much, or what is not known; nothing without a limit."""
    spent = used(costs, budget.device)
    over = [name for name, limit in budget.limits.items() if spent.get(name, 0) > limit]
    unknown = [LIMITS[name][0] for name in budget.limits if name not in spent]
    earlier = MAC[0] not in costs
    words = [_compared(name, spent[name], budget, earlier) if numbers else LIMITS[name][0] for name in over]
    if _too_slow(spent, budget):
        told = _apart(spent["mac_per_s"] / 1e6, budget.device.mac_per_s / 1e6)
        estimate = " (estimate: {} of {} million MAC/s)".format(*told)
        words.append(f"{budget.device.name} too slow{estimate if numbers else ''}")
    words = [f"over: {', '.join(words)}"] if words else []
    if unknown:
        words.append(f"unknown: {', '.join(unknown)}")
    return "; ".join(words) or ("within" if budget.limits else "")


def _compared(name: str, spent: float, budget: Budget, earlier: bool) -> str:
    """Return `latency 5.39 of 4.9 ms`; `earlier`: of a run whose multiply-accumulates were not counted alone."""
    word, unit, one = LIMITS[name]
    notes = {"memory_kb": [budget.device.precision], "energy_uj": ["estimate"]}.get(name, [])
    notes += [EARLIER] if earlier and name in ("energy_uj", "mac_per_s") else []
    note = f" ({', '.join(notes)})" if notes else ""
    more, limit = _apart(spent / one, budget.limits[name] / one)
    return f"{word} {more} of {limit} {unit}{note}"


def _apart(more: float, limit: float) -> tuple[str, str]:
    """Return two numbers with three digits, or as many as it takes to see which is more and what the limit is."""
    for digits in range(3, 18):
        # 17 digits tell any two numbers apart, and Python writes no more of them than it takes
        texts = [f"{float(f'{value:.{digits}g}'):,}".removesuffix(".0") for value in (more, limit)]
        if texts[0] != texts[1] and math.isclose(float(f"{limit:.{digits}g}"), limit):
            break
    return texts[0], texts[1]
