"""What `benchmarks/device.py` has measured so far: a JSON file that is whole at any moment, and the same as tables."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FAILED = "failed"  # the column of the sentence that says why there are no figures
WIDE = {"what": 13, "how": 25, "network": 15, "engine": 10}  # letters of columns that hold words

Values = Mapping[str, Any]


class Record:
    """Rows of figures by section and variant; every change is on disk before the next one is measured."""

    def __init__(self, path: Path):
        """Take up what is in `path`, a JSON file, or begin anew; the tables lie beside it as Markdown."""
        self.path = path
        self.content: dict[str, Any] = {"machine": {}, "measuring": None, "sections": {}, "rows": []}
        if path.is_file():
            self.content = json.loads(path.read_text())

    def note(self, **values: Any) -> None:
        """Keep facts about the whole run."""
        self.content |= values
        self._write()

    def section(self, name: str, title: str, columns: Mapping[str, str]) -> None:
        """Say what a section measures; `columns` are the headings of its variants and figures by key."""
        self.content["sections"][name] = {"title": title, "columns": dict(columns)}
        self._write()

    def has(self, section: str, variant: Values) -> bool:
        """Return whether a variant was measured, or has failed."""
        return any(row["section"] == section and row["variant"] == variant for row in self.content["rows"])

    def figures(self, section: str, variant: Values) -> dict[str, float] | None:
        """Return the figures of a variant; None where there are none."""
        rows = (row for row in self.content["rows"] if row["section"] == section and row["variant"] == variant)
        return next((row["figures"] for row in rows if row["figures"]), None)

    def add(
        self, section: str, variant: Values, figures: Values | None = None, failed: str = "", took_s: float = 0.0
    ) -> str:
        """Keep a variant's figures, or the sentence that says why there are none; return it as a line to print."""
        kept = {key: _plain(value) for key, value in (figures or {}).items()}
        row = {"section": section, "variant": dict(variant), "figures": kept, "took_s": round(took_s, 2)}
        self.content["rows"].append(row | ({FAILED: failed} if failed else {}))
        self.note(measuring=None)
        return self.line(section, row | {FAILED: failed})

    def head(self, section: str) -> str:
        """Return the headings of a section as a line to print."""
        columns = self.content["sections"][section]["columns"]
        return "  ".join(f"{heading:>{_width(key, heading)}}" for key, heading in columns.items())

    def line(self, section: str, row: Values) -> str:
        """Return a row as a line to print, below `head`."""
        columns = self.content["sections"][section]["columns"]
        values = row["variant"] | row["figures"]
        if not row["figures"]:
            columns = {key: heading for key, heading in columns.items() if key in row["variant"]}
        cells = (f"{_shown(values.get(key)):>{_width(key, heading)}}" for key, heading in columns.items())
        return "  ".join([*cells, *([row[FAILED]] if row.get(FAILED) else [])])

    def markdown(self) -> str:
        """Return everything as Markdown tables."""
        content, machine = self.content, self.content["machine"]
        lines = [f"# {machine.get('card') or machine.get('processor', '')}", "", f"`{content.get('command', '')}`", ""]
        facts = {key: content[key] for key in ("date", "minutes", "ended", "data") if content.get(key)} | content[
            "machine"
        ]
        lines += [f"- {key.replace('_', ' ')}: {_flat(value)}" for key, value in facts.items()]
        for name, section in content["sections"].items():
            rows = [row for row in content["rows"] if row["section"] == name]
            columns = section["columns"]
            lines += ["", f"## {section['title']}", "", f"| {' | '.join(columns.values())} | |"]
            lines.append(f"|{' --- |' * (len(columns) + 1)}")
            for row in rows:
                values = row["variant"] | row["figures"]
                cells = [_shown(values.get(key)) for key in columns]
                lines.append(f"| {' | '.join([*cells, row.get(FAILED, '')])} |")
        return "\n".join(lines) + "\n"

    def _write(self) -> None:
        tables = self.path.with_suffix(".md")
        for path, text in ((self.path, json.dumps(self.content, indent=1)), (tables, self.markdown())):
            partial = path.with_name(path.name + ".part")
            partial.write_text(text)
            partial.replace(path)


def _plain(value: Any) -> Any:
    """Return what JSON can hold: a number that is not finite becomes its name."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _width(key: str, heading: str) -> int:
    return max(WIDE.get(key, 9), len(heading))


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_flat(part)}" for key, part in value.items())
    return str(value)
