"""MLflow's tables in a new SQLite store, copied from one that MLflow has made: its hundred migrations take two seconds."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

from filelock import FileLock
from mlflow.store.db import utils


def install(ready: Path) -> None:
    """Have MLflow in this process copy the tables of `ready`, which the first process that needs them makes."""
    migrate = utils._initialize_tables

    def copy(engine: Any) -> None:
        if engine.dialect.name != "sqlite":
            migrate(engine)
            return
        with FileLock(f"{ready}.lock"):
            if not ready.exists():
                made = utils.create_sqlalchemy_engine(f"sqlite:///{ready}.part")
                migrate(made)
                made.dispose()
                Path(f"{ready}.part").rename(ready)
        with contextlib.closing(sqlite3.connect(ready)) as whole, contextlib.closing(engine.raw_connection()) as own:
            whole.backup(own.driver_connection)

    utils._initialize_tables = copy
