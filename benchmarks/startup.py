"""What the words cost that train nothing: help and the composed configuration, beside importing Hydra alone."""

from __future__ import annotations

import os
import subprocess
import sys
from statistics import median

TURNS = 7
HYDRA = ("-c", "import hydra")
WORDS = (("-m", "neuroexp", "--help"), ("-m", "neuroexp", "--cfg", "job"))


def seconds(words: tuple[str, ...]) -> float:
    """Return the processor seconds of a Python with these words, which a busy machine changes less than those of a clock."""
    before = os.times()
    subprocess.run([sys.executable, *words], capture_output=True, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    """Print the ratios."""
    print(f"Startup: processor seconds, {TURNS} turns")
    turns = [[seconds(words) for words in (HYDRA, *WORDS)] for _ in range(TURNS)]
    alone = median(turn[0] for turn in turns)
    for number, words in enumerate(WORDS, 1):
        ratio = median(turn[number] / turn[0] for turn in turns)
        print(f"    {' '.join(words[1:])}: {ratio:.2f} times importing Hydra ({alone:.2f} s)")


if __name__ == "__main__":
    main()
