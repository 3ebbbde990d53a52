"""What every command does around its own work: is this a place to work in, and how it says what the system refuses."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import ParamSpec

from neuroexp.machine import places
from neuroexp.terminal.shown import lines

P = ParamSpec("P")


def command(main: Callable[P, None]) -> Callable[P, None]:
    """Have `main` end with one sentence where its folder or the system is at fault, and send nothing hidden to the terminal."""

    @functools.wraps(main)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            places.here()
            main(*args, **kwargs)
            sys.stdout.flush()
        except BrokenPipeError:  # as `| head` does, which has read enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except OSError as error:
            sys.exit(lines(places.trouble(error)))
        except ValueError as error:
            sys.exit(lines(places.told(error) or str(error)))
        except SystemExit as end:
            if isinstance(end.code, str):
                sys.exit(lines(end.code))
            raise

    return run
