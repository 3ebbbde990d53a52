"""Checkpoints that can be believed: a checksum beside each, and none is continued from on any doubt about it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import Checkpoint, ModelCheckpoint
from torch import nn

from neuroexp.machine import files

NEEDED: files.Shape = {  # of what Lightning continues from
    "state_dict": files.mapping_of(lambda value: isinstance(value, torch.Tensor)),
    "callbacks": files.mapping_of(lambda value: isinstance(value, dict)),
    "loops": files.mapping_of(lambda value: isinstance(value, dict)),
    "optimizer_states": files.list_of(lambda value: isinstance(value, dict)),
    "lr_schedulers": files.list_of(lambda value: isinstance(value, dict)),
    "epoch": files.whole,
    "global_step": files.whole,
}


class Checked(TorchCheckpointIO):
    """Writes Lightning's checkpoints whole or not at all, with their checksum in a file beside."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint.

        Its checksum comes first, beside that of the one before: a process may be killed between the two.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        torch.save(checkpoint, content)
        _replace(path, content.getbuffer(), [hashlib.sha256(content.getbuffer()).hexdigest(), *_sums(path)[:1]])

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint that was written here, and nothing else that somebody may have named."""
        path = Path(path)
        if _beside(path).is_file():
            files.discard(path)
            files.discard(_beside(path))


def _replace(path: Path, content: memoryview, sums: list[str]) -> None:
    for place, written in ((_beside(path), "\n".join(sums).encode()), (path, content)):
        with files.replacing(place) as partial:
            partial.write_bytes(written)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _sums(path: Path) -> list[str]:
    """Return the checksums that a checkpoint may have."""
    try:
        return _beside(path).read_text(encoding="ascii").split() if _beside(path).is_file() else []
    except (OSError, UnicodeDecodeError):
        return []


def whole(path: Path) -> bool:
    """Return whether a checkpoint is, byte for byte, what was written there."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() in _sums(path)


def doubt(last: Path, task: nn.Module, best: Checkpoint | None) -> str | None:
    """Return why a training cannot continue from its `last` checkpoint; None when it can.

    The weights that the callback `best` has kept so far have to be whole as well: they may be those that are tested.
    """
    if not whole(last):
        return f"{last} is not what was written there"
    try:
        found = torch.load(last, map_location="cpu", weights_only=True)
    except Exception as error:  # there are many ways in which bytes are no checkpoint
        return f"{last} cannot be read ({type(error).__name__})"
    if not files.fits(found, NEEDED):
        return f"{last} is no checkpoint"
    shapes = {name: value.shape for name, value in task.state_dict().items()}
    if shapes != {name: value.shape for name, value in found["state_dict"].items()}:
        return f"{last} is of another network"
    state = found["callbacks"].get(best.state_key) if isinstance(best, ModelCheckpoint) else None
    if state and state.get("best_model_path") and isinstance(best, ModelCheckpoint):
        kept = _home(best, state["best_model_path"])
        if not whole(Path(kept)):
            return f"{kept} is not what was written there"
    return None


def rehome(checkpoint: Mapping[str, Any], callbacks: Iterable[Checkpoint]) -> None:
    """Have every path that a checkpoint names lie where its callback writes.

    A ledger may have been moved, and a path that says otherwise would be tested or deleted.
    """
    for callback in callbacks:
        state = checkpoint["callbacks"].get(callback.state_key)
        if isinstance(callback, ModelCheckpoint) and state:
            for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
                state[name] = _home(callback, state[name]) if state.get(name) else ""
            kept = state.get("best_k_models") or {}
            state["best_k_models"] = {_home(callback, path): score for path, score in kept.items()}
            state["dirpath"] = callback.dirpath


def _home(callback: ModelCheckpoint, path: Any) -> str:
    """Return where a callback's file lies, of which a checkpoint says that it lies somewhere: by its own name if it has one."""
    fixed = callback.filename if callback.filename and "{" not in callback.filename else None
    name = f"{fixed}{callback.FILE_EXTENSION}" if fixed else Path(str(path)).name
    return str(Path(str(callback.dirpath)) / name)
