"""The Python source behind a configuration's callables: which files it is, kept with a run, and loaded from there again."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib.util
import json
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

FOLDER, TAG = "sources", "neuroexp.sources"  # of a run that keeps some
INDEX = "index.json"  # of the kept source: a digest per module
IMPORTS = ("import_module", "__import__")  # functions that import a module by its name
PACKAGES = ("neuroexp", "neuroexp.models")  # which hold no network themselves


def digests(config: Any) -> dict[str, str]:
    """Return the digests of the source on which a resolved configuration depends beside released packages, by module.

    That is the module of every `_target_` that lies in no installed package, and what these modules import of their kind;
    of neuroexp itself its networks, where it is a checkout. Nothing is imported.
    """
    found: dict[str, Path] = {}
    waiting = [name for target in _targets(config) if (name := _module(target)) and _counts(name)]
    while waiting:
        name = waiting.pop()
        if name not in found and name not in PACKAGES and (path := file(name)) is not None:
            found[name] = path
            waiting += [other for other in _imported(name, path) if other not in found]
    return {name: digest(path) for name, path in sorted(found.items())}


def _targets(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if isinstance(node.get("_target_"), str):
            yield node["_target_"]
        for value in node.values():
            yield from _targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from _targets(value)


def _counts(name: str) -> bool:
    return not name.startswith("neuroexp.") or name.startswith("neuroexp.models.")


def _module(dotted: str) -> str:
    """Return the longest beginning of a dotted name that is a module of nobody's package; empty where there is none."""
    parts = dotted.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((name for name in names if file(name) is not None), "")


def file(name: str) -> Path | None:
    """Return the source of a module, without importing it; None when there is none, or it is part of an installed package."""
    top, *rest = name.split(".")
    try:
        spec: ModuleSpec | None = importlib.util.find_spec(top)
    except (ImportError, ValueError):  # ValueError: a module without a spec, such as __main__
        return None
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        # by its last name alone: with the whole one, Python asks for the package around it, which is not imported
        spec = PathFinder.find_spec(part, list(spec.submodule_search_locations))
    if spec is None or not spec.has_location or not str(spec.origin).endswith(".py"):
        return None
    path = Path(str(spec.origin)).resolve()
    return None if _is_installed(path) else path


@cache
def _is_installed(path: Path) -> bool:
    places = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    named = {"site-packages", "dist-packages"} & set(path.parts)
    return bool(named) or any(path.is_relative_to(place) for place in places)


def _imported(name: str, path: Path) -> Iterator[str]:
    """Yield the modules of nobody's package that a source imports, wherever in it, and the packages that it lies in."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for length in range(1, package.count(".") + 2 if package else 0):
        yield ".".join(package.split(".")[:length])
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # whoever imports it will say so
        return
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Call) and node.args and _called(node) in IMPORTS:
            said = node.args[0]
            names = [said.value] if isinstance(said, ast.Constant) and isinstance(said.value, str) else []
        yield from filter(None, map(_module, names))


def _called(node: ast.Call) -> str:
    """Return the last name of what is called."""
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def digest(path: Path) -> str:
    """Return the digest of a source."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:20]


def keep(wanted: Mapping[str, str], folder: Path) -> None:
    """Copy the sources with these digests into a folder; raises ValueError when one has changed since."""
    for name, expected in wanted.items():
        path = file(name)
        if path is None or digest(path) != expected:
            raise ValueError(f"{name} changed while this job ran: type the same command again")
        place = _place(folder, name, path.name == "__init__.py")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    if wanted:
        (folder / INDEX).write_text(json.dumps(dict(wanted), indent=1))


def _place(folder: Path, name: str, package: bool) -> Path:
    return (
        folder.joinpath(*name.split(".")) / "__init__.py"
        if package
        else folder.joinpath(*name.split(".")).with_suffix(".py")
    )


def index(folder: Path) -> dict[str, str]:
    """Return the digests of the sources that a folder keeps; raises ValueError when it does not say them."""
    try:
        found = json.loads((folder / INDEX).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{FOLDER}/{INDEX} of this run cannot be read: {error}") from None
    if not isinstance(found, dict) or not all(re.fullmatch(r"\w+(\.\w+)*", name) for name in found):
        raise ValueError(f"{FOLDER}/{INDEX} of this run names no modules")
    return {name: str(value) for name, value in found.items()}


def changed(kept: Mapping[str, str]) -> list[str]:
    """Return the modules whose source is another one now than these digests say, or not there."""
    paths = {name: file(name) for name in kept}
    return [name for name, path in paths.items() if path is None or digest(path) != kept[name]]


def fresh(names: Iterable[str]) -> None:
    """Have Python compile these modules anew where this process has yet to import them.

    It takes what it compiled before for the source's own by time and size alone. A copy that keeps its time, as those of
    archives do, and in which one digit is another has both.
    """
    for name in names:
        if (path := file(name)) is not None:
            with contextlib.suppress(
                OSError, NotImplementedError
            ):  # somebody else's, or an interpreter that keeps none
                Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)


class Kept:
    """Finds modules in a folder of kept sources, before anything else does."""

    def __init__(self, folder: Path, names: Iterable[str]):
        """`names` are the modules that are taken from there."""
        self.places: dict[str, Path] = {}
        for name in names:
            for package in (True, False):
                if (place := _place(folder, name, package)).is_file():
                    self.places[name] = place

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return where a module is, if it is one of these."""
        place = self.places.get(name)
        return None if place is None else importlib.util.spec_from_file_location(name, place)

    def install(self) -> None:
        """Have this process import from the folder what is to come from there, also what it has imported already."""
        for name in self.places:
            sys.modules.pop(name, None)
        sys.meta_path.insert(0, self)
