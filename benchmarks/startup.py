"""What the words cost that train nothing: help, the composed configuration, and a finished sweep that is typed again."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from statistics import median

TURNS = 7
HYDRA = ("-c", "import hydra")
WORDS = (("-m", "neuroexp", "--help"), ("-m", "neuroexp", "--cfg", "job"))
BOTH = ("-c", "import hydra, mlflow")
SWEEP = ("-m", "neuroexp", "-m", "window=20,60", "step=10,50", "trainer=smoke", "recording.duration_s=12")


def seconds(words: tuple[str, ...], folder: str | None = None) -> float:
    """Return the processor seconds of a Python with these words, which a busy machine changes less than those of a clock."""
    before = os.times()
    subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, check=True)
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
    with tempfile.TemporaryDirectory() as folder:
        seconds(SWEEP, folder)
        pairs = [(seconds(BOTH), seconds(SWEEP, folder)) for _ in range(TURNS)]
    imports = median(pair[0] for pair in pairs)
    beyond = median(pair[1] - pair[0] for pair in pairs)
    print(f"    a finished sweep of four cells: {beyond:.2f} s beyond importing Hydra and MLflow ({imports:.2f} s)")


if __name__ == "__main__":
    main()
