"""Several trainings on one device: networks stacked into one, or processes side by side."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from benchmarks.device_steps import Batches
from neuroexp.data.fold import Fold

ROOT = Path(__file__).parent.parent


class Stacked:
    """Networks of one kind side by side, each with its own weights and dropout: windows (network, batch, channel, time)."""

    def __init__(self, networks: Sequence[nn.Module]):
        """Stack the networks' weights; the networks themselves stay as they are."""
        self.parameters, self.buffers = stack_module_state(list(networks))
        self.one = copy.deepcopy(networks[0]).to("meta")

    def tensors(self) -> list[Tensor]:
        """Return the stacked parameters and buffers (network, ...)."""
        return [*self.parameters.values(), *self.buffers.values()]

    def __call__(self, windows: Tensor) -> Tensor:
        """Return the logits (network, batch, unit)."""

        def call(parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> Tensor:
            return functional_call(self.one, (parameters, buffers), (x,))

        return vmap(call, randomness="different")(self.parameters, self.buffers, windows)


class Side:
    """The data of several folds of one recording, one after another in one signal, for networks that train side by side."""

    def __init__(self, folds: Sequence[Fold], count: int, size: int):
        """Network number n of `count` trains on fold n modulo their number, in batches of `size` windows."""
        self.count, self.size, self.window = count, size, folds[0].window
        self.signal = torch.cat([fold.signal for fold in folds])
        self.starts = [fold.starts + number * len(fold.signal) for number, fold in enumerate(folds)]
        self.labels = [fold.labels for fold in folds]
        self.train = [torch.from_numpy(fold.split.train) for fold in folds]
        self.steps = min(len(train) for train in self.train) // size

    def gather(self, starts: Tensor) -> Tensor:
        """Return the windows (network, batch, channel, time) that begin at `starts` (network, batch)."""
        n_samples, n_channels = self.signal.shape
        size = (n_samples - self.window + 1, self.window, n_channels)
        windows = self.signal.as_strided(size, (n_channels, n_channels, 1))
        return windows.index_select(0, starts.flatten()).mT.reshape(*starts.shape, n_channels, self.window)

    def batches(self) -> Batches:
        """Return batches (network, batch) without end; every network has an order of its own."""
        generators = [torch.Generator().manual_seed(seed) for seed in range(self.count)]
        while True:
            starts, labels = [], []
            for number, generator in enumerate(generators):
                fold = number % len(self.train)
                train = self.train[fold]
                order = train[torch.randperm(len(train), generator=generator)[: self.steps * self.size]]
                chosen = order.to(self.signal.device).reshape(self.steps, self.size)
                starts.append(self.starts[fold][chosen])
                labels.append(self.labels[fold][chosen])
            yield from zip(torch.stack(starts, dim=1), torch.stack(labels, dim=1), strict=True)


class Processes:
    """Processes that train through the loop of a run, at the same time, when they are asked to."""

    def __init__(self, count: int, threads: int):
        """Start so many processes with so many threads each."""
        self.threads = threads
        self.errors: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the processes
        words = [sys.executable, "-m", "benchmarks.device_alone"]
        pipe = subprocess.PIPE
        self.running = [
            subprocess.Popen(words, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=self.errors, text=True, bufsize=1)
            for _ in range(count)
        ]

    def train(self, count: int, **asked: Any) -> list[dict[str, float]]:
        """Return what `count` of them measured while all of them trained; raises ValueError when one could not."""
        chosen = self.running[:count]
        for process in chosen:
            self._say(process, json.dumps(asked | {"threads": self.threads}))
        answers = [self._answer(process) for process in chosen]
        for process, answer in zip(chosen, answers, strict=True):
            if answer == "ready":
                self._say(process, "go")
        found = [json.loads(self._answer(p) if a == "ready" else a) for p, a in zip(chosen, answers, strict=True)]
        for measured in found:
            if "failed" in measured:
                raise ValueError(f"one of {count} processes failed: {measured['failed']}")
        return found

    def close(self) -> None:
        """End the processes: their input ends."""
        for process in self.running:
            process.kill()
            process.communicate()
        self.errors.close()

    def _say(self, process: subprocess.Popen[str], line: str) -> None:
        assert process.stdin is not None
        try:
            process.stdin.write(line + "\n")
            process.stdin.flush()
        except OSError:
            raise ValueError(self._died()) from None

    def _answer(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "ready" or line.startswith("{"):  # other lines are a library's
                return line.strip()
        raise ValueError(self._died())

    def _died(self) -> str:
        self.errors.seek(0)
        said = self.errors.read().strip().splitlines()
        return f"a process ended before it answered: {said[-1] if said else 'it said nothing'}"
