"""The process that measures for `benchmarks/device.py`: section after section, each within its share of the time."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from benchmarks import (
    device_card,
    device_gather,
    device_machine,
    device_mldrsnet,
    device_prediction,
    device_trainings,
)
from benchmarks.device_alone import quiet
from benchmarks.device_here import DATA, LITTLE, Here, Variant
from benchmarks.device_record import Record

AGAIN = 75  # exit code: something broke the card's state, and a new process should measure what is left
# in order of worth, with the share of the time after which the next one begins
SECTIONS: tuple[tuple[ModuleType, float], ...] = (
    (device_card, 0.05),
    (device_mldrsnet, 0.42),
    (device_prediction, 0.58),
    (device_trainings, 0.97),
    (device_gather, 1.0),
)
OVER = "not measured: the time was over"


def run(here: Here, ends: float) -> None:
    """Measure what the record lacks until `ends`, in seconds of the system's clock.

    Variants for which their section's share of the time was too short come at the end, while there is time.
    """
    began = here.record.content.setdefault("measuring_since", time.time())  # by the first of these processes
    for section, _ in SECTIONS:
        here.record.section(section.NAME, section.TITLE, section.COLUMNS)
    for last in (False, True):
        for section, share in SECTIONS:
            _section(here, section, ends if last else began + share * (ends - began), last)


def _section(here: Here, section: ModuleType, ends: float, last: bool) -> None:
    """Measure the variants of a section that begin in time; those that do not are left, or noted in the `last` round."""
    record, shown = here.record, False
    for variant in _variants(here, section):
        left_s = ends - time.time()
        if record.has(section.NAME, variant.names) or (left_s < variant.needs_s and not last):
            continue
        if not shown:
            print(f"\n{section.TITLE}\n{record.head(section.NAME)}", flush=True)
            shown = True
        if left_s < variant.needs_s:
            print(record.add(section.NAME, variant.names, failed=OVER), flush=True)
        else:
            _measure(here, section.NAME, variant, ends)
    if shown and not here.small:
        clocks = record.content["machine"].get("clocks_after", {}) | {section.NAME: device_machine.clocks()}
        record.note(machine=record.content["machine"] | {"clocks_after": clocks})


def _variants(here: Here, section: ModuleType) -> Iterator[Variant]:
    """Yield the variants of a section; when that fails, the sentence is a row and the section ends."""
    try:
        yield from section.variants(here)
    except Exception as error:
        if not here.record.has(section.NAME, {}):
            print(here.record.add(section.NAME, {}, failed=sentence(error)), flush=True)


def _measure(here: Here, section: str, variant: Variant, ends: float) -> None:
    """Add a variant's row: its figures, or why there are none. A broken state of the card ends this process."""
    record, began = here.record, time.time()
    until = min(ends, began + variant.most_s * (3 if here.small else 1))  # a processor may be shared by many
    record.note(measuring={"section": section, "variant": variant.names, "until": until})
    failure: Exception | None = None
    figures: dict[str, Any] = {}
    try:
        figures = variant.measure()
    except Exception as error:  # of drivers, compilers and full memory, of many kinds
        failure = error
    failed = sentence(failure) if failure else ""
    print(record.add(section, variant.names, figures, failed, time.time() - began), flush=True)
    if failure is not None and not here.small and not harmless(failure):
        sys.stdout.flush()
        os._exit(AGAIN)  # without cleaning up: a broken card may never answer
    failure = None
    gc.collect()
    if not here.small:
        torch.cuda.empty_cache()


def sentence(error: BaseException) -> str:
    """Return an error as one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = lines[0][:200] if lines else ""
    return said if isinstance(error, ValueError) and said else f"{type(error).__name__}: {said}"


def harmless(error: BaseException | None) -> bool:
    """Return whether the card's state is whole after an error: not so where the card or the recording of a graph failed."""
    if error is None:
        return True
    ours = isinstance(error, ValueError | ImportError) or type(error).__module__.startswith(
        ("torch._dynamo", "torch._inductor")
    )
    return ours and harmless(error.__cause__)


def _end_with_parent() -> None:
    """End this process and those that it started when the command that started it is gone, however it went."""
    os.read(sys.stdin.fileno(), 1)  # nothing ever comes: it returns when the other end is closed
    with suppress(ProcessLookupError):
        os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Measure into the record that the command line names, until a moment of the system's clock."""
    path, ends = sys.argv[1:]
    threading.Thread(target=_end_with_parent, daemon=True).start()
    quiet()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    record = Record(Path(path))
    here = Here(device, record)
    if not record.content["machine"]:
        machine, data = device_machine.describe(), LITTLE if here.small else DATA
        record.note(machine=machine, data=data)
        print(f"{machine['card'] or machine['processor']}: {data}", flush=True)
    run(here, float(ends))


if __name__ == "__main__":
    main()
