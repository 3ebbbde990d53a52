"""Who may import whom, and every configuration composes."""

import ast
import itertools
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "neuroexp"

# module or folder -> what of ours it may import
OURS = {
    "recording": set(),
    "signals": set(),
    "segments": set(),
    "splits": {"segments"},
    "scores": set(),
    "matching": set(),
    "events": set(),
    "agreement": {"events", "matching"},
    "operations": set(),
    "devices": set(),
    "budget": {"devices"},
    "cost": {
        "budget",
        "command",
        "devices",
        "display",
        "foresight",
        "job",
        "launch",
        "loader",
        "mistakes",
        "operations",
        "plan",
        "trust",
        "typecheck",
    },
    "kinds": set(),
    "foreign": {"kinds", "shown"},
    "matparse": set(),
    "parser": {"foreign", "shown"},
    "matfile": {"foreign", "kinds", "parser", "shown"},
    "fetch": {"command", "places"},
    "files": set(),
    "callbacks": {"checkpoints", "files"},
    "checkpoints": {"files"},
    "reach": {"launch"},
    "runfiles": {"files"},
    "tracking": {"files", "moved", "places", "reach", "runfiles", "shown", "views"},
    "views": {"convergence"},
    "launch": {"cluster", "files", "movedcells", "places", "rays"},
    "movedcells": {"files", "ledger", "places"},
    "cluster": set(),
    "rays": set(),
    "display": {"convergence", "launch", "places", "remarks", "shown"},
    "ledger": {"files"},
    "leftovers": {"files", "launch", "ledger"},
    "delivery": {"files", "ledger", "rivals", "tracking"},
    "rivals": {"ledger", "record", "tracking"},
    "record": {"tracking"},
    "job": {
        "delivery",
        "files",
        "ledger",
        "leftovers",
        "places",
        "provenance",
        "record",
        "resolved",
        "rivals",
        "shown",
        "sources",
        "tracking",
        "training",
        "trust",
    },
    "training": {
        "budget",
        "callbacks",
        "checkpoints",
        "convergence",
        "fold",
        "foresight",
        "job",
        "ledger",
        "memory",
        "operations",
        "plots",
        "provenance",
        "record",
        "runfiles",
        "trust",
    },
    "worker": {"job"},
    "provenance": {"__version__", "sources"},
    "sources": set(),
    "typecheck": set(),
    "models": {"layers", "models"},
    "caps": {"cuff", "signals", "splits"},
    "control": {"cuff", "splits"},
    "cuff": {"recording"},
    "preparation": {"cuff", "memory", "recording", "signals"},
    "prepared": {"cuff", "preparation"},
    "layers": set(),
    "memory": {"foreign"},
    "foresight": {"fold", "memory"},
    "dataverse": {"command", "places", "shown", "web"},
    "plots": {"cuff", "recording", "signals"},
    "fold": {"agreement", "segments", "splits"},
    "recordings": {
        "cuff",
        "decomposed",
        "foreign",
        "kinds",
        "matfile",
        "memory",
        "parser",
        "recording",
        "recordings",
        "shown",
        "signals",
        "voltages",
    },
    "datasets": {
        "agreement",
        "caps",
        "control",
        "cuff",
        "fold",
        "preparation",
        "prepared",
        "recording",
        "segments",
        "signals",
        "splits",
    },
    "tasks": {"agreement", "plots", "scores"},
    "combinations": set(),
    "naming": {"launch", "provenance", "shown"},
    "dispatch": {
        "bounds",
        "budget",
        "combinations",
        "convergence",
        "display",
        "job",
        "launch",
        "naming",
        "places",
        "reach",
        "shown",
        "sources",
        "tracking",
        "trust",
        "worker",
    },
    "plan": {
        "command",
        "dispatch",
        "display",
        "flags",
        "job",
        "launch",
        "ledger",
        "loader",
        "mistakes",
        "places",
        "provenance",
        "sources",
        "tracking",
        "training",
        "trust",
    },
    "mistakes": {"usage"},
    "trust": {"finder", "mistakes", "typecheck"},
    "finder": set(),
    "loader": {"bounds", "trust"},
    "bounds": {"places", "trust"},
    "resolved": set(),
    "replay": {
        "agreement",
        "command",
        "cuff",
        "decoder",
        "display",
        "engines",
        "events",
        "export",
        "job",
        "matching",
        "plots",
        "recording",
        "replay",
        "resolved",
        "scores",
        "segments",
        "shown",
        "signals",
        "tracking",
        "trained",
        "trust",
        "typecheck",
        "voltages",
    },
    "repeat": {"command", "display", "job", "places", "provenance", "runfiles", "sources", "tracking", "trained"},
    "recorded": {"places", "runfiles", "shown", "tracking"},
    "decoder": set(),
    "extras": set(),
    "onnxfile": {"decoder", "extras", "kinds"},
    "ptefile": {"decoder", "extras", "kinds"},
    "engines": {"decoder", "extras", "onnxfile", "ptefile", "typecheck"},
    "served": {"decoder", "onnxfile", "tracking"},
    "finite": set(),
    "latency": {
        "command",
        "decoder",
        "display",
        "engines",
        "export",
        "provenance",
        "recorded",
        "timing",
        "tracking",
        "trained",
        "typecheck",
    },
    "timing": {"engines"},
    "export": {
        "command",
        "display",
        "engines",
        "extras",
        "onnxfile",
        "places",
        "ptefile",
        "recorded",
        "served",
        "shown",
        "tracking",
        "trained",
        "typecheck",
    },
    "trained": {
        "decoder",
        "fold",
        "job",
        "mistakes",
        "places",
        "provenance",
        "recorded",
        "resolved",
        "runfiles",
        "scores",
        "sources",
        "tracking",
        "trust",
    },
    "sync": {"command", "delivery", "job", "ledger", "movedcells", "places", "reach", "shown", "tracking"},
    "status": {"command", "display", "launch", "progress", "shown"},
    "usage": set(),
    "__main__": {
        "command",
        "dispatch",
        "display",
        "flags",
        "launch",
        "loader",
        "mistakes",
        "places",
        "progress",
        "rays",
        "shown",
        "trust",
        "usage",
    },
    "remarks": {"convergence"},
    "progress": {"display", "launch", "shown"},
    "command": {"places", "shown"},
    "flags": set(),
    "places": {"shown"},
    "shown": set(),
    "web": set(),
    "decomposed": {"matching", "recording"},
    "voltages": set(),
    "moved": set(),
    "convergence": set(),
}
# library -> the only places that know it
LIBRARIES = {
    "hydra": {"__main__", "cost", "dispatch", "flags", "launch", "loader", "mistakes", "naming", "plan"},
    "omegaconf": {
        "__main__",
        "bounds",
        "cost",
        "dispatch",
        "launch",
        "loader",
        "mistakes",
        "naming",
        "plan",
        "replay",
        "trained",
    },
    "mlflow": {"finite", "served", "tracking"},
    "pytorch_lightning": {"callbacks", "checkpoints", "fold", "tasks", "training"},
    "matplotlib": {"plots", "replay", "tasks"},
    "pylsl": {"replay"},
}


def imports(path: Path) -> set[str]:
    """Return the dotted names that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_follow_the_design(path):
    place = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for name in imports(path):
        first, *rest = name.split(".")
        if first == "neuroexp":
            assert rest[0] in OURS[place], f"{place} imports {name}"
        elif first in LIBRARIES:
            assert place in LIBRARIES[first], f"{place} imports {name}"


READING = {
    "__version__",
    "budget",
    "command",
    "convergence",
    "display",
    "operations",
    "places",
    "provenance",
    "runfiles",
    "tracking",
    "trust",
}
EXPERIMENTS = sorted((ROOT / "experiments").rglob("*.py"))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_experiments_read_runs_back_and_train_nothing(path):
    for name in imports(path):
        first, *rest = name.split(".")
        if first == "neuroexp" and rest:
            assert rest[0] in READING, f"{path} imports {name}"
        assert first not in {"mlflow", "pytorch_lightning"}, f"{path} imports {name}"


def options(group: str) -> list[str]:
    folder = ROOT / "conf" / group
    return sorted(str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml"))


def compose_with(*overrides: str):
    with initialize_config_module("neuroexp.conf", version_base="1.3"):
        return compose("config", overrides=list(overrides))


GROUPS = ("dataset", "recording", "model", "task", "optimizer", "split", "label", "trainer", "experiment")


@pytest.mark.parametrize(
    ("group", "option"), list(itertools.chain.from_iterable(((g, o) for o in options(g)) for g in GROUPS))
)
def test_every_option_composes_and_names_something_that_exists(group, option):
    from hydra.utils import get_object

    config = compose_with(f"{group}={option}")
    assert isinstance(config.window, int)
    assert isinstance(config.step, int) == (config.dataset._target_ != "neuroexp.datasets.eng.eng")

    def targets(node):
        if OmegaConf.is_dict(node):
            if "_target_" in node:
                yield node["_target_"]
            for key in node:
                if not OmegaConf.is_missing(node, key) and not OmegaConf.is_interpolation(node, key):
                    yield from targets(node[key])

    for target in targets(config):
        assert callable(get_object(target))


def test_the_command_line_wins_over_dataset_and_experiment():
    config = compose_with("dataset=hdsemg", "model=mtdcnn", "window=37", "split=random", "recording=otb")
    assert (config.window, config.step) == (37, 10)
    assert config.model._target_.endswith("MTDCNN")
    assert config.split._target_.endswith("random")
    eng = compose_with("dataset=eng", "model=mobilescapenet/E1", "split=random", "window=60")
    assert (eng.window, eng.step, eng.model.head, eng.model.hidden) == (60, None, "flatten", 256)
    assert (eng.split._target_, eng.optimizer.lr) == ("neuroexp.data.splits.random", 1e-3)
    assert compose_with("dataset=eng", "optimizer.lr=0.5").optimizer.lr == 0.5
    experiment = compose_with("experiment=mldrsnet/window_step", "trainer=smoke")
    assert experiment.trainer.max_epochs == 1
    assert experiment.experiment == "mldrsnet/window_step"


def test_paper_training_is_the_published_one():
    config = compose_with("trainer=paper")
    assert config.trainer.max_epochs == 100
    assert "early_stopping" not in config.trainer.callbacks
    assert (config.optimizer.lr, config.optimizer.weight_decay, config.dataset.batch_size) == (1e-4, 1e-6, 64)
