"""One sentence for what Hydra cannot compose: which word, what is wrong with it, what is valid."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from neuroexp import usage


def sentence(error: HydraException | OmegaConfBaseException) -> str:
    """Return what was wrong with a command line, in place of Hydra's several lines (which advise to add a misspelt key)."""
    if isinstance(error, MissingConfigException) and error.options is not None:
        file = str(error.missing_cfg_file).removesuffix(".yaml")
        group, _, option = file.rpartition("/") if file.startswith("hydra/") else file.partition("/")
        return f"{group}={option} is not there{valid(option, _options(group) or error.options)}"
    if isinstance(error, OverrideParseException):
        if "=" not in str(error.override):
            return f"{error.override} is no setting: settings are typed as name=value, such as window=60"
        said = error.message.splitlines()
        why = [line for line in said if not line.startswith("Error parsing override") and "https://" not in line]
        return f"{error.override} cannot be read: {' '.join(why)}"
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__
    if isinstance(cause, OmegaConfBaseException):
        if str(error).startswith("Could not override"):
            return _misspelt(cause)
        what = str(cause).partition("\n")[0]
        return f"{cause.full_key}: {what}" if cause.full_key else what
    return " ".join(str(error).split())


def _misspelt(error: OmegaConfBaseException) -> str:
    """Return the sentence for a key that is not there."""
    node = error.parent_node
    names = {str(key) for key in node if key != "_target_"} if isinstance(node, DictConfig) else set()
    parent, _, key = str(error.full_key).rpartition(".")
    if not parent:
        names |= {group.partition("/")[0] for group, _ in usage.groups()}
    return f"{error.full_key} is no setting{f' of {parent}' if parent else ''}{valid(key, names)}"


def _options(group: str) -> list[str]:
    """Return the options of a group of ours and of the groups below it."""
    return [
        f"{found}/{option}".removeprefix(f"{group}/")
        for found, options in usage.groups()
        if f"{found}/".startswith(f"{group}/")
        for option in options
    ]


def valid(word: str, names: Iterable[str]) -> str:
    """Return the end of a sentence about a word that is none of `names`: the nearest of them, and all."""
    if not names:
        return ": it has none"
    near = difflib.get_close_matches(word, list(names), 1)
    return (f": did you mean {near[0]}?" if near else ".") + f" Valid: {', '.join(sorted(names))}"
