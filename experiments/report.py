"""Artefacts as one self-contained HTML page: no network, no script, light, made to be printed."""

from __future__ import annotations

import base64
import importlib
import io
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from neuroexp import __version__
from neuroexp.store import provenance

from .artefact import Artefact, is_text, readable


def render(artefacts: Sequence[Artefact], words: Sequence[str], when: datetime, left_out: Sequence[str] = ()) -> str:
    """Return the page: every artefact with its tables, figures, provenance and what is missing; which runs are left out."""
    templates = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=templates, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {"image": _image, "readable": readable, "right": _right}
    papers = [
        (paper, str(importlib.import_module(f"{__package__}.{paper}").__doc__).rstrip("."), list(group))
        for paper, group in groupby(artefacts, lambda artefact: artefact.name.partition("/")[0])
    ]
    commit = provenance.revision().get("mlflow.source.git.commit", "")[:8]
    return environment.get_template("report.html").render(
        papers=papers, narrowed=" ".join(words), when=when, version=__version__, commit=commit, left_out=left_out
    )


def _image(figure: Figure) -> str:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=160)
    return base64.b64encode(content.getvalue()).decode()


def _right(table: pd.DataFrame) -> list[bool]:
    """Return for each column that is shown whether it holds numbers, to be set flush right."""
    return [not is_text(table[name if name in table else name.replace(" ", "_")]) for name in readable(table)]
