"""A command line that is still being typed: its words, and how an answer is written back into it."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

END = "\0"  # which no command line can hold
OPEN = ("=", ".", "/", ",")  # after which an answer goes on
PLAIN = re.compile(r"[\w./=,:@%+~-]")  # what means nothing to a shell within a word


@dataclass(frozen=True)
class Answer:
    """What the word under the cursor may become, and in a few words what that is."""

    word: str
    what: str = ""


@dataclass(frozen=True)
class Line:
    """The words before the cursor, without the program, and the one that the cursor ends."""

    words: tuple[str, ...]
    current: str
    quoted: bool  # whether a quotation is still open at the cursor


def split(text: str) -> Line:
    """Return the words of a command line that ends at the cursor, read as a shell reads them."""
    for closing in ("", '"', "'"):
        try:
            words = shlex.split(text + END + closing)
        except ValueError:  # a quotation is open
            continue
        *before, last = words
        while before and re.match(r"\w+=", before[0]):  # variables of the environment
            del before[0]
        return Line(tuple(before[1:]), last.removesuffix(END), bool(closing))
    return Line((), "", False)


def written(answer: Answer, line: Line, shell: str, part: str | None = None) -> str:
    """Return an answer as a shell takes it, with a blank behind one that is complete.

    `part` is what bash replaces of the word: it takes what stands between two of its COMP_WORDBREAKS, such as `=`, for a
    word of its own.
    """
    word = answer.word
    if shell == "fish":  # which quotes for itself, and knows after what a word goes on
        return word
    if part is not None:
        word = word[_kept(line.current, part) :]
    if line.quoted:
        return word
    home = "~/" if word.startswith("~/") else ""
    word = home + "".join(c if PLAIN.match(c) and c != "~" else f"\\{c}" for c in word.removeprefix(home))
    return word if answer.word.endswith(OPEN) else f"{word} "


def _kept(current: str, part: str) -> int:
    """Return how many characters of the current word stand before the part of it that is replaced."""
    try:
        plain = "".join(shlex.split(part))
    except ValueError:
        plain = part.lstrip("'\"")
    plain = plain.lstrip("=:")  # bash takes the mark itself for the word that it ends
    length = next(n for n in range(len(plain), -1, -1) if current.endswith(plain[:n]))
    return len(current) - length
