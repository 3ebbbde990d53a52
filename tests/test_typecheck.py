"""Values against annotations: what fits passes, what does not is named, what cannot be judged is left alone."""

from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch

from neuroexp.settings.typecheck import check


class Target:
    def __init__(self, number: int, rate: float | None, on: bool, name: str, lr: float | torch.Tensor = 1, **rest: Any):
        pass


def function(mode: Literal["a"] | int, callback: Callable[[], None], free: Any, bare=None) -> None:
    pass


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"number": "x"}, "key.number=x must be a whole number"),
        ({"number": 1.5}, "key.number=1.5 must be a whole number"),
        ({"number": True}, "key.number=true must be a whole number"),
        ({"number": None}, "key.number=null must be a whole number"),
        ({"rate": "fast"}, "key.rate=fast must be a number or null"),
        ({"on": 1}, "key.on=1 must be true or false"),
        ({"name": 3}, "key.name=3 must be a word"),
        ({"lr": "x"}, "key.lr=x must be a number"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(values, says):
    with pytest.raises(ValueError, match=f"^{says}$"):
        check(Target, values, "key")


@pytest.mark.parametrize(
    "values",
    [
        {"number": 3},
        {"rate": 3},
        {"rate": 0.5},
        {"rate": None},
        {"on": False},
        {"name": "x"},
        {"lr": 1},
        {"other": "x"},
        {"number": [1]},
    ],
)
def test_a_value_that_fits_or_cannot_be_judged_passes(values):
    check(Target, values, "key")
    check(function, {"mode": "b", "callback": 3, "free": 4, "bare": 5}, "key")
