"""What was typed on this command line: which modules it trusts, and the folder in which these are found."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

TYPED, PLACE = "NEUROEXP_TYPED", "NEUROEXP_PLACE"  # in the environment: the words of this command line, and where


def begin(words: Sequence[str]) -> None:
    """Remember what was typed, and where: only that can trust modules, and have them found in the working folder."""
    os.environ["PYTHONSAFEPATH"] = "1"  # no process of this launch imports what lies there by chance
    os.environ |= {TYPED: json.dumps(list(words)), PLACE: str(Path.cwd())}
    install()


def typed() -> list[str]:
    """Return the words of this command line."""
    return [str(word) for word in json.loads(os.environ.get(TYPED, "[]"))]


def is_typed(path: str) -> bool:
    """Return whether a key of the configuration, or one above it, was typed."""
    keys = [word.lstrip("+").partition("=")[0] for word in typed() if "=" in word]
    return any(path == key or path.startswith(f"{key}.") for key in keys)


def trusted(words: Iterable[str] | None = None) -> tuple[str, ...]:
    """Return the modules that `trusted=[...]` names among the words, by default those of this command line.

    Raises ValueError when it names anything but modules.
    """
    found: list[str] = []
    for word in typed() if words is None else words:
        name, equals, value = word.partition("=")
        if equals and name.lstrip("+") == "trusted":
            modules = [part.strip().strip("'\"") for part in value.strip("'\" ").strip("[]").split(",")]
            found = [module for module in modules if module]
            if wrong := [module for module in found if not re.fullmatch(r"\w+(\.\w+)*", module)]:
                raise ValueError(f"trusted={value} names {wrong[0]}, which is no module: trusted=[my_networks]")
    return tuple(found)


def check_trust(named: Sequence[str]) -> tuple[str, ...]:
    """Return the modules that are trusted; raises ValueError for one in `named`, a configuration's, that was not typed."""
    allowed = trusted()
    if foreign := [str(module) for module in named if module not in allowed]:
        raise ValueError(
            f"a configuration file says trusted=[{', '.join(foreign)}], and trust is given on the command line alone: "
            f"type 'trusted=[{', '.join(foreign)}]' if that code may run on this machine"
        )
    return allowed


def inside(name: str, modules: Sequence[str]) -> bool:
    """Return whether a dotted name is one of the modules or lies below one."""
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def advice(target: Any) -> str:
    """Return how to allow a callable, in words that follow a refusal; nothing for what is no name."""
    if not isinstance(target, str) or not re.fullmatch(r"\w+(\.\w+)+", target):
        return ""
    if target.partition(".")[0] in ("neuroexp", "torch", "pytorch_lightning", *sys.stdlib_module_names):
        return ""  # nobody's own
    return f"; if it is code of yours, type 'trusted=[{target.rpartition('.')[0]}]' on this command line"


class Finder:
    """Finds the named modules in one folder, after everything that is installed, and no other file that lies there.

    With the folder itself on `sys.path`, Python would also take from there what packages look for and do not find: Hydra's
    and MLflow's plugins, and their optional dependencies.
    """

    def __init__(self, folder: str, modules: Sequence[str]):
        """Take the modules by their dotted names; whoever trusts a part of a package has the package imported."""
        self.folder, self.names = folder, {module.partition(".")[0] for module in modules}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where a module is, for Python's import; None when it is none of these."""
        return PathFinder.find_spec(name, [self.folder], target) if name in self.names else None


def install() -> None:
    """Have trusted modules found in the folder of the command line, in this process; what was installed before is replaced."""
    sys.meta_path[:] = [entry for entry in sys.meta_path if not isinstance(entry, Finder)]
    if modules := trusted():
        sys.meta_path.append(Finder(os.environ.get(PLACE, ""), modules))
