"""Who may import whom, and every configuration composes."""

import ast
import itertools
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "neuroexp"

# room -> the rooms below it that it uses; what stands in none of these lines is never imported there
ROOMS = {
    "__main__": {"__version__", "commands", "machine", "terminal"},
    "commands": {
        "completion", "cost", "data", "deploy", "downloads", "evaluation", "machine", "replay", "settings", "store", "sweep",
        "terminal", "training",
    },
    "completion": {"cost", "machine", "settings", "store", "terminal"},
    "replay": {"data", "deploy", "evaluation", "machine", "settings", "streams", "tasks", "terminal"},
    "streams": {"data", "deploy", "terminal"},
    "sweep": {"cost", "evaluation", "machine", "settings", "store", "terminal", "training"},
    "deploy": {"data", "evaluation", "machine", "settings", "store", "terminal", "training"},
    "training": {"cost", "data", "evaluation", "machine", "settings", "store", "tasks"},
    "store": {"__version__", "evaluation", "machine", "settings", "terminal"},
    "tasks": {"data", "evaluation"},
    "settings": {"machine", "terminal"},
    "datasets": {"data", "evaluation"},
    "recordings": {"data", "machine", "matlab", "terminal"},
    "downloads": {"machine", "terminal"},
    "data": {"evaluation", "machine"},
    "models": set(),
    "matlab": {"machine", "terminal"},
    "machine": {"terminal"},
    "evaluation": set(),
    "cost": set(),
    "terminal": set(),
}  # fmt: skip
# library -> the only rooms, or modules of rooms, that know it
LIBRARIES = {
    "hydra": {"commands", "completion.settings", "settings", "sweep"},
    "omegaconf": {"commands", "completion.settings", "deploy.restore", "replay.source", "settings", "sweep"},
    "mlflow": {"deploy.finite", "deploy.mlflow_model", "store.tracking"},
    "pytorch_lightning": {"data.fold", "tasks", "training"},
    "matplotlib": {"replay.plot", "tasks"},
    "pylsl": {"streams.lsl"},
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
    room, *module = path.relative_to(PACKAGE).with_suffix("").parts
    for name in imports(path):
        first, *rest = name.split(".")
        if first == "neuroexp":
            assert rest[0] in ROOMS[room] | {room}, f"{room} imports {name}"
        elif first in LIBRARIES:
            assert LIBRARIES[first] & {room, ".".join((room, *module))}, f"{path} imports {name}"


def test_no_import_runs_upwards():
    order = [*ROOMS]
    for number, (room, below) in enumerate(ROOMS.items()):
        assert below - {"__version__"} <= set(order[number + 1 :]), f"{room} uses a room above it"


def test_every_folder_is_a_room_of_at_most_twelve_modules():
    found = {path.parent.name: len([*path.parent.glob("*.py")]) - 1 for path in PACKAGE.glob("*/__init__.py")}
    assert found.keys() == ROOMS.keys() - {"__main__"}
    assert max(found.values()) <= 12, found


READING = {"__version__", "cost", "evaluation", "machine", "settings", "store", "terminal"}
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
