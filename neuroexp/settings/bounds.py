"""Where a configuration file may have a launch write: below ./outputs. Any other place is typed, or in the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from neuroexp.machine import places
from neuroexp.settings import trust

# in which Hydra and a job write; a value that changes after it was checked is not among these
FOLDERS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "output")
PART = r"([\w.=+-]|\$\{(oc\.env:NEUROEXP_LAUNCH,composed|now:[\w%:.-]+|hydra\.job\.(num|id))\})+"
BELOW = re.compile(
    rf"(outputs|multirun)(/{PART})*|\$\{{hydra:runtime\.output_dir\}}"
)  # multirun is Hydra's own default
SUBFOLDER = re.compile(PART)
# keys whose values are written to, these wherever they stand, and
PLACES = {"cache", "default_root_dir"}
TOP = {"output", "tracking.uri", "tracking.artifacts", "tracking.ledger"}
SERVERS = re.compile(r"(https?|(postgresql|mysql)(\+\w+)?)://.*")


def check_folders(config: DictConfig) -> None:
    """Raise ValueError when a file has Hydra write anywhere but below ./outputs; `config` is composed, not resolved."""
    for path in FOLDERS:
        node: Any = config
        for part in path.split("."):
            if node is None or node._is_interpolation():
                raise ValueError(f"{path} stands in a part that is an interpolation: write it out")
            node = node._get_node(part, validate_access=False)
        if node is None or trust.is_typed(path):
            continue
        said = str(node._value())
        pattern = SUBFOLDER if path.endswith("subdir") else BELOW
        if not OmegaConf.is_missing(node._get_parent(), path.rpartition(".")[2]) and (
            not pattern.fullmatch(said) or ".." in said
        ):
            raise ValueError(_refusal(path, said))


def check_places(config: Mapping[str, Any], cwd: str, output: str) -> None:
    """Raise ValueError when a file has a job write elsewhere; `config` is resolved, `output` is the job's folder."""
    environment = [os.environ[name] for name in ("NEUROEXP_CACHE", "MLFLOW_TRACKING_URI") if name in os.environ]
    said = list(_places(config, ""))
    roots = [str(Path(cwd) / "outputs"), output, *environment, *(value for path, value in said if trust.is_typed(path))]
    inside = [Path(cwd, _file(root)).resolve() for root in roots]
    for path, value in said:
        answers = path == "tracking.uri" and (SERVERS.fullmatch(value) or value in environment)
        if answers or trust.is_typed(path):
            continue
        if "://" in _file(value) or not any(Path(cwd, _file(value)).resolve().is_relative_to(root) for root in inside):
            raise ValueError(_refusal(path, value))


def check_inside(path: str, value: Any, folder: Any) -> None:
    """Raise ValueError unless what a file says at `path` lies in a folder that has been checked, or below ./outputs."""
    place = Path.cwd() / str(value)
    inside = any(place.resolve().is_relative_to((Path.cwd() / root).resolve()) for root in (str(folder), "outputs"))
    if not inside and not trust.is_typed(path):
        raise ValueError(_refusal(path, value))


def _places(node: Any, where: str) -> Iterator[tuple[str, str]]:
    """Yield the keys and values of the places in a resolved configuration."""
    if isinstance(node, list):
        node = dict(enumerate(node))
    for name, value in node.items() if isinstance(node, Mapping) else ():
        path = f"{where}.{name}" if where else str(name)
        if (name in PLACES or path in TOP) and value is not None and not isinstance(value, Mapping | list):
            yield path, str(value)
        yield from _places(value, path)


def _file(place: str) -> str:
    """Return the file of an SQLite store; any other place as it is."""
    return str(places.database(place) or place)


def _refusal(path: str, value: Any) -> str:
    return (
        f"a configuration file sets {path}={value}, and it may only have results written below ./outputs: "
        f"type {path}=... if that is where they belong"
    )
