"""What runs are called: what tells them apart in their launch comes first, and no two different ones are called the same."""

import json
from collections.abc import Sequence

import pytest
from conftest import SMALL
from hydra import compose, initialize_config_module
from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict

from neuroexp.machine import places
from neuroexp.sweep import launch, naming


@pytest.fixture
def named(monkeypatch, tmp_path):
    """Return what the job of these words is called, in a launch in which these keys are swept."""

    def name(words: Sequence[str], swept: Sequence[str] = ()) -> str:
        described = {
            "name": "a",
            "jobs": 2,
            "cluster": False,
            "began": 0.0,
            "host": "h",
            "command": [],
            "swept": [*swept],
        }
        launch.write(tmp_path, described, launch.LAUNCH)
        monkeypatch.setenv(places.LAUNCH, str(tmp_path))
        with initialize_config_module("neuroexp.conf", version_base="1.3"):
            cfg = compose("config", list(words), return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        with open_dict(cfg):
            del cfg["hydra"]
        return naming.title(cfg)

    yield name
    HydraConfig.instance().cfg = None


@pytest.mark.parametrize(
    ("words", "swept", "name"),
    [
        (["window=20", "step=50"], ["window", "step"], "W20 S50 mldcnn fold0"),
        (["recording.mvc=10", "window=20"], ["recording.mvc"], "mvc=10 mldcnn W20 S10 fold0"),
        (["fold=3", "model=mtdcnn"], ["model", "fold"], "mtdcnn fold3 W60 S10"),
        (["trainer.max_epochs=5"], ["trainer.max_epochs"], "max_epochs=5 mldcnn W60 S10 fold0"),
        (["recording=hdsemg_simulated"], ["recording"], "hdsemg_simulated mldcnn W60 S10 fold0"),
        (["dataset=eng"], ["dataset"], "eng mobilescapenet W100 fold0"),
        (["recording.seed=1", "split.seed=2"], [], "mldcnn W60 S10 fold0 recording.seed=1 split.seed=2"),
        ([], [], "mldcnn W60 S10 fold0"),
        (["trainer=paper"], [], "mldcnn W60 S10 fold0 trainer=paper"),
        (["split=blocked"], [], "mldcnn W60 S10 fold0 split=blocked"),
        (["experiment=mldrsnet/window_step"], [], "mldcnn W60 S10 fold0 split=random trainer=paper"),
        (["experiment=mobilescapenet/ablation"], [], "mobilescapenet W100 fold0 split=random"),
        (
            ["experiment=mobilescapenet/control", "split=random"],
            ["split"],
            "split=random mobilescapenet W100 fold0",
        ),
    ],
)
def test_a_name_begins_with_what_tells_runs_apart_and_says_what_was_chosen(words, swept, name, named):
    assert named(words, swept) == name


def test_epochs_that_a_file_sets_are_said(named, monkeypatch):
    usual = naming._settings
    monkeypatch.setattr(
        naming, "_settings", lambda name: usual(name) | ({"trainer": {"max_epochs": 7}} if "trainer/" in name else {})
    )
    assert named([]) == "mldcnn W60 S10 fold0 max_epochs=150"  # as if a file of one's own had set them
    assert named(["trainer.max_epochs=150"]) == "mldcnn W60 S10 fold0 max_epochs=150"


def test_a_launch_that_says_nothing_of_what_is_swept_names_its_runs_as_before(named, tmp_path):
    assert launch.swept() == frozenset()
    named([], ["window"])
    assert launch.swept() == {"window"}
    facts = json.loads((tmp_path / launch.LAUNCH).read_text())
    del facts["swept"]
    launch.write(tmp_path, facts, launch.LAUNCH)
    assert launch.swept() == frozenset()


def test_a_sweep_in_mlflow_is_told_apart_from_the_first_word_on(neuroexp):
    import sqlite3

    done = neuroexp("-m", "trainer.max_epochs=1,2", "window=20", *SMALL[:2])
    assert done.code == 0, done.out
    with sqlite3.connect(done.folder / "outputs" / "mlflow.db") as store:
        names = sorted(name for (name,) in store.execute("select name from runs"))
        epochs = sorted(store.execute("select value from params where key = 'trainer.max_epochs'"))
    assert [name.split()[0] for name in names] == ["max_epochs=1", "max_epochs=2"]
    assert epochs == [("1",), ("2",)]
    lines = [line.rstrip() for line in done.out.splitlines() if line.startswith("max_epochs=")]
    [first, second] = [line.split() for line in lines if line.endswith("finished")]
    assert (first[0], second[0]) == ("max_epochs=1", "max_epochs=2")
