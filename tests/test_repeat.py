"""A recorded run, trained again: the same scores, bit for bit on the same machine."""

from conftest import SMALL
from test_cli import store

from neuroexp.commands import repeat


def test_a_run_gives_the_same_scores_again_and_a_changed_one_does_not(neuroexp, typed, tmp_path):
    done = neuroexp("window=20", "step=50", *SMALL, "trainer.max_epochs=3")
    [result] = done.results()
    again = typed(tmp_path, "repeat", result["run_id"][:8])  # as the table of a launch shows it
    assert again.returncode == 0, again.stdout + again.stderr
    assert "The scores agree bit for bit." in again.stdout
    assert "test/f1" in again.stdout
    other = typed(tmp_path, "repeat", result["run_id"], "seed=1")
    assert other.returncode == 1
    assert "The scores differ by up to" in other.stdout
    opened = store(tmp_path)
    assert len(opened.client.search_runs([opened.experiment_id])) == 1  # a repetition is no new result
    recorded = opened.client.get_run(result["run_id"])
    assert len(recorded.data.tags["neuroexp.split"]) == 16
    for words, says in (
        (["nope"], "run nope is not in sqlite:///"),
        (["nope", "tracking.uri=sqlite:///gone.db"], "sqlite:///gone.db is not there"),
        ([], "neuroexp repeat RUN_ID"),
    ):
        mistaken = typed(tmp_path, "repeat", *words)
        assert mistaken.returncode == 1
        assert says in mistaken.stderr
        assert "Traceback" not in mistaken.stderr


def test_a_spread_that_an_earlier_version_recorded_of_one_unit_is_no_difference(capsys):
    """It recorded 0 where there is none."""
    now = {"test/f1": 0.5, "spread/f1": float("nan")}
    assert repeat.report("run", {"test/f1": 0.5, "spread/f1": 0.0}, now, []) == 0
    assert repeat.report("run", {"test/f1": 0.5, "spread/f1": 0.1}, now, []) == 1
    assert repeat.report("run", {"test/f1": 0.5, "test/auprc": 0.0}, now, []) == 1
    capsys.readouterr()
