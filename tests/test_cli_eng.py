"""ENG on the command line, as a user runs it."""

import csv

import numpy as np
from test_cli import store
from test_eng_readers import write_rhd

from neuroexp.recordings import eng_simulated

# the shortest recording that seven stimuli per class fit in
SHORT = ("dataset=eng", "recording.duration_s=14", "trainer=smoke")


def test_one_run_leaves_scores_tables_and_pictures(neuroexp):
    done = neuroexp(*SHORT, "recording.rat=4", "+trainer.limit_train_batches=3")
    assert done.code == 0, done.out
    assert "Warning" not in done.out
    [result] = done.results()
    assert result["name"] == "mobilescapenet W100 fold0 duration_s=14 trainer=smoke rat=4 limit_train_batches=3"
    assert {
        "test/macro_f1",
        "test/accuracy",
        "test/f1_pricking",
        "control/balanced_accuracy",
        "baseline/f1_chance",
    } <= result["scores"].keys()
    assert result["scores"]["cost/parameters"] == 67_843
    assert result["scores"]["cost/flops"] == 82_798_211
    opened = store(done.folder)
    run = opened.client.get_run(result["run_id"])
    assert "step" not in run.data.params
    assert "label" not in run.data.params
    assert run.data.params["recording.rat"] == "4"  # what was typed can be compared in MLflow
    assert {
        "data/snr_db_pricking",
        "data/cap_recall_pricking",
        "data/test_stimuli_seen_in_train",
    } <= run.data.metrics.keys()
    local = done.folder / "outputs" / "artifacts" / result["run_id"] / "artifacts"
    pictures = sorted(path.name for path in (local / "plots").iterdir())
    assert pictures == ["confusion.png", "loss.png", "preparation.png", "signatures.png"]
    rows = list(csv.DictReader((local / "per_class.csv").read_text().splitlines()))
    assert [row["class"] for row in rows] == ["dorsiflexion", "plantarflexion", "pricking"]


def test_both_datasets_in_one_sweep_and_each_recording_prepared_once(neuroexp, tmp_path):
    words = ("-m", "dataset=eng,hdsemg", "recording.duration_s=14", "fold=0,1", "model=mldcnn", "trainer=smoke")
    cache = tmp_path / "outputs" / "cache"
    done = neuroexp(*words, NEUROEXP_CACHE=str(cache))
    assert done.code == 0, done.out
    results = done.results()
    assert [result["status"] for result in results] == ["finished"] * 4
    assert [("test/macro_f1" in r["scores"], "test/f1" in r["scores"]) for r in results] == [(True, False)] * 2 + [
        (False, True)
    ] * 2
    assert len(list(cache.glob("*.npz"))) == 1
    again = neuroexp(*words, NEUROEXP_CACHE=str(cache))
    assert [result["status"] for result in again.results()] == ["skipped"] * 4


def test_a_folder_of_intan_files(neuroexp, tmp_path):
    simulated = eng_simulated.read(duration_s=14)
    for name in simulated.classes:
        signal = simulated.read(name).signal[: 3280 * 128]
        counts = np.clip(np.rint(signal / 0.195) + 32768, 0, 65535).astype(np.uint16)
        folder = tmp_path / "Rat6" / name.capitalize()
        folder.mkdir(parents=True)
        for number, part in enumerate(np.split(counts, [1000 * 128])):
            write_rhd(folder / f"{name}_{number}.rhd", part)
    words = ("dataset=eng", "recording=intan", "model=engnet", "trainer=smoke")
    done = neuroexp(*words, f"recording.path={tmp_path / 'Rat6'}")
    assert done.code == 0, done.out
    [result] = done.results()
    assert result["name"] == "intan engnet W100 fold0 trainer=smoke path=Rat6"
    run = store(done.folder).client.get_run(result["run_id"])
    assert 200 < run.data.metrics["data/caps_pricking"] < 500
    assert "data/cap_recall_pricking" not in run.data.metrics  # nobody knows the true ones
    moved = (tmp_path / "Rat6").rename(tmp_path / "elsewhere")
    again = neuroexp(*words, f"recording.path={moved}")
    assert [result["status"] for result in again.results()] == ["skipped"]


def test_the_ablation_narrowed(neuroexp):
    done = neuroexp(
        "experiment=mobilescapenet/ablation",
        *SHORT[1:],
        "recording.rat=6",
        "fold=0",
        "model=mobilescapenet/E2,mobilescapenet/E3",
        "+trainer.limit_train_batches=1",
        "+trainer.limit_test_batches=1",
    )
    assert done.code == 0, done.out
    sizes = {result["name"].split()[0]: result["scores"]["cost/parameters"] for result in done.results()}
    assert sizes == {"mobilescapenet/E2": 67_843, "mobilescapenet/E3": 62_915}


def test_every_mistake_gets_one_sentence(several):
    mistakes = {
        ("step=10",): "step=10: with dataset=eng windows follow the CAPs",
        ("recording=hdsemg_simulated", "recording.duration_s=8"): "recording=hdsemg_simulated is for dataset=hdsemg",
        (
            "recording=otb",
            "recording.path=nowhere",
        ): "recording=otb is for dataset=hdsemg, which decodes HD-sEMG; dataset=eng "
        "takes recording=eng_simulated, eng_rats, intan or signatures",
        ("label=window",): "label=... is for dataset=hdsemg; with dataset=eng the label of a window is the class",
        ("split=given",): "split=given needs a recording that sets a test part aside, eng_rats or signatures",
        ("recording=intan",): "recording=intan needs a rat's folder; recording.path=",
        ("recording=intan", "recording.path=nowhere"): "nowhere is not there",
        ("recording=signatures",): "recording=signatures does not know the stimulus of a CAP; take split=given",
        ("recording=signatures", "split=given"): "recording.path=",
        ("recording.rat=2",): "recording.rat=2 has no signal-to-noise ratio in Table I",
        ("recording.duration_s=4",): "stimuli, too few for a test part of 1 and 5 folds",
        (
            "split=blocked",
        ): "split=blocked is for dataset=hdsemg, which decodes HD-sEMG; dataset=eng takes split=stimulus",
        ("dataset.preprocessing.low_sd=20",): "no CAP lies between low_sd=20 and high_sd=25",
        ("dataset.preprocessing.low_sd=many",): "dataset.preprocessing.low_sd=many must be a number",
        ("dataset.rate_hz=20000",): "sampled at 30000 Hz, but dataset.rate_hz is 20000",
    }

    def words(changes):
        given = [word for word in SHORT if word.split("=")[0] not in {change.split("=")[0] for change in changes}]
        if changes[0].startswith("recording="):  # the group, which has its own keys
            given = [word for word in given if not word.startswith("recording.")]
        return [*given, *changes]

    for says, done in zip(mistakes.values(), several([words(changes) for changes in mistakes]), strict=True):
        assert done.code == 1, done.out
        assert says in done.text, done.out
        assert "Traceback" not in done.out
