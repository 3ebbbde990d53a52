"""Text out of files and servers, made safe for a terminal."""

from __future__ import annotations

INVISIBLE = "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0"  # which Python counts among the printable


def plain(text: object, longest: int = 200) -> str:
    r"""Return foreign text in one line of at most `longest` characters that a terminal only shows and never obeys.

    What it would obey or hide (control characters, line ends, marks that turn the direction of writing, characters of no
    width, bytes that are no text) is written out, such as \x1b; what is cut off in the middle becomes an ellipsis.
    """
    text = str(text)
    if len(text) > longest:
        text = f"{text[: longest // 2]}…{text[len(text) - (longest - longest // 2 - 1) :]}"
    safe = "".join(c if c.isprintable() and c not in INVISIBLE else c.encode("unicode_escape").decode() for c in text)
    return safe if len(safe) <= longest else f"{safe[: longest - 1]}…"


def lines(text: str, longest: int = 5000) -> str:
    """Return text of several lines, each of them as `plain` returns it."""
    return "\n".join(plain(line, longest) for line in text.split("\n"))
