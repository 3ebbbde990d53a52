"""Where trusted modules are found that are not installed: in the folder of the command line, which holds nothing else."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


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


def install(folder: str, modules: Sequence[str]) -> None:
    """Have the modules found in `folder`, in this process; what was installed before is replaced."""
    sys.meta_path[:] = [entry for entry in sys.meta_path if not isinstance(entry, Finder)]
    if modules:
        sys.meta_path.append(Finder(folder, modules))
