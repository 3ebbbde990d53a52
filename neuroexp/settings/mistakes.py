"""One sentence for what Hydra cannot compose: which word, what is wrong with it, what is valid."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from importlib.resources import files

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from neuroexp.terminal import usage

AWKWARD = " ~=()%:"  # which Hydra takes for grammar


def sentence(error: HydraException | OmegaConfBaseException) -> str:
    """Return what was wrong with a command line, in place of Hydra's several lines (which advise to add a misspelt key)."""
    if isinstance(error, MissingConfigException) and error.options is not None:
        file = str(error.missing_cfg_file).removesuffix(".yaml")
        group, _, option = file.rpartition("/") if file.startswith("hydra/") else file.partition("/")
        return f"{group}={option} is not there{valid(option, _options(group) or error.options)}"
    if isinstance(error, OverrideParseException):
        return _unread(error)
    if swept := re.match(r"Ambiguous value for argument '(.*?)'\s", str(error)):
        return f"{swept[1]} is a sweep, for which -m is typed: neuroexp -m {swept[1]}"
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__
    if isinstance(cause, OmegaConfBaseException):
        what = f"{cause.full_key}: " * bool(cause.full_key) + str(cause).partition("\n")[0]
        return _misspelt(cause) if str(error).startswith("Could not override") else what
    if isinstance(error, MissingConfigException) and "primary config" in str(error):
        return f"--config-name={error.missing_cfg_file}: no folder of --config-dir or of this package holds that file"
    return " ".join(str(error).split())


def _unread(error: OverrideParseException) -> str:
    """Return the sentence for a word that Hydra cannot take apart."""
    if "=" not in str(error.override):
        return f"{error.override} is no setting: settings are typed as name=value, such as window=60"
    name, _, value = str(error.override).partition("=")
    if value.endswith(","):
        return f"{error.override} ends before its last value: no blanks around commas, such as window=20,60"
    if not value.startswith(("[", "{", "'", '"')) and set(value) & set(AWKWARD):
        marks = f"blanks or one of {AWKWARD.replace(' ', '')}"
        return (
            f"{error.override} cannot be read: a value with {marks} is typed in quotes of its own: \"{name}='{value}'\""
        )
    said = error.message.splitlines()
    why = [" ".join(line.split()) for line in said if line.strip() != "^" and "https://" not in line]
    why = [line for line in why if line != error.override and not line.startswith("Error parsing override")]
    return f"{error.override} cannot be read: {' '.join(why)}"


def _misspelt(error: OmegaConfBaseException) -> str:
    """Return the sentence for a key that is not there."""
    node = error.parent_node
    names = {str(key) for key in node if not str(key).startswith("_")} if isinstance(node, DictConfig) else set()
    parent, _, key = str(error.full_key).rpartition(".")
    if not parent:
        names |= {group.partition("/")[0] for group, _ in usage.groups()}
    owners = [f"{parent}={option}" for option in _owners(parent, key)]
    if owners and key not in names:
        return f"{error.full_key} is a setting of {' and of '.join(owners)} alone"
    return f"{error.full_key} is no setting{f' of {parent}' if parent else ''}{valid(key, names)}"


def _owners(group: str, key: str) -> list[str]:
    """Return the options of a group that have a setting."""
    found = []
    for option in dict(usage.groups()).get(group, ()):
        try:
            settings = OmegaConf.create((files("neuroexp.conf") / group / f"{option}.yaml").read_text())
        except FileNotFoundError:  # an option of another package
            continue
        if key in settings:
            found.append(option)
    return found


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
