"""The parts of the reference that are made from the product itself at every build, so that they are never out of date."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

from neuroexp import commands

ROOT = Path(__file__).parent.parent
CONF = ROOT / "conf"
HIDDEN = {"_target_", "_partial_", "_convert_", "defaults", "hydra"}  # what Hydra needs and nobody sets
APART = ("hydra", "experiment", "__pycache__")  # no groups of settings


def command_pages() -> str:
    """Return a section for each command: what it does, how it is typed, and what its words mean."""
    parts = []
    for command in commands.COMMANDS.values():
        parts += [f"## {command.name}", command.sentence]
        parts.append(f"```text\nneuroexp {command.name} {command.typed}\n```")
        if command.meanings:
            rows = [f"| {_code(word)} | {_cell(what)} |" for word, what in command.meanings.items()]
            parts.append("\n".join(["| word | meaning |", "| --- | --- |", *rows]))
        if command.note:
            parts.append(_sentence(command.note))
        if command.example:
            parts.append(f"```bash\n{command.example}\n```")
    return "\n\n".join(parts)


def setting_pages() -> str:
    """Return a section for every configuration file: its comments, its settings and their defaults."""
    parts = ["## All runs", _file(CONF / "config.yaml")]
    for group in sorted(path for path in CONF.iterdir() if path.is_dir() and path.name not in APART):
        parts.append(f"## {group.name}")
        parts += [
            part for path in sorted(group.rglob("*.yaml")) for part in (_option(group, path), _file(path)) if part
        ]
    parts += ["## experiment", "Each sweeps by itself over what is listed here; what you type narrows it."]
    for path in sorted((CONF / "experiment").rglob("*.yaml")):
        swept = (yaml.safe_load(path.read_text()).get("hydra") or {}).get("sweeper", {}).get("params", {})
        rows = [f"| `{name}` | {_code(str(values))} |" for name, values in swept.items()]
        table = "\n".join(["| swept | values |", "| --- | --- |", *rows]) if rows else ""
        parts += [_option(CONF / "experiment", path), _intro(path), table]
    return "\n\n".join(part for part in parts if part)


def _option(group: Path, path: Path) -> str:
    return f"### {group.name}={path.relative_to(group).with_suffix('')}"


def _file(path: Path) -> str:
    """Return what a configuration file says: its first comment, what it builds, and its settings in tables."""
    text = path.read_text()
    lines = text.splitlines()
    target = re.search(r"^_target_: (\S+)", text, re.MULTILINE)
    everywhere = path.parent == CONF or "@package _global_" in text
    place = "" if everywhere else path.relative_to(CONF).parts[0]
    parts = [_intro(path), f"Builds `{target[1]}`." if target else ""]
    rows: list[str] = []
    for setting in _settings(text, yaml.compose(text), place):
        above = lines[setting.first - 1]
        if rows and above.startswith("#") and not lines[setting.first - 2].strip():  # a new paragraph of the file
            parts += [_table(rows), _sentence(above.lstrip("# "))]
            rows = []
        rows.append(f"| `{setting.name}` | {_code(setting.value)} | {_cell(_comment(lines, setting.last))} |")
    return "\n\n".join(part for part in (*parts, _table(rows)) if part)


def _table(rows: list[str]) -> str:
    return "\n".join(["| setting | default | meaning |", "| --- | --- | --- |", *rows]) if rows else ""


def _intro(path: Path) -> str:
    """Return the comment that a file begins with."""
    said = []
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            break
        if "@package" not in line:
            said.append(line.lstrip("# "))
    return _sentence(" ".join(said))


class Setting(NamedTuple):
    """A setting of a configuration file: its dotted name, its value as it is written, its first and last line from 0."""

    name: str
    value: str
    first: int
    last: int


def _settings(text: str, node: yaml.Node, place: str) -> Iterator[Setting]:
    """Yield the settings below a node, whose own name is `place`."""
    for key, value in node.value:
        name = ".".join(part for part in (place, key.value) if part)
        written = text[value.start_mark.index : value.end_mark.index].strip()
        if key.value in HIDDEN or written == f"${{{key.value}}}":
            continue  # the last is a value of the top that is handed on
        if isinstance(value, yaml.MappingNode) and not value.flow_style:
            if "#" in text.splitlines()[key.start_mark.line]:
                yield Setting(f"{name}.", "", key.start_mark.line, key.start_mark.line)
            yield from _settings(text, value, name)
        else:
            yield Setting(name, written or "null", key.start_mark.line, value.end_mark.line)


def _comment(lines: list[str], last: int) -> str:
    """Return the comment behind a setting that ends in line `last`, and the indented ones below it."""
    _, _, said = lines[last].partition(" # ")
    for line in lines[last + 1 :]:
        if not re.match(r"\s+#", line):
            break
        said += f"; {line.strip(' #')}"
    return said


def _code(text: str) -> str:
    return f"`{text.replace('|', chr(92) + '|')}`" if text else ""


def _cell(text: str) -> str:
    """Return text for a cell of a table: no bar, no character that Markdown would take for its own."""
    return re.sub(r"([|*_<>\[\]$])", r"\\\1", text)


def _sentence(text: str) -> str:
    return f"{_cell(text).rstrip('.')}." if text else ""


PARTS: dict[str, tuple[Callable[[], str], Callable[[], list[Path]]]] = {
    "<!-- generated: commands -->": (command_pages, lambda: [Path(commands.__file__)]),
    "<!-- generated: settings -->": (setting_pages, lambda: sorted(CONF.rglob("*.yaml"))),
}
