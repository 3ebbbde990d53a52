"""Completion of command lines in bash, zsh and fish: `neuroexp completion SHELL`."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path

from neuroexp.commands import COMMANDS, HYDRA, Command
from neuroexp.completion import paths, runs, settings
from neuroexp.completion.line import Answer, Line, split, written
from neuroexp.machine.command import command

COMMAND = COMMANDS["completion"]
SHELLS = ("bash", "zsh", "fish")
OPTIONS = ("--help", "--version")
ENGINES = (
    "eager", "compiled", "onnx", "int8", "openvino", "openvino_bf16", "openvino_int8", "executorch", "executorch_int8",
    "cuda", "cuda_graph",
)  # fmt: skip
FORMS = ("onnx", "int8", "executorch", "executorch_int8")

Kind = Callable[[str, Sequence[str]], Iterable[Answer]]  # of the word so far and those before it


@command
def main() -> None:
    """Print what has a shell complete, or, with the line so far, what can come next."""
    shell, *asked = sys.argv[1:] or [""]
    if shell not in SHELLS or len(asked) > 2:
        sys.exit(f"completion is there for {', '.join(SHELLS)}\n{COMMAND.usage}")
    if not asked:
        sys.stdout.write((files("neuroexp.completion") / f"neuroexp.{shell}").read_text(encoding="utf-8"))
        return
    line = split(asked[0])
    part = asked[1] if len(asked) > 1 else None
    for answer in answers(line):
        what = f"\t{answer.what}" if answer.what and shell != "bash" else ""
        print(f"{written(answer, line, shell, part)}{what}")


def answers(line: Line) -> list[Answer]:
    """Return what the word under the cursor may become, each once."""
    name, *words = line.words or ("",)
    if name in COMMANDS:
        found = _of_command(COMMANDS[name], words, line.current)
    else:
        found = _of_run(line.words, line.current)
        if not line.words:
            names = (Answer(each.name, each.line) for each in COMMANDS.values())
            found = itertools.chain(names, (Answer(word) for word in OPTIONS), found)
    return [*{answer.word: answer for answer in found if _fits(answer.word, line.current)}.values()]


def _fits(word: str, current: str) -> bool:
    """Return whether an answer continues the current word; the quotes that Hydra wants around a path may be new."""
    return word.startswith(current) or word.replace("='", "=", 1).replace("\\'", "'").startswith(current)


def _of_run(words: Sequence[str], current: str) -> Iterator[Answer]:
    """Yield what can come next in a training or a sweep."""
    return _of_settings(words, current, settings.options)


def _of_settings(
    words: Sequence[str], current: str, options: Callable[[Sequence[str]], Iterable[str]]
) -> Iterator[Answer]:
    """Yield settings, or what may follow the option before the cursor, or, where a dash stands, `options`."""
    after: Iterable[str] | None = settings.option(words[-1] if words else "", current, words)
    if after is None:
        after = options(words) if current.startswith("-") else settings.beginning(current, words)
    yield from map(Answer, after)


def _of_command(chosen: Command, words: Sequence[str], current: str) -> Iterator[Answer]:
    """Yield what can come next in a command, by what the table says of it."""
    table = chosen.meanings
    if current.startswith("run_id=") and any("RUN_ID" in name for name in table):
        table["run_id=RUN_ID"] = ""  # a longer way of typing it
    flags = {name.partition(" ")[0]: " " in name for name in table if name.startswith("-")}
    if words and flags.get(words[-1]):  # this word is an option's, and anything
        return
    things = [name for name in table if "=" not in name and not name.startswith("-")]
    given = [word for before, word in itertools.pairwise(["", *words]) if not flags.get(before) and _is_thing(word)]
    for thing in things[len(given) :]:
        own = f"{chosen.name} {thing}"
        yield from _kind(own if own in KINDS else thing, current, words)
    for name, what in table.items():
        if "=" in name and not name.startswith("SETTING"):
            yield from _setting(name, what, current, words)
    if "SETTING=" in chosen.typed:
        composes = chosen.note.startswith(HYDRA)
        yield from _of_settings(words, current, lambda _: settings.COMPOSING if composes else ())
    if current.startswith("-"):
        yield from (Answer(flag, table.get(flag, "")) for flag in (*flags, "--help"))


def _is_thing(word: str) -> bool:
    return "=" not in word and not word.startswith("-")


def _setting(entry: str, what: str, current: str, words: Sequence[str]) -> Iterator[Answer]:
    """Yield a setting of the table, `name=VALUE`, or once its name is typed the values of their kind."""
    name, _, kind = entry.partition("=")
    if kind == "NAME":  # an option of a group, whose own settings can be typed too
        own = (f"{name}=", f"{name}.")
        yield from (Answer(word) for word in settings.beginning(current, words) if word.startswith(own))
    elif current.startswith(f"{name}="):
        for answer in _kind(kind, current.removeprefix(f"{name}="), words):
            yield Answer(f"{name}={answer.word}", answer.what)
    elif name == name.lower():
        yield Answer(f"{name}=", what)


def _kind(kind: str, typed: str, words: Sequence[str]) -> Iterator[Answer]:
    """Yield what stands in the table for a word of a kind: `RUN_ID`, `RUN_ID|FILE`, or the words themselves, `1|max`."""
    for each in kind.split("|"):
        if each in KINDS:
            yield from KINDS[each](typed, words)
        elif "|" in kind:
            yield Answer(each)


def _artefacts(typed: str, words: Sequence[str]) -> Iterator[Answer]:
    """Yield the tables and figures of the papers, as they lie in the package."""
    for paper in sorted(files("neuroexp.experiments").iterdir(), key=lambda entry: entry.name):
        if paper.is_dir() and (paper / "__init__.py").is_file():
            names = sorted(entry.name for entry in paper.iterdir())
            yield from (
                Answer(f"{paper.name}/{name.removesuffix('.py')}")
                for name in names
                if name.endswith(".py") and name[0] != "_"
            )


def _launches(typed: str, words: Sequence[str]) -> Iterator[Answer]:
    """Yield folders, where none is typed yet those of the launches in ./outputs, the newest first."""
    found = sorted(Path("outputs").glob("*/launch.json"), reverse=True)
    yield from (Answer(f"{path.parent}") for path in found)
    yield from _folders(typed, words)


def _folders(typed: str, words: Sequence[str]) -> Iterator[Answer]:
    yield from map(Answer, paths.beginning(typed, folders=True))


def _files(typed: str, words: Sequence[str]) -> Iterator[Answer]:
    yield from map(Answer, paths.beginning(typed))


def _several(names: Sequence[str]) -> Kind:
    """Return the kind of words apart by commas, each of which is one of `names` and stands there once."""

    def answer(typed: str, words: Sequence[str]) -> Iterator[Answer]:
        before = typed.split(",")[:-1]
        given = "".join(f"{name}," for name in before)
        yield from (Answer(f"{given}{name}") for name in names if name not in before)

    return answer


KINDS: dict[str, Kind] = {
    "RUN_ID": runs.beginning,
    "FILE": _files,
    "FOLDER": _folders,
    "status FOLDER": _launches,
    "PAPER/NAME": _artefacts,
    "ENGINE": lambda typed, words: map(Answer, ENGINES),
    "ENGINE,...": _several(ENGINES),
    "FORM,...": _several(FORMS),
    "SHELL": lambda typed, words: map(Answer, SHELLS),
}
