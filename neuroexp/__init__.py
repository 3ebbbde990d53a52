"""neuroexp: experiments on decoding the peripheral nervous system (Hydra, PyTorch Lightning, MLflow)."""

import sys
from pathlib import Path
from types import TracebackType

__version__ = "0.1.0"

# In a wheel the configuration lies in neuroexp/conf; in a checkout it lies at the top, beside this package. Adding the
# top to the package's search path makes `pkg://neuroexp.conf` find it in both.
if not (Path(__file__).parent / "conf").is_dir():
    __path__.append(str(Path(__file__).parent.parent))


def _end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Have Ctrl-C end a command in a word, wherever it is, its imports included."""
    if issubclass(kind, KeyboardInterrupt):
        print("stopped", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


if sys.argv[:1] == ["-m"]:  # a command, `python -m neuroexp...`, and nobody's notebook
    sys.excepthook = _end
    # Python would import from the working folder first, whatever lies there; `trusted=[...]` puts it back, last
    if not sys.flags.safe_path and Path(sys.path[0]) != Path(__file__).parent.parent:
        del sys.path[0]
