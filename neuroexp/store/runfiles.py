"""The files of a finished run as they come back from its store: there, whole, and what they should be, or a sentence."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from neuroexp.machine import files
from neuroexp.settings import renamed

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = "model.pt"
CHECKSUM = "neuroexp.model_sha256"  # the tag of a run that knows its weights
REMEDY = "delete the run in MLflow and type its command again to train it anew"
SETTINGS = ("window", "step", "fold", "seed", "experiment", "output", "trusted", "report")
GROUPS = ("dataset", "recording", "model", "task", "split", "optimizer", "trainer", "tracking")
ENVIRONMENT: files.Shape = {
    "processor": files.text,
    "cores": files.maybe(files.whole),
    "threads": files.whole,
    "gpus": files.list_of(files.text),
    "packages": files.mapping_of(files.text),
}
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def sha256(path: Path) -> str:
    """Return the checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def bring(client: Any, run_id: str, name: str, path: str, folder: str | Path) -> Path:
    """Bring a file of a run into `folder`, return where it is; raises ValueError, naming the run, when it has none.

    What the store itself raises is left to whoever opened it.
    """
    parent = path.rpartition("/")[0]
    there = {entry.path: entry.is_dir for entry in client.list_artifacts(run_id, parent or None)}
    if there.get(path, True):
        state = "is a folder" if path in there else "is not there"
        raise ValueError(f"{name} ({run_id[:8]}) is without its files, {path} {state}: {REMEDY}")
    return Path(client.download_artifacts(run_id, path, str(folder)))


def text(client: Any, run_id: str, name: str, path: str) -> str:
    """Return the text of a file of a run; raises ValueError as `bring` does, and for what is no text."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return bring(client, run_id, name, path, folder).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise ValueError(damaged(name, path, "it is no text")) from None


def configuration(content: str, name: str) -> dict[str, Any]:
    """Return the configuration that a run's config.yaml holds; raises ValueError when it is not a whole one."""
    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(content, LOADER)):
            raise ValueError  # a few of them can stand for gigabytes, and no run writes any
        found = yaml.load(content, LOADER)
    except (yaml.YAMLError, RecursionError, ValueError):
        raise ValueError(damaged(name, "config.yaml", "it is no YAML")) from None
    if not isinstance(found, dict):
        raise ValueError(damaged(name, "config.yaml", "it holds no settings"))
    found = renamed.current(found)
    for key in (*SETTINGS, *GROUPS):
        if key not in found:
            raise ValueError(damaged(name, "config.yaml", f"it lacks {key}"))
    for key in GROUPS:
        if not isinstance(found[key], dict):
            raise ValueError(damaged(name, "config.yaml", f"its {key} has no settings"))
    return found


def environment(content: str, name: str) -> dict[str, Any]:
    """Return what a run's environment.json says of its machine; raises ValueError when it is damaged."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not files.fits(found, ENVIRONMENT):
        raise ValueError(damaged(name, "environment.json", "it does not describe a machine"))
    return dict(found)


def weights(path: Path, tags: Mapping[str, str], name: str) -> dict[str, Tensor]:
    """Return the weights in a run's model.pt; raises ValueError when they are not those that were written."""
    import torch  # noqa: PLC0415 - a second to import

    if tags.get(CHECKSUM, digest := sha256(path)) != digest:
        raise ValueError(damaged(name, WEIGHTS, "its checksum is another one than when it was written"))
    try:
        found = torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # there are many ways in which bytes are no weights
        raise ValueError(damaged(name, WEIGHTS, f"it cannot be read ({type(error).__name__})")) from None
    if not files.mapping_of(lambda value: isinstance(value, torch.Tensor))(found):
        raise ValueError(damaged(name, WEIGHTS, "it holds no weights of a network"))
    return dict(found)


def damaged(name: str, path: str, why: str) -> str:
    """Return the sentence for a file of a run that cannot be used."""
    return f"{path} of the run {name} is damaged, {why}: {REMEDY}"
