"""What it takes to know a run again: a key over its configuration, and the code, packages and machine behind it."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuroexp import __version__

if TYPE_CHECKING:
    pass


def _git(*words: str) -> str:
    """Return what git says about this code; raises OSError or CalledProcessError outside a checkout."""
    folder = Path(__file__).parent.parent
    return subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, check=True).stdout.strip()


@cache
def revision() -> dict[str, str]:
    """Return tags with the git revision of this code, and whether it was changed since; empty outside a checkout."""
    try:
        _git("ls-files", "--error-unmatch", "__init__.py")  # installed into a foreign repository is no checkout
        return {"mlflow.source.git.commit": _git("rev-parse", "HEAD"), "git.changed": str(bool(changes())).lower()}
    except (OSError, subprocess.CalledProcessError):
        return {}


@cache
def changes() -> str:
    """Return what was changed in this code since its git revision, as a patch; empty outside a checkout."""
    try:
        return _git("diff", "HEAD", "--", ".", "../conf")
    except (OSError, subprocess.CalledProcessError):
        return ""


@cache
def environment() -> dict[str, Any]:
    """Return Python, packages and hardware."""
    import torch  # noqa: PLC0415 - too slow to import for --help

    return {
        "neuroexp": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "packages": dict(sorted((d.metadata["Name"], d.version) for d in distributions())),
    }
