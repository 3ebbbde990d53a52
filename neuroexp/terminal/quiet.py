"""What libraries say about every job is kept off the terminal."""

from __future__ import annotations

import logging
import warnings


def quiet() -> None:
    """Silence what Lightning and MLflow say about every job; the job's log keeps their warnings."""
    logging.raiseExceptions = False  # a log on a disk that is full must not fill the terminal
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # which logs what it raises
    for name in (
        "pytorch_lightning.utilities.rank_zero",
        "pytorch_lightning.trainer.connectors.checkpoint_connector",
        "lightning_fabric.utilities.seed",
        "pytorch_lightning.accelerators.cuda",
        "mlflow",
        "alembic",
    ):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    for message in (
        ".*LeafSpec.*",
        ".*does not have many workers.*",
        ".*logging interval.*",
        ".*GPU available but not used.*",
        ".*Checkpoint directory.*exists and is not empty.*",  # a cell's folder
        ".*weights_only.*was not set.*",
    ):
        warnings.filterwarnings("ignore", message)
