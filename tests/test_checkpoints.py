"""A training goes on from a checkpoint that is whole, and begins anew on any doubt: the scores are the undisturbed ones."""

import logging
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_survival import TINY

from neuroexp.commands import plan
from neuroexp.machine import places
from neuroexp.settings.keys import configuration_key
from neuroexp.store import job
from neuroexp.store.ledger import Cell
from neuroexp.store.tracking import open_store
from neuroexp.sweep import attempt, launch
from neuroexp.training import checkpoints
from neuroexp.training.callbacks import Progress

WORDS = (*TINY, "trainer.max_epochs=4", "~trainer.callbacks.early_stopping", "checkpoint_s=0")


def only_job(folder: Path, *words: str) -> job.Job:
    """Return the job of a command line that is typed in `folder`, the current one, with its log file begun."""
    launch.begin()
    [found] = plan.composed(words)
    found.folder.mkdir(exist_ok=True)
    found.log.touch()
    return found


@pytest.fixture(scope="module")
def cut_off(tmp_path_factory):
    """A job, its scores when nobody disturbs it, and its cell as a training leaves it that is cut off after some epochs."""
    folder = tmp_path_factory.mktemp("cut off")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in (launch.NAME, places.LAUNCH, launch.BAR, launch.PID):
            patch.setenv(name, "")
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        this = only_job(folder, *WORDS)
        tracking = this.config["tracking"]
        cell = Cell(tracking["ledger"], tracking["uri"], "scratch", configuration_key(this.config))
        undisturbed = attempt.run(this)
        assert undisturbed.status == "finished", undisturbed
        forget(this, cell, undisturbed.run_id)
        told = Progress.on_train_epoch_end

        def interrupt(self, trainer, module):
            told(self, trainer, module)
            if trainer.current_epoch == 2:
                raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as epochs:
            epochs.setattr(Progress, "on_train_epoch_end", interrupt)
            assert attempt.run(this).status == "killed"
        kept = folder / "kept"
        shutil.copytree(cell.folder, kept)
        yield this, undisturbed.scores, cell, kept


def forget(this: job.Job, cell: Cell, run_id: str) -> None:
    tracking = this.config["tracking"]
    open_store(tracking["uri"], tracking["artifacts"], "scratch").delete(run_id)
    cell.retire()


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for place in range(len(content) // 2, len(content) // 2 + 40):
        content[place] ^= 0xFF
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def folder(path: Path) -> None:
    path.unlink()
    (path / "within").mkdir(parents=True)


def written(content) -> object:
    """Return a damage: another file, written as checkpoints are, with a checksum that is right."""
    return lambda path: checkpoints.Checked().save_checkpoint(content, path)


DAMAGES = {
    "flipped last": ("last.ckpt", flip),
    "flipped best": ("best.ckpt", flip),
    "cut best": ("best.ckpt", cut),
    "missing best": ("best.ckpt", Path.unlink),
    "a folder": ("last.ckpt", folder),
    "empty": ("last.ckpt", lambda path: path.write_bytes(b"")),
    "nothing in it": ("last.ckpt", written({})),
    "another network": ("last.ckpt", lambda path: written(torch.load(path) | {"state_dict": {}})(path)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_on_any_doubt_a_training_begins_anew_and_ends_with_its_own_scores(cut_off, damage, caplog, monkeypatch):
    this, undisturbed, cell, kept = cut_off
    monkeypatch.setenv(launch.NAME, "x")
    caplog.set_level(logging.INFO)
    shutil.rmtree(cell.folder)
    shutil.copytree(kept, cell.folder)
    name, change = DAMAGES[damage]
    change(cell.folder / name)
    result = attempt.run(this)
    assert result.status == "finished", result
    forget(this, cell, result.run_id)
    assert outcome(result.scores) == outcome(undisturbed)
    [said] = [record.getMessage() for record in caplog.records if "training begins anew" in record.getMessage()]
    assert name in said
    assert "continues from" not in caplog.text
    assert not list(cell.folder.glob("*.ckpt*"))


def outcome(scores: dict) -> dict:
    return {name: value for name, value in scores.items() if name.startswith(("test/", "selected/"))}


def test_a_whole_one_is_continued_from_whatever_it_says_about_where_the_best_weights_are(cut_off, caplog, tmp_path):
    this, undisturbed, cell, kept = cut_off
    caplog.set_level(logging.INFO)
    shutil.rmtree(cell.folder)
    shutil.copytree(kept, cell.folder)
    foreign = tmp_path / "best.ckpt"
    last = torch.load(cell.last)
    for state in last["callbacks"].values():
        if "best_model_path" in state:
            elsewhere = {"dirpath": str(tmp_path), "best_model_path": str(foreign), "last_model_path": str(foreign)}
            state.update(elsewhere, best_k_models={str(foreign): state["best_model_score"]})
            state["kth_best_model_path"] = str(foreign)
    checkpoints.Checked().save_checkpoint(last, cell.last)
    checkpoints.Checked().save_checkpoint(last, foreign)  # of another epoch, and not to be deleted
    result = attempt.run(this)
    assert "continues from" in caplog.text
    assert outcome(result.scores) == outcome(undisturbed)
    assert checkpoints.whole(foreign)
    forget(this, cell, result.run_id)


@given(content=st.binary(max_size=200), place=st.integers(0, 10_000), other=st.integers(1, 255))
@settings(max_examples=30)
def test_one_byte_more_less_or_other_is_seen(content, place, other, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "a.ckpt"
    checkpoints.Checked().save_checkpoint({"content": content}, path)
    assert checkpoints.whole(path)
    true = path.read_bytes()
    changed = bytearray(true)
    changed[place % len(changed)] ^= other
    for untrue in (bytes(changed), true[: place % len(true)], true + b"\0"):
        path.write_bytes(untrue)
        assert not checkpoints.whole(path)
    path.unlink()
    path.symlink_to(tmp_path_factory.mktemp("elsewhere") / "a.ckpt")
    path.resolve().write_bytes(true)
    assert not checkpoints.whole(path)
    path.unlink()
    path.mkdir()
    assert not checkpoints.whole(path)
    path.rmdir()
    # a process that was killed between the new checksum and the new checkpoint leaves the old one, and that is whole
    path.write_bytes(true)
    sums = path.with_name("a.ckpt.sha256")
    sums.write_text("0" * 64 + "\n" + sums.read_text())
    assert checkpoints.whole(path)
    sums.write_bytes(b"\xff")
    assert not checkpoints.whole(path)
    checkpoints.Checked().save_checkpoint(torch.ones(3), path)
    assert str(checkpoints.doubt(path, torch.nn.Linear(2, 2), None)).endswith("a.ckpt is no checkpoint")


def test_only_what_was_written_as_a_checkpoint_is_removed_as_one(tmp_path):
    foreign, ours = tmp_path / "thesis.tex", tmp_path / "a.ckpt"
    foreign.write_text("words")
    checkpoints.Checked().save_checkpoint({}, ours)
    for path in (foreign, ours):
        checkpoints.Checked().remove_checkpoint(path)
    assert list(tmp_path.iterdir()) == [foreign]
