"""A trained run as files for an implant or an interface: `neuroexp export RUN_ID`."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from neuroexp.commands import COMMANDS
from neuroexp.deploy import engines, restore
from neuroexp.deploy.compare import Exported, compare
from neuroexp.deploy.extras import needed
from neuroexp.deploy.write import CALIBRATION, write
from neuroexp.machine import places
from neuroexp.machine.command import command
from neuroexp.settings.typecheck import among, whole
from neuroexp.terminal import screen
from neuroexp.terminal.shown import plain

COMMAND = COMMANDS["export"]


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
