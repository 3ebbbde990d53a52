"""A trained run as files for an implant or an interface: `neuroexp export RUN_ID`."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuroexp.commands import COMMANDS
from neuroexp.deploy import engines, executorch_file, onnx_file, restore
from neuroexp.deploy.extras import needed
from neuroexp.machine import places
from neuroexp.machine.command import command
from neuroexp.settings.typecheck import among, whole
from neuroexp.terminal import screen
from neuroexp.terminal.shown import plain

CALIBRATION = 512  # training windows that give int8 its ranges

COMMAND = COMMANDS["export"]


@dataclass(frozen=True)
class Exported:
    """One form of a decoder, and how it compares with the network that was trained."""

    form: str  # trained, or the engine that ran it
    size_kb: float
    score: float  # on the test windows
    largest: float  # difference of a probability there, from the trained network's
    agree: float  # share of decisions that are the same
    positive: int  # decisions


@command
def main() -> None:
    """Write a run's decoder in fp32 and int8, as ONNX and for ExecuTorch, compare with the original, add them to the run."""
    asked = restore.asked(sys.argv[1:], COMMAND.usage, COMMAND.own)
    from neuroexp.store.finished_run import add  # noqa: PLC0415 - a second to import
    from neuroexp.store.tracking import StoreError  # noqa: PLC0415 - as above

    folder = Path(asked.words.get("to") or f"outputs/export/{asked.run_id[:8]}")
    left_out: list[str] = []
    try:
        needed("onnx")
        from neuroexp.deploy.mlflow_model import package  # noqa: PLC0415 - of an extra

        count = whole("calibration", asked.words.get("calibration", str(CALIBRATION)))
        named = among("forms", asked.words["forms"], engines.FILES) if "forms" in asked.words else engines.there()
        with screen.working("reading the recording") as say:
            back = restore.load(asked)
            files = write(back, folder, engines.forms(named), count, say, left_out.append)
            say("comparing on the test windows")
            table = compare(back, files)
            say("adding to the run")
            for form, path in files.items():
                if form in engines.EXECUTORCH:  # which MLflow does not know: the file alone
                    (folder / form).mkdir(exist_ok=True)
                    shutil.copy(path, folder / form)
                else:
                    package(path, back.spec, folder / form)
                add(asked.uri, asked.run_id, folder / form, _metrics(table, form), f"decoder_{form}")
    except OSError as error:
        sys.exit(f"to={folder}: {places.trouble(error, folder)}")
    except (ValueError, StoreError) as error:
        sys.exit(str(error))
    (folder / "export.json").write_text(json.dumps([vars(row) for row in table], indent=1))
    show(back, table, files)
    for sentence in left_out:
        print(sentence, file=sys.stderr)


def write(
    back: restore.Trained,
    folder: Path,
    forms: Sequence[str],
    calibration: int = CALIBRATION,
    say: Callable[[str], None] = lambda _: None,
    left_out: Callable[[str], None] | None = None,
) -> dict[str, Path]:
    """Write the decoder of a run in some forms, int8 with ranges from so many training windows; return where they are.

    `say` hears what is written, `left_out` why a form is not; without it that raises ValueError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    training = restore.evenly(back.fold.split.train, calibration)
    files: dict[str, Path] = {}
    for form in forms:
        path = folder / engines.FILES[form]
        path.unlink(missing_ok=True)  # of another run, perhaps
        say(f"writing {path.name}")
        windows = restore.microvolts(back.fold, training).numpy() if form.endswith("int8") else None
        try:
            if form in engines.EXECUTORCH:
                executorch_file.write(back.decoder, back.spec, path, windows)
            elif windows is None:
                onnx_file.write(back.decoder, back.spec, path)
            else:
                onnx_file.quantise(files["onnx"], path, windows)
            files[form] = path
        except ValueError as error:
            if left_out is None:
                raise
            left_out(str(error))
    return files


def compare(back: restore.Trained, files: Mapping[str, Path]) -> list[Exported]:
    """Return score and differences of the exported forms on the test windows, the trained network first, engine by engine."""
    test = back.fold.split.test
    windows = restore.microvolts(back.fold, test).numpy()
    original = back.probabilities
    weights_kb = sum(p.numel() * p.element_size() for p in back.decoder.parameters()) / 1000
    decisions = restore.decisions(back.spec, original)
    table = [Exported("trained", weights_kb, restore.score(back, original), 0.0, 1.0, int(decisions.sum()))]
    for name in (engine for engine in engines.there() if engines.form(engine) in files):
        found = predict(engines.build(name, back.decoder, files), windows)
        decided = restore.decisions(back.spec, found)
        same, largest = float(np.mean(decided == decisions)), float(np.abs(found - original).max())
        size_kb = files[engines.form(name)].stat().st_size / 1000
        table.append(Exported(name, size_kb, restore.score(back, found), largest, same, int(decided.sum())))
    return table


def predict(engine: engines.Predict, windows: NDArray[np.float32], batch: int = 256) -> NDArray[np.float32]:
    """Return the probabilities (window, output) of windows (window, channel, time), so many at a time."""
    return np.concatenate([engine(windows[low : low + batch]) for low in range(0, len(windows), batch)])


def _metrics(table: list[Exported], form: str) -> dict[str, float]:
    [row] = [row for row in table if row.form == form]
    found = {"size_kb": row.size_kb, "score": row.score, "largest_difference": row.largest, "agreement": row.agree}
    return {f"export/{form}_{name}": value for name, value in found.items()}


def show(back: restore.Trained, table: list[Exported], files: Mapping[str, Path]) -> None:
    """Print the table, and where the files are."""
    from rich.table import Table  # noqa: PLC0415 - only when there is something to print

    out = screen.console()
    grid = Table(box=None, pad_edge=False, header_style="bold")
    metric = restore.SCORE[back.spec.dataset]
    for column in (back.spec.name, "KB", metric, "largest difference", "same decisions"):
        grid.add_column(column, justify="left" if column == back.spec.name else "right")
    for row in table:
        grid.add_row(row.form, f"{row.size_kb:.0f}", f"{row.score:.4f}", f"{row.largest:.2g}", f"{row.agree:.2%}")
    screen.whole(out, grid)
    simulated = "simulated recording, " if getattr(back.fold.source, "simulated", False) else ""
    out.print(f"\n({simulated}{len(back.fold.split.test)} test windows of {plain(back.spec.recording)})", markup=False)
    if not table[0].positive:
        out.print(
            f"[yellow]The trained network finds no discharge in them: no probability is above {back.spec.threshold:g}.[/]"
        )
    for form, path in files.items():
        out.print(f"{path}; in the run: decoder_{form}", markup=False, soft_wrap=True)
    served = next((form for form in ("int8", "onnx") if form in files), None)
    if served:
        command = f"mlflow models serve -m runs:/{back.spec.run_id}/decoder_{served} --env-manager local"
        store = plain(f"MLFLOW_TRACKING_URI={shlex.quote(back.asked.uri)}", 5000)
        out.print(f"\n{store} {command}", markup=False, soft_wrap=True)
