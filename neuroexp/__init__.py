"""neuroexp: experiments on decoding the peripheral nervous system (Hydra, PyTorch Lightning, MLflow)."""

import os
import sys

__version__ = "0.1.0"

_TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - see below
_COMMAND = sys.argv[:1] == ["-m"]  # `python -m neuroexp...`, and nobody's notebook
if _COMMAND:
    # Python would import from the working folder first, whatever lies there: until this is undone nothing is imported that
    # Python has not loaded already. The processes that a command starts do not look there either.
    if not sys.flags.safe_path and sys.path[0] != _TOP:
        del sys.path[0]
    os.environ["PYTHONSAFEPATH"] = "1"

# In a wheel the configuration lies in neuroexp/conf; in a checkout it lies at the top, beside this package. Adding the
# top to the package's search path makes `pkg://neuroexp.conf` find it in both.
if not os.path.isdir(os.path.join(_TOP, "neuroexp", "conf")):  # noqa: PTH112, PTH118 - as above
    __path__.append(_TOP)
