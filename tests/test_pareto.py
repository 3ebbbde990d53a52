"""Which decoder fits: fronts, what is averaged over, and the best one within a budget."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from experiments.artefact import arguments
from experiments.budget.pareto import best, drawn, front, left_out, one_condition, points, sentences
from neuroexp.cost import budget

MACS = {"small": 1e6, "large": 8e6}


def runs(**columns):
    """Two networks at two windows and two steps on three recordings, two folds each."""
    rows = [
        {"model": model, "window": window, "step": step, "recording.subject": subject, "fold": fold, "seed": 0}
        for model in MACS
        for window in (20, 60)
        for step in (10, 50)
        for subject in (1, 2, 3)
        for fold in (0, 1)
    ]
    table = pd.DataFrame(rows)
    table["run_id"] = [str(number) for number in range(len(table))]
    table["recording_name"] = "simulated S" + table["recording.subject"].astype(str)
    table["dataset.rate_hz"], table["split"], table["trainer.max_epochs"] = 2000.0, "blocked", 5
    table["cost/mac"] = table["model"].map(MACS) * table["window"] / 20
    table["cost/size_kb"], table["cost/size_int8_kb"], table["cost/activation_kb"] = 400.0, 100.0, 40.0
    table["cost/ms_per_window"] = 1.0 + table["fold"]
    table["test/f1"] = (
        0.2 + table["window"] / 100 + (table["model"] == "large") * 0.1 + table["recording.subject"] / 100
    )
    table["test/f1"] += table["fold"] / 50 - table["step"] / 1000
    for name, column in columns.items():
        table[name] = column
    return table


numbers = st.floats(0, 10).map(lambda value: round(value, 0))  # rounded, so that many are equal


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=20))
def test_the_front_is_what_no_other_point_beats(found):
    costs, scores = zip(*found, strict=True)
    on = front(costs, scores)
    for place, (cost, score) in enumerate(found):
        beaten = any(
            other[0] <= cost and other[1] >= score and (other[0] < cost or other[1] > score) for other in found
        )
        assert on[place] == (not beaten)
    assert on.any()


def test_what_has_no_cost_or_score_is_on_no_front():
    assert front([1, np.nan, 3], [0.5, 0.9, np.nan]).tolist() == [True, False, False]


def test_runs_of_an_earlier_version_are_compared_by_their_own_count():
    old = runs().rename(columns={"cost/mac": "cost/macs"})
    mixed = pd.concat([runs().query("fold == 0"), old.query("fold == 1")])
    for table in (old, mixed):
        found = points(table, "test/f1", budget.read({}))[0]
        np.testing.assert_allclose(found["energy_uj"], points(runs(), "test/f1", budget.read({}))[0]["energy_uj"])


def test_a_mark_is_the_mean_over_the_shared_recordings():
    table, n, kept = points(runs(), "test/f1", budget.read({"energy_uj": 5, "device": "gap9"}))
    assert (n, len(table), len(kept)) == (3, 8, 48)
    row = table[(table["model"] == "small") & (table["window"] == 60) & (table["step"] == 10)].iloc[0]
    assert (row["score"], row["score_sd"]) == (pytest.approx(0.2 + 0.6 + 0.02 + 0.01 - 0.01), pytest.approx(0.01))
    assert row["mac_per_s"] == pytest.approx(3e6 * 2000 / 10)  # the runs do not say, their step does
    assert row["energy_uj"] == pytest.approx(3 * 2.217)
    assert row["memory_kb"] == 110
    assert row["latency_ms"] == 1.5
    assert row["runs"] == 6
    assert list(table["budget"]) == ["over: energy"] * 4 + ["within"] * 2 + ["over: energy"] * 2
    assert "budget" not in points(runs(), "test/f1", budget.read({}))[0]


def test_recordings_that_not_every_decoder_has_seen_are_left_out():
    table = runs()
    lacking = table[~((table["model"] == "large") & (table["recording.subject"] == 2))]
    shown, n, kept = points(lacking, "test/f1", budget.read({}))
    assert (n, len(shown), set(kept["recording.subject"])) == (2, 8, {1, 3})
    assert left_out(lacking, kept) == ["left out simulated S2, on which not every decoder was run"]
    apart = table[(table["model"] == "large") == (table["recording.subject"] == 2)]
    shown, n, kept = points(apart, "test/f1", budget.read({}))
    assert (n, len(shown)) == (1, 4)
    assert "left out 4 decoders, for no recording has all of them" in left_out(apart, kept)


def test_conditions_are_never_mixed():
    table = runs()
    other = table[table["window"] == 60].assign(split="random", **{"split.seed": 3})
    chosen, words = one_condition(pd.concat([table, other], ignore_index=True), "test/f1")
    assert set(chosen["split"]) == {"blocked"}
    assert words == ["left out 24 runs with split=random split.seed=3 (F1 up to 0.94)"]
    assert one_condition(table, "test/f1")[1] == []
    better = table.assign(**{"trainer.max_epochs": 60, "test/f1": table["test/f1"] + 0.05})
    for order in ([table, better], [better, table]):  # of as many decoders the better ones
        chosen, words = one_condition(pd.concat(order, ignore_index=True), "test/f1")
        assert set(chosen["trainer.max_epochs"]) == {60}
        assert words == ["left out 48 runs with trainer.max_epochs=5 (F1 up to 0.94)"]


def test_the_best_decoder_within_a_budget_is_named():
    allowed = budget.read({"energy_uj": 5, "device": "gap9"})
    table, n, _ = points(runs(), "test/f1", allowed)
    assert sentences(table, "HD-sEMG", n, allowed) == [
        "HD-sEMG: the best decoder within budget.energy_uj=5 is small W20 S10, F1 0.42 ± 0.01 over 3 recordings."
    ]
    nothing = budget.read({"energy_uj": 1e-6})
    table, n, _ = points(runs(), "test/f1", nothing)
    assert best(table) is None
    assert sentences(table, "ENG", n, nothing) == ["ENG: no decoder is within budget.energy_uj=1e-06."]
    idle, n, _ = points(runs().assign(**{"test/f1": 0.0}), "test/f1", allowed)
    assert sentences(idle, "HD-sEMG", n, allowed) == [
        "HD-sEMG: no decoder within budget.energy_uj=5 finds anything: the best F1 is 0 over 3 recordings."
    ]
    free = budget.read({})
    table, n, _ = points(runs(), "test/f1", free)
    assert best(table)["model"] == "large"
    assert "no budget is set" in sentences(table, "ENG", n, free)[0]


def test_the_figure_says_that_it_is_simulated_and_draws_the_limit():
    allowed = budget.read({"energy_uj": 5, "device": "gap9"})
    table, n, _ = points(runs(), "test/f1", allowed)
    figure = drawn(table, "HD-sEMG: score against cost", n, allowed, simulated=True)
    assert isinstance(figure, Figure)
    assert figure.get_suptitle().endswith("over 3 recordings · simulated")
    energy = next(axes for axes in figure.axes if "gap9" in axes.get_xlabel())
    assert "estimate" in energy.get_xlabel()
    assert any(list(line.get_xdata()) == [5, 5] for line in energy.lines)
    assert sum("over the limit" in axes.get_legend_handles_labels()[1] for axes in figure.axes) == 1
    old = runs().drop(columns=["cost/size_kb", "cost/size_int8_kb", "cost/activation_kb"])  # of an earlier version
    table, n, _ = points(old, "test/f1", allowed)
    figure = drawn(table, "HD-sEMG", n, allowed, simulated=False)
    assert any("these runs do not say" in text.get_text() for axes in figure.axes for text in axes.texts)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["budget.energy=2"], "budget.energy is no limit"),
        (["budget.energy_uj=1,2"], "budget.energy_uj=1,2: a figure has one budget"),
        (["budget.energy_uj=much"], "budget.energy_uj=much is no number above 0"),
        (["budget.device=abacus"], "budget.device=abacus is not among the devices"),
    ],
)
def test_a_mistaken_budget_gets_one_sentence(tmp_path, words, says):
    (tmp_path / "mlflow.db").touch()
    with pytest.raises(ValueError, match=says):
        arguments([f"tracking.uri=sqlite:///{tmp_path}/mlflow.db", *words])


def test_a_budget_on_the_command_line_narrows_no_runs(tmp_path):
    (tmp_path / "mlflow.db").touch()
    source, _ = arguments([f"tracking.uri=sqlite:///{tmp_path}/mlflow.db", "budget.energy_uj=2", "window=20"])
    assert source.budget.limits == {"energy_uj": 2.0}
    assert source.only == {"window": ("20",)}
