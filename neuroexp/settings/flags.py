"""Hydra's own options, wherever on a command line they stand, and which of them say something to a command."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import NoReturn

from hydra._internal.utils import get_args_parser

ASIDE = "overrides"  # all that is no option: the settings
DONE = ("multirun", "run", "cfg", "info", "shell_completion")  # options that say what is done, of which one may stand
SHOWN = ("--cfg", "--info")
HOW = ("resolve", "package")  # options that say how --cfg shows a configuration, and nothing without it


def read(words: Sequence[str]) -> Namespace:
    """Return Hydra's options and the settings of a command line; raises ValueError for an option that makes no sense."""
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        raise ValueError(f"{message}: neuroexp --hydra-help shows the options")

    parser.error = refuse  # type: ignore[method-assign]
    given = parser.parse_intermixed_args(list(words))
    if given.experimental_rerun is not None:
        raise ValueError(
            "--experimental-rerun repeats nothing here (it would read a pickle, which can hold any code): "
            "neuroexp repeat RUN_ID trains a recorded run again"
        )
    _check_alone(given)
    for name in ("config_dir", "config_name", "config_path"):
        if "${" in (getattr(given, name) or ""):
            raise ValueError(
                f"--{name.replace('_', '-')}={getattr(given, name)} holds ${{, which is read as a reference"
            )
    return given


def _check_alone(given: Namespace) -> None:
    """Raise ValueError when two options want different things done, of which Hydra would do neither."""
    wanted = [f"--{name.replace('_', '-')}" for name in DONE if getattr(given, name) not in (None, False)]
    if len(wanted) < 2:
        return
    first, other = wanted[:2]
    if first == "--multirun" and other in SHOWN:
        raise ValueError(
            f"-m is for a sweep, of which {other} shows one job before it runs: leave -m out, and give each setting one value"
        )
    raise ValueError(f"{first} and {other} do not go together: leave one of them out")


def ordered(words: Sequence[str]) -> list[str]:
    """Return a command line as Hydra takes it, options before settings; raises ValueError as `read` does.

    That includes an option of which Hydra would take no notice.
    """
    given = vars(read(words))
    for name in HOW:
        if given[name] not in (None, False) and given["cfg"] is None:
            raise ValueError(f"--{name} says how --cfg shows a configuration: add --cfg job, or leave --{name} out")
    settings = given.pop(ASIDE)
    options = []
    for name, value in given.items():
        flag = f"--{name.replace('_', '-')}"
        options += [flag] if value is True else [f"{flag}={value}"] if value not in (None, False) else []
    return [*options, *settings]


def composing(words: Sequence[str]) -> Namespace:
    """Return what a command that only composes can use: settings, `config_dir`, `config_name`; -m says nothing new to it.

    Raises ValueError for any other option.
    """
    given = read(words)
    for name, value in vars(given).items():
        if value not in (None, False) and name not in (ASIDE, "config_dir", "config_name", "multirun", "run"):
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(f"{flag} is an option of a training or sweep alone: nothing is launched here")
    return given
