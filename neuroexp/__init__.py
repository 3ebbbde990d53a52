"""neuroexp: experiments on decoding the peripheral nervous system (Hydra, PyTorch Lightning, MLflow)."""

from pathlib import Path

__version__ = "0.1.0"

# In a wheel the configuration lies in neuroexp/conf; in a checkout it lies at the top, beside this package. Adding the
# top to the package's search path makes `pkg://neuroexp.conf` find it in both.
if not (Path(__file__).parent / "conf").is_dir():
    __path__.append(str(Path(__file__).parent.parent))
