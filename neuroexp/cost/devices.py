"""Named devices on which a decoder may run one day, and what a multiply-accumulate takes there: `devices.csv`."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Device:
    """A device with the energy of one multiply-accumulate, from a source that is named and with what that includes.

    Whatever is computed from it is an estimate: it leaves out what no source has measured, memory of a network that does
    not fit above all.
    """

    name: str
    what: str
    precision: str  # of weights and activations: fp32 or int8
    pj_per_mac: float
    mac_per_s: float  # at which that was found; infinite where it is not about a whole device
    includes: str
    year: int
    source: str

    @property
    def value_bytes(self) -> int:
        """Bytes of one value."""
        return {"fp32": 4, "int8": 1}[self.precision]

    def power_uw(self, mac_per_s: float) -> float | None:
        """Return the average microwatts of so many multiply-accumulates per second; None when the device is too slow."""
        return mac_per_s * self.pj_per_mac * 1e-6 if mac_per_s <= self.mac_per_s else None

    def energy_uj(self, macs: float) -> float:
        """Return the microjoules of so many multiply-accumulates, an estimate."""
        return macs * self.pj_per_mac * 1e-6


@cache
def devices() -> dict[str, Device]:
    """Return all devices by their names."""
    with (files("neuroexp.cost") / "devices.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {
        row["name"]: Device(**row | _numbers(row))  # type: ignore[arg-type]
        for row in rows
    }


def _numbers(row: dict[str, str]) -> dict[str, float]:
    numbers = {name: float(row[name] or "inf") for name in ("pj_per_mac", "mac_per_s")}
    return numbers | {"year": int(row["year"])}
