"""What a run is called: what tells it apart in its launch first, then all that says what it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from neuroexp.settings import keys
from neuroexp.sweep import launch
from neuroexp.terminal.shown import plain

NAMED = {"dataset", "recording", "model", "window", "step", "fold"}  # what a run's name says without their keys
CHOSEN = ("split", "label", "trainer", "optimizer")  # groups whose choice is said when it is not the dataset's own


def title(cfg: DictConfig) -> str:
    """Return the run's name: what is swept in its launch, and then the rest of what says what it is.

    That is the recording unless it is the dataset's own, network, window, step, fold, what an experiment or a file of one's
    own has chosen, and what else was typed.
    """
    swept = launch.swept()
    words = _words(cfg, swept)
    return " ".join(
        [*(words[key] for key in words if key in swept), *(words[key] for key in words if key not in swept)]
    )


def typed() -> dict[str, str]:
    """Return what was typed for this job, or is swept by its experiment, beyond the choices that every run names."""
    overrides = (override.lstrip("+~").partition("=") for override in HydraConfig.get().overrides.task)
    return {
        key: value or "null"
        for key, _, value in overrides
        if key not in NAMED
        and key.split(".")[0] not in keys.LOGISTICS  # which change no score
        and key.split(".")[-1] not in keys.PLACES
    }


def _words(cfg: DictConfig, swept: frozenset[str]) -> dict[str, str]:
    """Return the words of a run's name by the keys of what they say."""
    choices = HydraConfig.get().runtime.choices
    words = {"model": choices["model"], "window": f"W{cfg.window}", "step": f"S{cfg.step}", "fold": f"fold{cfg.fold}"}
    if cfg.step is None:
        del words["step"]
    if choices["recording"] != f"{choices['dataset']}_simulated" or "recording" in swept:
        words = {"recording": choices["recording"]} | words
    if "dataset" in swept:
        words = {"dataset": choices["dataset"]} | words
    said = typed()
    settings = _chosen(cfg, choices, said) | said
    leaves = Counter(key.split(".")[-1] for key in settings)
    for key, value in settings.items():
        leaf = key.split(".")[-1]
        bare = value.strip("'\"")
        bare = Path(bare).stem if leaf == "path" else bare
        # blanks part the words of a name
        words[key] = plain(f"{leaf if leaves[leaf] == 1 else key}={'_'.join(bare.split())}")
    return words


def _chosen(cfg: DictConfig, choices: Mapping[str, Any], said: Mapping[str, str]) -> dict[str, str]:
    """Return the choices, and the number of epochs, that nobody typed and that are not those of the dataset alone."""
    usual = _usual(choices["dataset"])
    found = {
        group: choices[group]
        for group in CHOSEN
        if group not in said and choices[group] != usual.get(group) and (group != "label" or "label" in cfg.dataset)
    }
    trainer = _settings(f"trainer/{choices['trainer']}")
    epochs = trainer.get("trainer", trainer).get("max_epochs")
    if "trainer.max_epochs" not in said and epochs is not None and cfg.trainer.max_epochs != epochs:
        found["trainer.max_epochs"] = str(cfg.trainer.max_epochs)
    return found


@cache
def _usual(dataset: str) -> dict[str, str]:
    """Return the choice of each group that a dataset brings, or that is there without one."""
    found: dict[str, str] = {}
    for name in ("config", f"dataset/{dataset}"):
        for entry in _settings(name).get("defaults", []):
            if isinstance(entry, dict):
                found |= {group.removeprefix("override ").lstrip("/"): choice for group, choice in entry.items()}
    return found


@cache
def _settings(name: str) -> dict[str, Any]:
    """Return a file of the package's configuration as it is written; nothing when there is none of that name."""
    path = files("neuroexp.conf") / f"{name}.yaml"
    found = OmegaConf.to_container(OmegaConf.create(path.read_text(encoding="utf-8"))) if path.is_file() else {}
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}
