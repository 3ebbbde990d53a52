"""What a decoder would cost, without training it: `neuroexp cost dataset=eng model=mobilescapenet,escapenet`."""

from __future__ import annotations

import functools
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from neuroexp.commands import plan
from neuroexp.cost import budget, counting
from neuroexp.cost.devices import Device, devices
from neuroexp.machine.command import command
from neuroexp.machine.sentence import sentence
from neuroexp.settings import callables, loader, mistakes, trust
from neuroexp.settings.typecheck import whole
from neuroexp.store.job import Job
from neuroexp.sweep import launch
from neuroexp.terminal import screen
from neuroexp.terminal.quiet import quiet

if TYPE_CHECKING:
    from rich.console import Console

COLUMNS = 8  # networks that fit side by side
SAME = ("fold", "seed", "split", "label", "task", "optimizer", "trainer", "output", "experiment")  # cost the same


@dataclass(frozen=True)
class Setting:
    """What a network is fed: its shape, and how many windows a second brings, where that is known."""

    shape: Mapping[str, int]
    decisions_hz: float | None
    source: str  # in words, as is what a decision follows
    rate: str


@dataclass(frozen=True)
class Column:
    """One network: its name, what it is fed, what it costs, and the operations that stand behind the numbers."""

    name: str
    setting: Setting
    costs: Mapping[str, float]  # as a run records them
    count: counting.Count
    flops: Mapping[str, str]  # with and without normalisation
    why: str  # they are not counted
    allowed: budget.Budget


@command
def main() -> None:
    """Print the costs of the networks that the words compose; exit with one sentence when they make no sense."""
    if "--devices" in sys.argv[1:]:
        sources(screen.console())
        return
    words, origin = plan.typed(sys.argv[1:])
    launch.begin()
    quiet()
    try:
        trust.begin(sys.argv[1:])
        loader.install()
        with screen.working("reading the recording, counting"):
            columns = compute(words, origin)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(sentence(error))
    except (HydraException, OmegaConfBaseException) as error:
        sys.exit(mistakes.sentence(error))
    report(screen.console(), columns)


def compute(words: Sequence[str], origin: plan.Origin = plan.PACKAGE) -> list[Column]:
    """Return a column per network that the words compose, whatever is trained with it counted once."""
    pairs = {word.partition("=")[0]: word.partition("=")[2] for word in words}
    shape: dict[str, int] = {name: whole(name, pairs[name]) for name in ("channels", "outputs") if name in pairs}
    if len(shape) == 1:
        raise ValueError("channels and outputs go together: channels=64 outputs=15 reads no recording")
    jobs: dict[str, Job] = {}
    settings = [word for word in words if word.partition("=")[0] not in ("channels", "outputs")]
    for job in plan.composed(settings, origin):
        kept = {name: value for name, value in job.config.items() if name not in SAME}
        kept["dataset"] = {name: value for name, value in kept["dataset"].items() if name not in SAME}
        jobs.setdefault(json.dumps(kept, sort_keys=True), job)
    if len(jobs) > COLUMNS:
        raise ValueError(f"{len(jobs)} networks do not fit side by side: narrow them to {COLUMNS}")
    read: dict[str, Setting] = {}
    columns = []
    for job in jobs.values():
        for name in ("model",) if shape else ("dataset", "model"):  # the trainer's packages take seconds to import
            callables.check(job.config[name], job.trusted, name)
        key = json.dumps(job.config["dataset"], sort_keys=True)
        if key not in read:
            read[key] = _typed(job, shape) if shape else _recorded(job)
        columns.append(_column(job, read[key]))
    return columns


def _typed(job: Job, shape: Mapping[str, int]) -> Setting:
    """Return a setting that was typed; the rate is known where windows have a step."""
    step, window = job.config["step"], job.config["window"]
    rate = job.config["dataset"]["rate_hz"] / step if step else None
    words = f"{shape['channels']} channels and {shape['outputs']} outputs as typed"
    shape = {"n_channels": shape["channels"], "window": window, "n_outputs": shape["outputs"]}
    return Setting(shape, rate, words, _follows(job, rate))


def _recorded(job: Job) -> Setting:
    """Read the recording as a run would."""
    fold = callables.build(job.config["dataset"], job.trusted)
    words = f"{fold.source.name}: {fold.shape['n_channels']} channels, {fold.shape['n_outputs']} outputs"
    return Setting(fold.shape, fold.decisions_hz, words, _follows(job, fold.decisions_hz))


def _follows(job: Job, decisions_hz: float | None) -> str:
    """Return what the rate of decisions is, in words."""
    if job.config["step"]:
        return "A decision per step"
    if decisions_hz is None:
        return "The rate of decisions is unknown: windows follow CAPs, and how often they come only a recording says"
    return "Windows follow CAPs: decisions per second are the CAPs found while stimuli last, over the time that stimuli last"


def _column(job: Job, setting: Setting) -> Column:
    import torch  # noqa: PLC0415 - a second to import, after the words are understood

    from neuroexp.training import foresight  # noqa: PLC0415 - as above

    build = functools.partial(callables.build, job.config["model"], job.trusted)
    foresight.check_prediction(build, setting.shape)
    network = build(**setting.shape)
    window = torch.zeros(1, setting.shape["n_channels"], setting.shape["window"])
    allowed = budget.read(job.config["budget"])
    costs = counting.costs(network, window)
    costs |= budget.estimates(costs, setting.decisions_hz, allowed.device)
    flops, why = {}, ""
    for name, normalisation in (("with", True), ("without", False)):
        try:
            flops[name] = f"{counting.flops(network, window, normalisation):,}"
        except ValueError as error:
            flops[name], why = "not counted", str(error)
    words = [job.parameters["model"], f"W{job.config['window']}"] + [f"S{job.config['step']}"] * bool(
        job.config["step"]
    )
    return Column(" ".join(words), setting, costs, counting.count(network, window), flops, why, allowed)


def report(out: Console, columns: Sequence[Column]) -> None:
    """Print what the networks cost, what that means for each device, and what the numbers leave out."""
    from rich.table import Table  # noqa: PLC0415 - only when there is something to print

    def kb(column: Column, name: str, part: float = 1.0) -> str:
        return f"{column.costs[name] * part:,.1f} KB"

    rows = {
        "parameters": [f"{column.costs['cost/parameters']:,}" for column in columns],
        "multiply-accumulates (MAC)": [f"{column.count.macs:,}" for column in columns],
        "operations (MAC, normalisation)": [f"{column.count.operations:,}" for column in columns],
        "FLOP in the ENG paper's convention": [column.flops["with"] for column in columns],
        "FLOP without normalisation": [column.flops["without"] for column in columns],
        "weights, fp32": [kb(column, "cost/size_kb") for column in columns],
        "weights, int8": [kb(column, "cost/size_int8_kb") for column in columns],
        "activations at their peak, fp32": [kb(column, "cost/activation_kb") for column in columns],
        "activations at their peak, int8": [kb(column, "cost/activation_kb", 1 / 4) for column in columns],
        "ms per window, one thread here": [f"{column.costs['cost/ms_per_window']:.2f}" for column in columns],
        "decisions per second": [_rate(column.setting.decisions_hz) for column in columns],
        "MAC per second": [_rate(column.costs.get("cost/mac_rate_hz")) for column in columns],
    }
    if any(column.allowed.limits for column in columns):
        rows["budget"] = [budget.verdict(column.costs, column.allowed).replace(", ", "\n") for column in columns]
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for number, title in enumerate(("", *(column.name for column in columns))):
        grid.add_column(title, justify="right" if number else "left")
    for name, cells in rows.items():
        grid.add_row(name, *cells)
    screen.whole(out, grid)
    out.print()
    screen.whole(out, _energies(columns))
    out.print()
    for line in notes(columns):
        out.print(line, markup=False, soft_wrap=True)


def _rate(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:,.1f}"


def _energies(columns: Sequence[Column]) -> Any:
    """Return a table of the energy per decision, and the average power where the rate is known, on each device."""
    from rich.table import Table  # noqa: PLC0415 - as above

    grid = Table(box=None, pad_edge=False, header_style="bold", title="Estimated energy", title_justify="left")
    for title in ("device", "precision", "includes"):
        grid.add_column(title)
    for title in ("pJ/MAC", *(f"{column.name}\nµJ per decision" for column in columns)):
        grid.add_column(title, justify="right")
    powered = [column for column in columns if column.setting.decisions_hz is not None]
    for column in powered:
        grid.add_column(f"{column.name}\nµW on average", justify="right")
    for device in devices().values():
        energies = [_short(device.energy_uj(column.count.macs)) for column in columns]
        powers = [_power(device, column) for column in powered]
        grid.add_row(device.name, device.precision, device.includes, f"{device.pj_per_mac:g}", *energies, *powers)
    return grid


def _power(device: Device, column: Column) -> str:
    power = device.power_uw(column.costs["cost/mac_rate_hz"])
    return "too slow" if power is None else _short(power)


def _short(value: float) -> str:
    """Return three digits: an estimate has no more."""
    return f"{float(f'{value:.3g}'):,.12g}"


def notes(columns: Sequence[Column]) -> list[str]:
    """Return what the numbers rest on and what they leave out, a sentence each."""
    lines = [f"Input: {words}." for words in dict.fromkeys(column.setting.source for column in columns)]
    for column in columns:
        skipped = ", ".join(f"{name} x{number}" for name, number in column.count.skipped.items())
        counter = {"fvcore": "fvcore", "torch": "torch's counter (fvcore knows no recurrent layers)"}
        left_out = f", which leaves out {skipped}" if skipped else ""
        lines.append(f"{column.name}: MAC counted by {counter[column.count.counter]}{left_out}.")
        lines += [f"{column.name}: FLOP not counted, {column.why}."] * bool(column.why)
    lines += [
        *(f"{words}." for words in dict.fromkeys(column.setting.rate for column in columns)),
        "Operations: MAC, two per normalised value, one per value that an adaptive pool averages. Energy rests on MAC alone.",
        "FLOP are those of layers; what a network computes between them is not counted.",
        "A KB is 1000 bytes. int8: a byte per weight and an fp32 scale per output channel; vectors keep 4 bytes per value.",
        "Activations: inputs and outputs of an operation together, freed after their last use, nothing fused.",
        "Energy is an estimate, MAC times pJ/MAC: of arithmetic alone or of a chip with another network, as it says. Too slow:",
        "more MAC per second than that network reached there. Devices and sources: neuroexp cost --devices",
    ]
    return lines


def sources(out: Console) -> None:
    """Print what each device is and where its picojoules per multiply-accumulate come from."""
    from rich.padding import Padding  # noqa: PLC0415 - as above

    for device in devices().values():
        reached = f", {device.mac_per_s / 1e6:,.0f} million MAC/s" if math.isfinite(device.mac_per_s) else ""
        facts = f"{device.what}, {device.precision}: {device.pj_per_mac:g} pJ/MAC ({device.includes}){reached}"
        out.print(f"[bold]{device.name}[/]  {facts}")
        out.print(Padding(f"{device.source} ({device.year})", (0, 0, 1, 4)))
