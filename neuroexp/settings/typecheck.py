"""Values typed on the command line against the annotations of what they are passed to."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Collection, Mapping
from typing import Any, Union, get_args, get_origin, get_type_hints

SCALARS = {int: "a whole number", float: "a number", bool: "true or false", str: "a word", type(None): "null"}


def check(target: Callable[..., Any], values: Mapping[str, Any], where: str) -> None:
    """Raise ValueError when a plain value does not fit the annotation of the parameter of `target` that it is for.

    Only annotations made of plain types are judged; `where` is the configuration key of `values`.
    """
    try:
        hints = get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, TypeError, AttributeError):  # an annotation that exists for type checkers alone
        return
    for name, value in values.items():
        kinds = _alternatives(hints.get(name))
        allowed = [kind for kind in kinds if kind in SCALARS]
        # a class that yaml cannot write, such as Tensor, does not matter
        plain = allowed and all(inspect.isclass(kind) for kind in kinds)
        if plain and isinstance(value, tuple(SCALARS)) and not any(_fits(value, kind) for kind in allowed):
            raise ValueError(f"{where}.{name}={_shown(value)} must be {' or '.join(SCALARS[kind] for kind in allowed)}")


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _fits(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def _shown(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def among(name: str, text: str, valid: Collection[str]) -> list[str]:
    """Return the words, apart by commas, of a command's own setting; raises ValueError for one that is not valid."""
    words = text.split(",")
    unknown = [word for word in words if word not in valid]
    if unknown:
        raise ValueError(f"{name}={unknown[0]} is none of {', '.join(valid)}")
    return words


def whole(name: str, text: str) -> int:
    """Return the value of a command's own word; raises ValueError unless it is a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{name}={text} is no whole number of at least 1")
    return int(text)
