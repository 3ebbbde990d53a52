"""Units of voltage as other programs write them, and how many microvolts each one is."""

from __future__ import annotations

import math
import re
import unicodedata

NAMES = {1e6: "volts", 1e3: "millivolts", 1.0: "microvolts", 1e-3: "nanovolts"}
MICRO = ("u", "\u03bc", "micro", "\u00e2\u03bc", "\\mu", "mc")  # the fourth: UTF-8 that was read as Latin-1
PREFIXES = {"": 1e6, "m": 1e3, "milli": 1e3, "n": 1e-3, "nano": 1e-3} | dict.fromkeys(MICRO, 1.0)
UNIT = re.compile(rf"({'|'.join(map(re.escape, sorted(PREFIXES, key=len, reverse=True)))}) ?v(?:olts?)?")


def microvolts(unit: str) -> float | None:
    """Return how many microvolts a unit is: `uV`, both signs of micro, `mV`, `V`, `nV` and their names, in any case.

    None when it is no unit of voltage that is known.
    """
    plain = unicodedata.normalize("NFKC", unit).strip().lower()  # both signs of micro become the Greek letter
    found = UNIT.fullmatch(plain)
    return None if found is None else PREFIXES[found[1]]


def factor(scale_uv: float) -> float:
    """Return `recording.scale_uv`, how many microvolts a file's numbers count in; raises ValueError when it is none."""
    number = not isinstance(scale_uv, bool) and isinstance(scale_uv, int | float)
    if not number or not math.isfinite(scale_uv) or scale_uv <= 0:
        raise ValueError(f"recording.scale_uv={scale_uv} must be a positive number, such as 1e6 for a file in volts")
    return float(scale_uv)
