"""Tables and figures from finished runs: what they average, what they refuse, what they write."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import LAUNCH
from forked import WARNINGS

from experiments import comparison, pictures, published, statistics
from experiments.artefact import Artefact, number, readable
from experiments.cells import Cells, DifferError, per_recording, settings
from experiments.mobilescapenet.snr_f1 import _correlation, _spearman
from experiments.page import artefacts
from experiments.sweeps import values


def table(**columns):
    """Runs with every combination of networks, windows, rats and folds; `columns` are further settings or scores."""
    rows = [
        {"model": model, "window": window, "recording.rat": rat, "fold": fold, "seed": 0, "trainer.max_epochs": 5}
        for model in ("small", "large")
        for window in (20, 60)
        for rat in (4, 5, 6)
        for fold in (0, 1)
    ]
    runs = pd.DataFrame(rows)
    runs["run_id"] = [str(number) for number in range(len(runs))]
    runs["recording_name"] = "simulated rat " + runs["recording.rat"].astype(str)
    runs["model.width"] = runs["model"].map({"small": 1, "large": 2})
    runs["test/f1"] = runs["recording.rat"] / 10 + runs["fold"] / 100 + (runs["model"] == "large") * 0.2
    for name, column in columns.items():
        runs[name] = column
    return runs


def test_folds_are_averaged_within_a_recording_and_recordings_counted():
    summary = Cells(table(), ("model", "window")).summary(["test/f1"])
    assert list(summary["n"]) == [3] * 4
    assert list(summary["runs"]) == [6] * 4
    row = summary[(summary["model"] == "small") & (summary["window"] == 20)].iloc[0]
    rats = np.array([0.4, 0.5, 0.6]) + 0.005
    assert (row["mean"], row["mean_sd"]) == pytest.approx((rats.mean(), rats.std(ddof=1)))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("trainer.max_epochs", lambda runs: runs["fold"] + 5),
        ("model.width", lambda runs: runs["fold"]),  # of one network
        ("split", lambda runs: ["random", "blocked"] * (len(runs) // 2)),
        ("window", None),
    ],
)
def test_runs_that_differ_in_anything_but_fold_and_seed_are_not_averaged(name, change):
    factors = ("model", "window") if change else ("model",)
    runs = table() if change is None else table(**{name: change(table())})
    with pytest.raises(DifferError, match=rf"differ in {name} \(.*, and would be averaged: choose"):
        Cells(runs, factors)


def test_settings_of_networks_may_differ_between_networks():
    assert len(Cells(table(), ("model", "window")).scores) == 12


def test_a_factor_that_no_run_sets_changes_nothing():
    """Runs come without the settings that are null in all of them, such as the step of windows that follow CAPs."""
    whole, unset = (Cells(table(), factors).scores for factors in (("model", "window"), ("model", "window", "step")))
    assert unset["step"].isna().all()
    pd.testing.assert_frame_equal(unset.drop(columns="step"), whole)


def test_pairs_need_the_same_recordings_and_folds():
    at_20 = table()[table()["window"] == 20]
    cells = Cells(at_20, ("model", "window"))
    paired = cells.paired("test/f1")
    assert list(paired.columns) == ["large", "small"]
    assert list(paired["large"] - paired["small"]) == pytest.approx([0.2] * 3)
    runs = at_20
    lacking = runs[~((runs["model"] == "large") & (runs["recording.rat"] == 5) & (runs["fold"] == 1))]
    with pytest.raises(ValueError, match="unpaired: large was not run on recording.rat=5, fold=1, seed=0, others were"):
        Cells(lacking, ("model", "window")).paired("test/f1")
    with pytest.raises(ValueError, match="no run has test/nonsense"):
        cells.paired("test/nonsense")
    with pytest.raises(ValueError, match="runs of one model differ in window: choose one"):
        Cells(table(), ("model", "window")).paired("test/f1")


def test_missing_cells_are_named():
    runs = pd.DataFrame(
        {"model": ["mldcnn"], "window": [20], "step": [10], "fold": 0, "seed": 0, "recording_name": "x"}
    )
    lines = Cells(runs, ("model", "window", "step")).missing("mldrsnet/window_step")
    assert lines[0].startswith("mldrsnet: no run of 20 of 20 cells (window=20 step=10;")
    assert lines[1].startswith("mldcnn: no run of 19 of 20 cells (window=20 step=20;")


def test_sweeps_are_read_as_hydra_reads_them():
    assert values("20,60") == ["20", "60"]
    assert values("range(10,60,10)") == ["10", "20", "30", "40", "50"]
    assert values("7") == ["7"]


def test_settings_are_the_scientific_ones_named_once():
    config = {
        "window": 20,
        "fold": 1,
        "seed": 3,
        "recording": {"rat": 6, "seed": 5, "cache": "x"},
        "output": "somewhere",
    }
    config["dataset"] = {"window": 20, "fold": 1, "recording": {"rat": 6, "seed": 5}, "order": "spatial"}
    assert settings(config) == {"window": 20, "recording.rat": 6, "recording.seed": 5, "dataset.order": "spatial"}


FACT = {
    "where": "Table", "window": np.nan, "step": np.nan, "condition": "", "unit": "", "note": "", "sd": np.nan, "sd_over": "",
}  # fmt: skip


def test_ours_stands_beside_the_published_number():
    scores = pd.DataFrame(
        {
            "model": ["a", "a", "b", "b"],
            "recording.rat": [4, 5, 4, 5],
            "window": 100,
            "test/f1": [0.8, 0.6, 0.5, 0.5],
        }
    )
    fact = FACT | {"window": 100}
    facts = [
        fact | {"model": "a", "metric": "test/f1", "value": 0.75, "sd": 0.1},
        fact | {"model": "a", "metric": "test/f1", "value": 0.6, "sd": 0.05, "condition": "recording.rat=4"},
        fact | {"model": "a - b", "metric": "test/f1", "value": 10, "unit": "%"},
        fact | {"model": "a / b", "metric": "test/f1", "value": 35, "unit": "%"},
        fact | {"model": "a", "metric": "sd test/f1", "value": 0.1},
        fact | {"model": "c", "metric": "test/f1", "value": 0.5},
        fact | {"model": "a", "metric": "test/f1", "value": 0.5, "condition": "recording.mvc=10"},
    ]
    found = published.beside(scores, pd.DataFrame(facts))
    assert list(found["ours"])[:5] == pytest.approx([0.7, 0.8, 20, 40, 0.2 / np.sqrt(2)])
    assert found["ours"].iloc[5:].isna().all()  # a network without runs, a condition that no recording names
    assert list(found["difference"])[:3] == pytest.approx([-0.05, 0.2, 10])
    few = "none below n=5"
    assert list(found["interval"]) == [few, few, few, "", "", "", ""]
    assert "within_sd" not in found
    assert list(found["n"]) == [2, 1, 2, 2, 2, 0, 0]


def test_an_interval_of_the_difference_is_over_subjects_not_over_their_recordings():
    rng = np.random.default_rng(0)
    rows = [{"recording.subject": who, "recording.mvc": mvc} for who in range(6) for mvc in (10, 30, 50)]
    scores = pd.DataFrame(rows).assign(model="a")
    scores["test/f1"] = rng.normal(size=6)[scores["recording.subject"]] / 10 + rng.normal(0.8, 0.001, 18)
    fact = FACT | {"model": "a", "metric": "test/f1", "value": 0.5, "sd": 0.1}
    [row] = published.beside(scores, pd.DataFrame([fact])).to_dict("records")
    means = scores.groupby("recording.subject")["test/f1"].mean().to_numpy()
    low, high = (float(word) for word in row["interval"].split(" to "))
    assert (low, high) == pytest.approx(np.array(statistics.interval(means)) - 0.5, abs=6e-4)
    assert row["n"] == 18
    assert row["ours_sd"] == pytest.approx(scores["test/f1"].std())  # over recordings, as published
    narrow = statistics.interval(scores["test/f1"].to_numpy())
    assert high - low > 1.4 * (narrow[1] - narrow[0])  # three times the recordings would pretend to know more


def test_the_spread_of_macro_f1_is_over_every_class_of_every_rat_as_published():
    classes = np.random.default_rng(1).random((6, 3))
    scores = pd.DataFrame(classes, columns=[f"test/f1_{name}" for name in ("a", "b", "c")])
    scores = scores.assign(model="net", **{"recording.rat": range(4, 10), "test/macro_f1": classes.mean(axis=1)})
    fact = FACT | {"model": "net", "metric": "test/macro_f1", "value": 0.84, "sd": 0.1}
    found = published.beside(scores, pd.DataFrame([fact | {"sd_over": "class"}, fact]))
    assert list(found["ours_sd"]) == pytest.approx([classes.std(ddof=1), classes.mean(axis=1).std(ddof=1)])
    assert list(found["sd_is_over"]) == ["recordings x classes", ""]
    facts = pd.concat([published.read("mobilescapenet", name) for name in ("model_comparison", "snr_f1", "class_f1")])
    macro = facts[facts["metric"] == "test/macro_f1"]
    assert len(macro) == 3
    assert set(macro["sd_over"]) == {"class"}
    assert set(facts.loc[facts["metric"] != "test/macro_f1", "sd_over"]) == {""}


def subjects(n=6, mvc=(10, 30, 50), **columns):
    """Runs of two networks on every recording of `n` subjects, two folds each."""
    rows = [
        {"model": model, "recording.subject": who, "recording.mvc": level, "fold": fold, "seed": 0}
        for model in ("small", "large", "third")
        for who in range(n)
        for level in mvc
        for fold in (0, 1)
    ]
    runs = pd.DataFrame(rows).assign(recording_name="a recording", commit="", **{"trainer.max_epochs": 5})
    runs["run_id"] = runs.index.astype(str)
    runs["test/f1"] = np.random.default_rng(3).random(len(runs))
    return runs.assign(**columns)


def test_intensities_of_a_subject_are_averaged_before_a_test_over_all():
    cells = Cells(subjects(), ("model",))
    table = cells.per_subject("test/f1")
    assert table.shape == (6, 3)
    expected = cells.runs.groupby(["recording.subject", "model"])["test/f1"].mean().unstack()
    assert np.allclose(table.to_numpy(), expected[table.columns].to_numpy())
    artefact = Artefact("a/b", "title", runs=cells.runs)
    comparison.add(artefact, cells, ["test/f1"])
    statistics_table = artefact.tables["statistics"]
    assert dict(statistics_table.groupby("recordings")["n"].first()) == {"all": 6, "all, as published": 18}
    said = " ".join(artefact.notes)
    assert "over 6 subjects" in said
    assert "f1 (all, as published): Friedman chi-squared(2)" in said
    assert "intensities of one subject counted as independent, as in the paper" in said
    assert "No test of pairs in f1: 6 subjects cannot show a difference at 0.05 in the signed rank test" in said
    blank = statistics_table[statistics_table["recordings"] == "all"]
    assert blank["p_holm"].isna().all()
    assert blank["low"].notna().all()


def test_one_intensity_needs_no_second_version_and_few_subjects_get_no_interval():
    cells = Cells(subjects(n=4, mvc=(10,)), ("model",))
    artefact = Artefact("a/b", "title", runs=cells.runs)
    comparison.add(artefact, cells, ["test/f1"])
    assert set(artefact.tables["statistics"]["recordings"]) == {"all"}
    assert artefact.tables["statistics"]["low"].isna().all()
    assert any("none below n=5" in note for note in artefact.notes)


def test_subjects_that_lack_an_intensity_or_a_score_are_not_averaged_with_the_others():
    runs = subjects()
    lacking = runs[~((runs["recording.subject"] == 2) & (runs["recording.mvc"] == 50))]
    with pytest.raises(ValueError, match=r"recording.subject 2 has 2 intensities, others have 3: narrow"):
        Cells(lacking, ("model",)).per_subject("test/f1")
    gap = runs.copy()
    gap.loc[(gap["recording.subject"] == 1) & (gap["model"] == "small") & (gap["fold"] == 0), "test/f1"] = np.nan
    with pytest.raises(ValueError, match="unpaired: small has no score on 1"):
        statistics.compare(Cells(gap, ("model",)).per_subject("test/f1"))
    nobody = runs.copy()
    nobody.loc[nobody["fold"] == 1, "test/f1"] = np.nan  # a part in which nothing can be scored
    assert Cells(nobody, ("model",)).per_subject("test/f1").notna().all().all()


def test_folds_are_no_subjects():
    runs = subjects(n=1, mvc=(10,)).drop(columns=["recording.subject", "recording.mvc"])
    with pytest.raises(ValueError, match="1 subject cannot show a difference"):
        statistics.compare(Cells(runs, ("model",)).per_subject("test/f1"))


def test_the_correlation_over_six_rats_has_its_exact_p():
    found, p = _spearman(np.arange(6.0), np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.5]))
    assert found == pytest.approx(0.943, abs=5e-4)
    assert p == pytest.approx(12 / 720)  # as tabled; 0.0048 by the asymptotic formula


def test_a_correlation_over_few_rats_says_what_it_cannot_show():
    ratios, f1 = np.arange(6.0), np.array([0.1, 0.2, 0.3, 0.4, 0.6, np.nan])
    assert _correlation(ratios[:3], f1[:3]).endswith(
        "over 3 rats: 1.00, not tested: so few cannot reach 0.05 (smallest possible p 0.33)."
    )
    assert "over 4 rats: 1.00, not tested" in _correlation(ratios[[0, 1, 2, 5]], f1[[0, 1, 2, 3]])
    assert _correlation(ratios, f1).endswith("over 5 rats: 1.00, p = 0.0167 (exact).")  # the sixth was not scored
    assert _correlation(ratios, np.full(6, 0.3)).endswith("over 6 rats: none, for all have the same value.")
    assert _correlation(ratios[:2], np.full(2, np.nan)).endswith("over 0 rats: none, for all have the same value.")


def test_counts_that_need_no_recording_stand_beside_scores_that_do():
    counts = [{"model": name, "window": 100, "cost/parameters": count} for name, count in (("a", 110), ("b", 200))]
    scores = [{"model": "a", "window": 100, "recording.rat": rat, "test/f1": 0.8} for rat in (4, 5)]
    fact = FACT | {"window": 100, "unit": "%", "value": 0} | {"model": "a / b", "metric": "cost/parameters"}
    found = published.beside(pd.DataFrame(scores + counts), pd.DataFrame([fact]))
    assert found["ours"].tolist() == pytest.approx([-45])


def test_a_network_of_ones_own_is_drawn_after_those_of_the_paper_in_a_colour_of_its_own():
    assert pictures.ordered(["tiny", "engnet", "mobilescapenet", "tiny"], ("mobilescapenet", "escapenet", "engnet")) == [
        "mobilescapenet", "engnet", "tiny",
    ]  # fmt: skip
    shades = pictures.colours(["mldrsnet", "mldcnn", "mtdcnn", "tiny", "small"])
    assert len(set(shades)) == 5


def test_differences_are_over_the_recordings_that_both_networks_have():
    scores = pd.DataFrame({"model": ["a", "a", "b"], "recording.rat": [4, 5, 4], "test/f1": [0.9, 0.1, 0.8]})
    found = published.beside(scores, pd.DataFrame([FACT | {"model": "a - b", "metric": "test/f1", "value": 0}]))
    assert (found["ours"].iloc[0], found["n"].iloc[0]) == (pytest.approx(0.1), 1)


def test_recordings_that_were_made_differently_are_not_one():
    runs = table(**{"recording.units": [3, 4] * 12, "data/units": [3.0, 4.0] * 12})
    with pytest.raises(DifferError, match=r"differ in recording.units \(3, 4\)"):
        per_recording(runs)
    assert list(per_recording(table(**{"data/units": 3.0}))["data/units"]) == [3.0] * 3


def test_every_published_number_belongs_to_an_artefact_that_shows_it():
    facts = pd.read_csv(published.FILE)
    shown = {name.partition("/")[::2] for name in artefacts()}
    assert {tuple(pair) for pair in facts[["paper", "artefact"]].drop_duplicates().itertuples(index=False)} <= shown
    assert facts["value"].notna().all()
    for paper, artefact in facts[["paper", "artefact"]].drop_duplicates().itertuples(index=False):
        assert len(published.read(paper, artefact))
    with pytest.raises(ValueError, match="has nothing of mldrsnet/nonsense"):
        published.read("mldrsnet", "nonsense")


def test_numbers_are_written_for_a_reader():
    written = [number(value) for value in (0.84, 0.8412, 15.38, 198.43, 91837635.0, 67843, 4, 1e-5, np.nan, "a", None)]
    assert written == ["0.84", "0.841", "15.4", "198", "91,837,635", "67,843", "4", "1e-05", "", "a", ""]
    shown = readable(pd.DataFrame({"f1": [0.5, 0.25], "f1_sd": [0.125, np.nan], "n": [3, 1]}))
    assert shown.to_dict("list") == {"f1": ["0.50 ± 0.125", "0.25"], "n": ["3", "1"]}


@pytest.fixture
def swept(once, forks, tmp_path) -> Path:
    """A store with a small part of two experiments, and one run in it that was made on another recording."""
    small = ("trainer=smoke", "fold=0")
    hdsemg = ("recording.subject=1,2,3", "recording.duration_s=12", "recording.units=4", "window=20", "step=50")
    eng = ("recording.rat=6", "recording.duration_s=14")
    other = ("recording.duration_s=12", "recording.units=3", "window=20", "step=50")

    def sweep(folder: Path) -> None:
        for words in (
            ("experiment=mldrsnet/window_step", "model=mldcnn", *other, *small),
            ("experiment=mldrsnet/window_step", "model=mldcnn,mtdcnn", *hdsemg, *small),
            ("experiment=mobilescapenet/model_comparison", "model=engnet,lstm", *eng, *small),
        ):
            done, _ = forks.run(folder, LAUNCH, words, WARNINGS)
            assert done.returncode == 0, done.stdout

    (tmp_path / "outputs").mkdir()  # of the test's own, for what it writes; the runs' files stay where they are
    shutil.copy(once("swept", sweep) / "outputs" / "mlflow.db", tmp_path / "outputs")
    return tmp_path


@pytest.fixture
def report(forks, swept) -> Callable[..., str]:
    """Run `neuroexp report`, and return what it says."""

    def run(*words: str) -> str:
        done, _ = forks.run(swept, LAUNCH, ("report", *words), WARNINGS)
        assert done.returncode == 0, done.stdout
        assert "Warning" not in done.stdout
        return " ".join(done.stdout.split())

    return run


def test_one_artefact_says_what_it_was_made_of_and_what_is_missing(swept, report):
    text = report("mldrsnet/window_step", "recording.units=4")
    assert (
        "6 runs (trainer.max_epochs 1) on 3 recordings: simulated S1 30% MVC, simulated S2 30% MVC, simulated S3 30% MVC"
        in text
    )
    assert "mldcnn: no run of 19 of 20 cells" in text
    folder = swept / "outputs" / "paper" / "mldrsnet" / "window_step"
    names = {path.name for path in folder.iterdir()}
    assert {"window_step.csv", "window_step.md", "window_step.tex", "window_step.png", "window_step.pdf"} <= names
    assert len(pd.read_csv(folder / "runs.csv")) == 6
    cells = pd.read_csv(folder / "cells.csv")
    assert set(cells["n"]) == {3}
    assert "30\\% MVC" in (folder / "window_step.tex").read_text()
    assert "\\begin{tabular}" in (folder / "window_step.tex").read_text()


def test_runs_of_another_length_are_refused_until_one_is_chosen(swept, commands):
    [(code, out, _)] = commands([(swept, LAUNCH, ["report", "mldrsnet/window_step"])])
    assert code == 1
    assert out == (
        "the runs differ in recording.units (3, 4), and would be averaged: choose, for instance with recording.units=3\n"
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("window",), "'window' is no SETTING=VALUE"),
        (("tracking.uri=sqlite:///nowhere.db",), "sqlite:///nowhere.db is not there: run an experiment first"),
        (("nonsense=3",), "nonsense is no setting of the runs of mldrsnet/window_step"),
    ],
)
def test_mistakes_get_one_sentence(swept, commands, words, sentence):
    [(code, out, _)] = commands([(swept, LAUNCH, ["report", "mldrsnet/window_step", *words])])
    assert code == 1
    assert out.startswith(sentence)
    assert out.count("\n") == 1


def test_the_best_decoder_within_a_budget_over_whatever_was_trained(swept, report):
    text = report("budget/pareto", "recording.units=4", "budget.energy_uj=600")
    assert "HD-sEMG: the best decoder within budget.energy_uj=600 is ML-DCNN W20 S50, F1" in text
    assert "over 3 recordings. - " in text
    assert "ENG: no run" in text  # their recordings have no units
    table = pd.read_csv(swept / "outputs" / "paper" / "budget" / "pareto" / "pareto_hdsemg.csv")
    verdicts = {"mldcnn": "within", "mtdcnn": "over: energy, stm32u575 too slow"}
    assert dict(zip(table["model"], table["budget"], strict=True)) == verdicts
    both = report("budget/pareto", "recording.rat=6")
    assert "HD-sEMG: no run" in both
    assert "ENG: no budget is set" in both


def test_the_report_is_one_page_with_everything(swept, report):
    report("recording.duration_s=12,14")
    page = (swept / "outputs" / "paper" / "report.html").read_text()
    for name in artefacts():
        assert f'id="{name}"' in page
    assert "http" not in page.replace("http-equiv", "")  # nothing is fetched
    assert "<script" not in page
    assert page.count('class="simulated"') >= 2
    assert "91,837,635" in page
    assert "the runs differ in recording.units" in page  # what could not be made says why, the rest is there
