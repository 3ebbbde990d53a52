"""Settings as answers: groups and their options from the files that hold them, keys and values as Hydra composes them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from neuroexp.completion import paths
from neuroexp.cost import devices
from neuroexp.terminal import usage

FOLDER_OPTIONS, NAME_OPTIONS = ("--config-dir", "-cd"), ("--config-name", "-cn")
COMPOSING = ("--multirun", "--config-dir", "--config-name")  # what plan and cost take
CHOICES = {"--cfg": ("job", "hydra", "all"), "-c": ("job", "hydra", "all")}  # of Hydra's options
DEVICE = "budget.device"
NAMES_A_FILE = re.compile(r"(.*[._])?(path|data|cache|folder|dir)")
SIGN = re.compile(r"[+~]*")  # adds or removes a key

Groups = dict[str, list[str]]


def beginning(typed: str, words: Sequence[str]) -> Iterator[str]:
    """Yield the settings that begin as `typed`; `words` are those before it, which choose from the groups."""
    sign = SIGN.match(typed)[0]  # type: ignore[index]
    name, equals, value = typed[len(sign) :].partition("=")
    found = _values(name, value, words) if equals else _names(name, words)
    yield from (f"{sign}{word}" for word in found if word.startswith(name))


def option(before: str, typed: str, words: Sequence[str]) -> list[str] | None:
    """Return what may follow an option of Hydra; None where a setting may."""
    if before in FOLDER_OPTIONS:
        return [*paths.beginning(typed, folders=True)]
    if before in NAME_OPTIONS:
        folder = _folder(words)
        own = folder.glob("*.yaml") if folder else ()
        return sorted({"config", *(path.stem for path in own)})
    return [*CHOICES[before]] if before in CHOICES else None


def options(words: Sequence[str]) -> Iterator[str]:
    """Yield the options that Hydra knows."""
    from hydra._internal.utils import get_args_parser  # noqa: PLC0415 - a fifth of a second

    for action in get_args_parser()._actions:
        yield from (flag for flag in action.option_strings if flag.startswith("--") and flag not in words)


def _given(names: Sequence[str], words: Sequence[str]) -> str | None:
    """Return the value of an option, of which `names` are the long and the short name; None where it is not typed."""
    found = None
    for before, word in pairwise(["", *words]):
        if before in names:
            found = word
        elif word.startswith(f"{names[0]}="):
            found = word.partition("=")[2]
    return found


def _folder(words: Sequence[str]) -> Path | None:
    """Return the folder of one's own in which configurations are looked for first."""
    named = _given(FOLDER_OPTIONS, words)
    return None if named is None else Path(named)


def groups(words: Sequence[str] = ()) -> Groups:
    """Return the options of every group, those in the folders of a group too, as they are typed after its name."""
    found: Groups = {}
    folder = _folder(words)
    own = [(str(path.parent.relative_to(folder)), [path.stem]) for path in folder.glob("*/**/*.yaml")] if folder else []
    for name, choices in [*usage.groups(), *own]:
        group, slash, rest = name.partition("/")
        found.setdefault(group, []).extend(f"{rest}{slash}{choice}" for choice in choices)
    return {group: sorted(set(choices)) for group, choices in found.items() if group != "hydra"}


def _names(typed: str, words: Sequence[str]) -> Iterator[str]:
    """Yield the groups and keys that begin as `typed`, down to the next dot or slash."""
    if typed.startswith("hydra/"):
        yield from (f"hydra/{group}=" for group in _hydra_options("hydra", words, whole=False))
        return
    parent, dot, _ = typed.rpartition(".")
    if dot:
        node = _at(_composed(words), parent)
    else:
        yield from (f"{group}=" for group in groups(words))
        yield "hydra/"
        node = yaml.safe_load((files("neuroexp.conf") / "config.yaml").read_text(encoding="utf-8"))
        del node["defaults"], node["experiment"]
        node |= {group: {"of": "its option"} for group in groups(words) if group != "experiment"}
    for key, value in node.items() if isinstance(node, Mapping) else ():
        if not str(key).startswith("_"):
            below = isinstance(value, Mapping) and value
            yield f"{parent}{dot}{key}{'.' if below else '='}"


def _values(name: str, typed: str, words: Sequence[str]) -> Iterator[str]:
    """Yield what a key may be set to: an option of a group, a device, a path, true or false, else what it is."""
    *before, last = typed.split(",")
    given = f"{name}={''.join(f'{choice},' for choice in before)}"
    choices = groups(words).get(name) or (_hydra_options(name, words) if name.startswith("hydra/") else None)
    if name == DEVICE:
        choices = [*devices.devices()]
    if choices is not None:
        yield from (f"{given}{choice}" for choice in choices if choice.startswith(last) and choice not in before)
    elif NAMES_A_FILE.fullmatch(name) or "/" in typed:
        yield from (f"{name}={path}" for path in paths.values(typed))
    else:
        now = _at(_composed(words), name)
        known = ["true", "false"] if isinstance(now, bool) else [str(now)] if isinstance(now, int | float | str) else []
        plain = [value for value in known if paths.UNQUOTED.fullmatch(value)]
        yield from (f"{name}={value}" for value in plain if value.startswith(typed))


def _at(config: Any, key: str) -> Any:
    """Return what lies at a dotted key, None where nothing does."""
    for part in key.split("."):
        config = config.get(part) if isinstance(config, Mapping) else None
    return config


def _hydra_options(group: str, words: Sequence[str], whole: bool = True) -> list[str]:
    """Return the options of one of Hydra's own groups, those of its plugins too; with not `whole`, the groups below."""
    from hydra.core.object_type import ObjectType  # noqa: PLC0415 - a quarter of a second

    kind = ObjectType.CONFIG if whole else ObjectType.GROUP
    return sorted(_loader(words).repository.get_group_options(group, kind))


def _loader(words: Sequence[str]) -> Any:
    """Return what composes configurations and checks them, with a folder of one's own looked into first."""
    from neuroexp.settings.loader import Loader, search  # noqa: PLC0415 - as above

    return Loader(search(_folder(words)))


def _composed(words: Sequence[str]) -> Any:
    """Return the configuration that the choices among `words` compose, nothing of it resolved; empty when they do not."""
    from hydra import version  # noqa: PLC0415 - as above
    from hydra.errors import HydraException  # noqa: PLC0415 - as above
    from hydra.types import RunMode  # noqa: PLC0415 - as above
    from omegaconf import OmegaConf  # noqa: PLC0415 - as above
    from omegaconf.errors import OmegaConfBaseException  # noqa: PLC0415 - as above

    known = groups(words)
    pairs = [word.partition("=")[::2] for word in words if "=" in word]
    chosen = {name: value.split(",")[0] for name, value in pairs if value and (name in known or name[:6] == "hydra/")}
    version.setbase("1.3")
    try:
        config = _loader(words).load_configuration(
            _given(NAME_OPTIONS, words) or "config", [f"{name}={value}" for name, value in chosen.items()], RunMode.RUN
        )
        return OmegaConf.to_container(config, resolve=False)
    except (HydraException, OmegaConfBaseException, OSError, ValueError):  # said when the command is entered
        return {}
