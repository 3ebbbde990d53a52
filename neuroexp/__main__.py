"""The command line: the first word chooses a command; without one the words are a training or a sweep."""

from __future__ import annotations

import importlib
import sys
from types import TracebackType

from neuroexp import __version__, commands
from neuroexp.machine import garbage


def main() -> None:
    """Do what was typed, or print its help; exit with 2 for a word that means nothing."""
    sys.excepthook = _end
    garbage.seldom()
    words = sys.argv[1:]
    try:
        name = commands.chosen(words)
    except commands.WordError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    if words[:1] == ["--version"]:
        print(f"neuroexp {__version__}")
        return
    if {"-h", "--help"} & set(words):
        from neuroexp.terminal import usage  # noqa: PLC0415 - it reads the configuration groups

        lines = {command.name: command.line for command in commands.COMMANDS.values()}
        print(commands.COMMANDS[name].help if name else usage.text(lines))
        return
    if name:
        del sys.argv[1]
    importlib.import_module(f"neuroexp.commands.{name or 'run'}").main()


def _end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Have Ctrl-C end a command in a word, wherever it is, its imports included."""
    if issubclass(kind, KeyboardInterrupt):
        print("stopped", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


if __name__ == "__main__":
    main()
