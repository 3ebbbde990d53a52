"""Composing a sweep reads every configuration file once, and composes what Hydra would."""

import copy
import pickle

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra.core.plugins import Plugins
from hydra.types import RunMode
from omegaconf import OmegaConf

from neuroexp.settings.loader import Loader, Repository

JOBS = (
    ["window=20", "step=10"],
    ["window=20", "step=50", "model=mldrsnet", "+trainer.limit_test_batches=1"],
    ["dataset=eng", "recording.rat=4", "optimizer.lr=1e-4"],
    ["window=20", "step=10"],
)


def search_path():
    Plugins.instance()  # what reads packages
    path = ConfigSearchPathImpl()
    path.append("hydra", "pkg://hydra.conf")
    path.append("main", "pkg://neuroexp.conf")
    path.append("schema", "structured://")
    return path


def composed(loader, words):
    return loader.load_configuration("config", [*words, "hydra.job.name=job"], RunMode.RUN)


def test_what_was_read_before_composes_to_the_same():
    loader = Loader(search_path())
    for words in JOBS:
        ours, plain = composed(loader, words), composed(ConfigLoaderImpl(search_path()), words)
        assert OmegaConf.to_container(ours.dataset) == OmegaConf.to_container(plain.dataset)
        for config in (ours, plain):
            OmegaConf.set_readonly(config.hydra, False)
            config.hydra = {"choices": config.hydra.runtime.choices}  # the rest is resolved already in ours
        assert ours == plain
        ours.trainer.max_epochs = "edited"  # by whoever got it: the next one composes from what is in the file


def test_a_sweep_reads_a_file_once(monkeypatch):
    read, load = [], OmegaConf.load
    monkeypatch.setattr(OmegaConf, "load", lambda file: read.append(file.name) or load(file))
    loader = Loader(search_path())
    for words in JOBS:
        composed(loader, words)
    assert len(read) > 20
    assert sorted(read) == sorted(set(read))


def test_what_was_read_stays_with_its_search_path(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mldcnn.yaml").write_text("_target_: mine")
    other = search_path()
    other.prepend("other", f"file://{tmp_path}")
    repository = Repository(search_path())
    twin = copy.deepcopy(repository)
    assert repository.load_config("model/mldcnn").config._target_ != "mine"
    twin.initialize_sources(other)
    assert twin.load_config("model/mldcnn").config._target_ == "mine"
    assert repository.load_config("model/mldcnn").config._target_ != "mine"
    (tmp_path / "model" / "mldcnn.yaml").unlink()
    assert twin.load_config("model/mldcnn").config._target_ == "mine"  # as it was when the sweep began
    assert (
        pickle.loads(pickle.dumps(twin)).load_config("model/mldcnn").config._target_ != "mine"
    )  # which reads for itself
