"""A trained network written as files, in one form after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from neuroexp.deploy import engines, executorch_file, onnx_file, restore

CALIBRATION = 512  # training windows that give int8 its ranges


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
