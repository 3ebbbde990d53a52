"""A finished run brought back: its network in microvolts gives the scores that the run has."""

import numpy as np
import pytest
import torch
from conftest import SMALL

from neuroexp.deploy import restore
from neuroexp.evaluation import scores


def test_the_decoder_of_a_run_has_its_scores(neuroexp, tmp_path, monkeypatch):
    done = neuroexp("window=20", "step=50", *SMALL, "trainer.max_epochs=3", "dataset.band_hz=[20,400]")
    [result] = done.results()
    monkeypatch.chdir(tmp_path)
    back = restore.load(restore.ask([result["run_id"]], "usage"))
    test = back.fold.split.test
    with torch.no_grad():
        probabilities = back.decoder(restore.microvolts(back.fold, test))
    tally = scores.counts(probabilities > back.spec.threshold, back.fold.labels[torch.from_numpy(test)] > 0)
    assert float(scores.f1(tally).nanmean()) == pytest.approx(result["scores"]["test/f1"], abs=1e-6)
    assert back.spec == back.spec.from_json(back.spec.to_json())
    assert (back.spec.window, back.spec.step, back.spec.decisions_hz) == (20, 50, 2048 / 50)
    assert back.spec.preparation == {"band_hz": [20, 400], "order": 2, "zero_phase": True}
    with pytest.raises(ValueError, match=r"is not the recording.* was trained on"):
        restore.load(restore.ask([f"run_id={result['run_id']}", "recording.seed=3"], "usage"))
    with pytest.raises(ValueError, match="usage"):
        restore.ask(["window=20"], "usage")
    for word, says in (
        ("sped=max", r"^sped is no setting: did you mean (speed|seed)\?"),
        ("recording.mcv=3", "^recording.mcv is no setting of recording: did you mean mvc"),
        ("window.x=3", "^window.x is no setting of window: it has none"),
        ("dataset.band_hz=null", r"^dataset.band_hz=null: the run was trained with \[20, 400\], and its network"),
        ("label=window", "^label=window: the run was trained with label_step, and its network"),
        ("window=60", "^window=60: the run was trained with 20, and its network"),
        ("918be", "^918be is no setting: settings are typed as name=value\nusage"),
    ):
        with pytest.raises(ValueError, match=says):
            restore.ask([result["run_id"], word], "usage", own=("speed",))
    asked = restore.ask([result["run_id"], "speed=1", "tracking.uri=" + back.asked.uri], "usage", own=("speed",))
    assert asked.words == {"speed": "1"}
    with pytest.raises(ValueError, match="does not describe a decoder"):
        back.spec.from_json('{"name": 1}')
    kept = tmp_path / "outputs" / "artifacts" / result["run_id"] / "artifacts"
    for name, says in (
        (
            "model.pt",
            "^model.pt of the run mldcnn .* is damaged, its checksum is another one than when it was written: ",
        ),
        ("config.yaml", "^config.yaml of the run mldcnn .* is damaged, it "),
    ):
        whole = (kept / name).read_bytes()
        (kept / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ValueError, match=says):
            restore.load(restore.ask([result["run_id"]], "usage"))
        (kept / name).unlink()
        with pytest.raises(
            ValueError, match=rf"is without its files, {name} is not there: delete the run in MLflow and"
        ):
            restore.load(restore.ask([result["run_id"]], "usage"))
        (kept / name).write_bytes(whole)


def test_microvolts_come_back_in_the_order_of_the_recording():
    from neuroexp.data.fold import Fold, Metadata
    from neuroexp.data.splits import Split

    signal = np.random.default_rng(0).normal(3, 2, (200, 4)).astype(np.float32)
    order = np.array([2, 0, 3, 1])
    starts = np.arange(0, 180, 20)
    split = Split(*np.split(np.arange(9), 3))
    fold = Fold(signal[:, order], starts, 20, np.ones((9, 1), np.float32), split, 4, 0, Metadata(order=order))
    found = restore.microvolts(fold, split.test)
    expected = np.stack([signal[start : start + 20].T for start in starts[split.test]])
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-5)
