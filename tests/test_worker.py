"""What reaches the process of a job besides its orders, and settings of a trainer that leave nothing to test."""

import gc
import os
import signal

import pytest

from neuroexp.sweep.worker import SCHEDULERS, Worker


@pytest.mark.process
@pytest.mark.skipif(not SCHEDULERS, reason="this system has no such signals")
def test_signals_of_a_scheduler_are_left_to_the_launch():
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: heard.append(number))
    worker = Worker()
    try:
        worker._ready()
        process = worker.process
        for number in SCHEDULERS * 2:  # from its first moment on
            os.kill(process.pid, number)
            process.join(1)
        assert process.is_alive()
        os.kill(os.getpid(), signal.SIGUSR2)
        assert heard == [signal.SIGUSR2]  # the launch itself hears them
        worker.close()
        assert process.exitcode == 0
    finally:
        worker.close()
        signal.signal(signal.SIGUSR2, before)


def test_a_training_that_cannot_be_tested_says_why(several):
    small = ("recording.duration_s=12", "recording.units=4", "trainer=smoke", "window=20", "step=20")
    words = (
        ("+trainer.fast_dev_run=true", "trainer.fast_dev_run keeps no epoch that could be tested: trainer=smoke is"),
        ("+trainer.limit_val_batches=0", "val/loss was never measured: no epoch was validated with these settings"),
        ("optimizer.lr=1e9", "val/loss was never a number: lower optimizer.lr"),
    )
    for done, (_, said) in zip(several([(*small, word) for word, _ in words]), words, strict=True):
        assert done.code == 1
        assert said in done.text


WATCHED = """
import gc
from pathlib import Path
from neuroexp.models.mldcnn import MLDCNN

class Watched(MLDCNN):
    def forward(self, windows):
        Path("thresholds").write_text(str(gc.get_threshold()))
        return super().forward(windows)
"""


@pytest.mark.parametrize("sweep", [(), ("-m",)])
def test_a_training_looks_for_garbage_as_often_as_python_does(neuroexp, tmp_path, sweep):
    (tmp_path / "watched.py").write_text(WATCHED)
    words = ("trusted=[watched]", "model._target_=watched.Watched", "recording.duration_s=12", "trainer=smoke")
    done = neuroexp(*sweep, *words, PYTHONPATH=str(tmp_path))
    assert done.code == 0, done.out
    assert (tmp_path / "thresholds").read_text() == str(gc.get_threshold())
