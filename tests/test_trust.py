"""A configuration is data: it may come from anywhere, and runs nothing but what is listed."""

import inspect
import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest
import pytorch_lightning
import torch
from conftest import SMALL
from hydra import compose, initialize_config_module
from hydra.errors import HydraException
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf, open_dict

from neuroexp.commands import plan
from neuroexp.models.mldcnn import MLDCNN
from neuroexp.settings import callables, loader, mistakes, trust
from neuroexp.sweep import launch

ROOT = Path(__file__).parent.parent
RAN = "RAN"  # the file that code from a configuration leaves
LEAVE = f"open('{RAN}','w')"


@pytest.fixture(autouse=True)
def nothing_typed(monkeypatch, tmp_path):
    """Begin with a command line without words, in an empty folder."""
    monkeypatch.setenv(trust.TYPED, "[]")
    monkeypatch.chdir(tmp_path)
    loader.install()


# What may be named


def named(folder: Path):
    """Yield every `_target_` of the configurations in a folder."""

    def below(node):
        if isinstance(node, dict):
            if "_target_" in node:
                yield node["_target_"]
            for value in node.values():
                yield from below(value)

    for path in folder.rglob("*.yaml"):
        yield from below(OmegaConf.to_container(OmegaConf.load(path)))


def test_everything_that_the_package_names_is_listed():
    targets = {target for target in named(ROOT / "conf") if target not in loader.CALLABLES}
    assert len(targets) > 30
    for target in targets:
        assert callable(callables.find(target))
    assert targets >= callables.OURS  # and nothing is listed that nobody needs
    for target in (
        "torch.nn.Linear",
        "torch.optim.AdamW",
        "torch.optim.lr_scheduler.CosineAnnealingLR",
        *callables.LIGHTNING,
    ):
        if target != f"{callables.CALLBACKS}.EMAWeightAveraging" or hasattr(
            pytorch_lightning.callbacks, "EMAWeightAveraging"
        ):
            assert callable(callables.find(target))


def reachable(depth: int):
    """Yield the dotted names that lead to something callable below torch, Lightning and this package."""
    import neuroexp.store.tracking
    import neuroexp.training.train

    for root in (torch, pytorch_lightning, neuroexp):
        level = [(root.__name__, root)]
        for _ in range(depth):
            deeper = []
            for path, owner in level:
                for name in dir(owner):
                    try:
                        found = inspect.getattr_static(owner, name) if isinstance(owner, type) else getattr(owner, name)
                    except Exception:  # a lazy attribute that wants what is not installed
                        continue
                    if callable(found):
                        yield f"{path}.{name}", found
                    if issubclass(type(found), types.ModuleType | type):
                        deeper.append((f"{path}.{name}", found))
            level = deeper


def harmless(found: object) -> bool:
    """Return whether a callable is of the kinds that a configuration may name, whatever the list says."""
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

    kinds = (
        torch.nn.Module,
        Optimizer,
        LRScheduler,
        ReduceLROnPlateau,
        pytorch_lightning.Callback,
        pytorch_lightning.Trainer,
    )
    ours = getattr(found, "__module__", "").startswith("neuroexp.")
    return (inspect.isclass(found) and issubclass(found, kinds)) or (
        ours and f"{found.__module__}.{found.__qualname__}" in {*callables.OURS, *READERS}
    )


READERS = {f"neuroexp.recordings.{path.stem}.read" for path in (ROOT / "neuroexp/recordings").glob("[a-z]*.py")}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of what is deprecated there
def test_of_all_callables_that_can_be_reached_only_the_list_passes():
    passed, seen = set(), 0
    for path, found in reachable(3):
        seen += 1
        try:
            callables.check_names({"model": {"_target_": path}}, [])
        except ValueError:
            continue
        try:
            assert callables.find(path) is found
        except ValueError:
            continue
        passed.add(path)
        assert harmless(found), path
        assert path.count(".") <= 3
        assert path == f"{found.__module__}.{found.__qualname__}" or path.startswith(("torch.", "pytorch_lightning."))
    assert seen > 50_000
    assert {"torch.nn.Linear", "torch.optim.Adam", "pytorch_lightning.Trainer", "torch.nn.Sequential"} <= passed
    assert len(passed) < 300


ROOTS = (
    "torch",
    "torch.nn",
    "torch.optim",
    "pytorch_lightning",
    "pytorch_lightning.callbacks",
    "neuroexp",
    "neuroexp.models",
)


@pytest.mark.filterwarnings("ignore")
@given(st.sampled_from(ROOTS), st.lists(st.integers(0, 10_000), min_size=1, max_size=7))
def test_a_walk_of_any_length_ends_at_the_list_or_is_refused(root, turns):
    owner, path = sys.modules[root], root
    for turn in turns:
        names = dir(owner)
        path = f"{path}.{names[turn % len(names)]}"
        try:
            owner = getattr(owner, names[turn % len(names)])
        except Exception:
            break
    node = {"_target_": path, "_partial_": True}
    try:
        built = callables.build(node)
    except ValueError:
        return
    assert harmless(built.func)
    assert path.count(".") <= 3


@pytest.mark.parametrize(
    "target",
    [
        "torch.nn.functional.torch.fx.graph_module._exec_with_source",
        "torch.hub.load",
        "torch.load",
        "torch.nn.modules.module.torch.load",
        "torch.nn.Module.__init__.__globals__",
        "torch.nn.utils.parametrize.register_parametrization",
        "torch.nn.parallel.DistributedDataParallel",
        "torch.nn.functional",
        "torch.optim.lr_scheduler.LRScheduler.load_state_dict",
        "torch.utils.cpp_extension.load_inline",
        "torch.compile",
        "pytorch_lightning.Trainer.save_checkpoint",
        "pytorch_lightning.callbacks.LambdaCallback",
        "pytorch_lightning.callbacks.OnExceptionCheckpoint",
        "pytorch_lightning.loggers.CSVLogger",
        "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
        "neuroexp.store.provenance._git",
        "neuroexp.store.ledger.discard",
        "neuroexp.sweep.launch.os.system",
        "neuroexp.machine.memory.ctypes.CDLL",
        "neuroexp.models.mldcnn.nn.Module",
        "neuroexp.models.mldcnn.torch.load",
        "neuroexp.models.mldcnn.Tensor",
        "neuroexp.recordings.otb.Path",
        "neuroexp.recordings.otb.load.read",
        "neuroexp.settings.callables.build",
        "neuroexp.conf.read",
        "neuroexp.models.mldcnn.MLDCNN.load_state_dict",
        "os.system",
        "builtins.eval",
        "functools.partial",
        "hydra.utils.instantiate",
        "neuroexperiments.thing",
        "",
        None,
        3,
        ["os.system"],
    ],
)
def test_what_is_not_listed_is_refused(target):
    with pytest.raises(ValueError, match="is refused: a configuration may name"):
        callables.find(target)
    with pytest.raises(ValueError, match="is refused: a configuration may name"):
        callables.build({"deep": [{"in": {"_target_": target}}]})


def test_what_is_listed_may_not_write_load_or_start_elsewhere():
    trainer, best = {"_target_": "pytorch_lightning.Trainer"}, {"_target_": f"{callables.CALLBACKS}.ModelCheckpoint"}
    for node, says in (
        (best | {"dirpath": "/tmp"}, "dirpath=/tmp is refused: it must be null"),
        (best | {"_args_": ["/tmp"]}, "dirpath=/tmp is refused: it must be null"),
        (best | {"filename": "../../x"}, "is no plain name of a file"),
        (best | {"filename": "/etc/x"}, "is no plain name of a file"),
        (trainer | {"logger": True}, "logger=True is refused: it must be false or null"),
        (trainer | {"strategy": "ddp"}, "strategy=ddp is refused"),
        (trainer | {"plugins": ["x"]}, "plugins=.* is refused"),
        (trainer | {"model_registry": "me/mine"}, "model_registry=me/mine is refused"),
        (trainer | {"num_nodes": 2}, "num_nodes=2 is refused: it must be 1"),
        (trainer | {"devices": 2}, "devices=2 is refused: a job trains on one"),
        (trainer | {"devices": "auto"}, "devices=auto is refused"),
        (trainer | {"default_root_dir": "sftp://host/x"}, "is no folder of this machine"),
        (trainer | {"default_root_dir": "simplecache::file:x"}, "is no folder of this machine"),
        ({"_target_": "neuroexp.datasets.eng.eng", "_args_": [1]}, "settings of neuroexp.datasets.eng.eng have names"),
        (trainer | {"max_epoks": 3}, "max_epoks is no setting of Trainer: did you mean max_epochs"),
        (trainer | {"_recursive_": False}, "_recursive_ says nothing here"),
    ):
        with pytest.raises(ValueError, match=says):
            callables.check(node, [])
        with pytest.raises(ValueError, match=says):
            callables.build(node)


# How a configuration is built


def test_values_are_built_once_and_strings_stay_strings():
    secret = {
        "_target_": "torch.nn.Sequential",
        "_args_": [{"_target_": "torch.nn.Linear", "in_features": 3, "out_features": 2}],
    }
    network = callables.build(secret)
    assert isinstance(network[0], torch.nn.Linear)
    label = callables.build({"_target_": "neuroexp.data.segments.label_centre", "_partial_": True, "tolerance": 5})
    assert label.keywords == {"tolerance": 5}
    assert callables.build({"a": ["${oc.env:HOME}", "${oc.create:{_target_: os.system}}"]})["a"][0] == "${oc.env:HOME}"
    built = callables.build(
        {"_target_": "neuroexp.models.mldcnn.MLDCNN", "dropout": 0.5}, n_channels=4, window=20, n_outputs=2
    )
    assert isinstance(built, MLDCNN)
    with pytest.raises(
        ValueError, match=r"model.dropot is no setting of MLDCNN: did you mean dropout\? Valid: dropout, n_ch"
    ):
        callables.check({"model": {"_target_": "neuroexp.models.mldcnn.MLDCNN", "dropot": 0.5}}, [])


# What is typed, and what stands in files


def test_trust_is_typed(monkeypatch, tmp_path):
    assert trust.trusted(["window=20", "trusted=[a, b.c]"]) == ("a", "b.c")
    assert trust.trusted(["trusted='[a]'"]) == trust.trusted(["trusted=a"]) == ("a",)
    assert trust.trusted(["trusted=[]"]) == trust.trusted(["mytrusted=[a]"]) == ()
    with pytest.raises(ValueError, match=r"names \.\., which is no module"):
        trust.trusted(["trusted=[..]"])
    with pytest.raises(ValueError, match=r"a configuration file says trusted=\[pathlib\].* type 'trusted=\[pathlib\]'"):
        trust.check_trust(["pathlib"])
    (tmp_path / "nets_beside.py").write_text("import os\nfrom torch import nn\nclass Net(nn.Module):\n    pass\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    trust.begin(["trusted=[nets_beside]"])
    assert trust.check_trust(["nets_beside"]) == ("nets_beside",)
    assert callables.find("nets_beside.Net", trust.trusted()).__name__ == "Net"
    for target in ("nets_beside.os.system", "nets_beside.nn.Linear"):
        with pytest.raises(ValueError, match=r"leads to .*, which is not among trusted=\[nets_beside\]"):
            callables.find(target, trust.trusted())
    for target in ("nets_beside.Not", "nets_beside.Net.nothing"):
        with pytest.raises(ValueError, match="nets_beside defines no"):
            callables.find(target, trust.trusted())
    with pytest.raises(ValueError, match="there is no module gone"):
        callables.find("gone.Net", ["gone"])


def composed(tmp_path: Path, text: str, *words: str):
    """Compose with a file of a foreign folder, as a launch would."""
    (tmp_path / "mine" / "experiment").mkdir(parents=True, exist_ok=True)
    (tmp_path / "mine" / "experiment" / "theirs.yaml").write_text(f"# @package _global_\n{text}\n")
    with initialize_config_module("neuroexp.conf", version_base="1.3"):
        return compose(
            "config",
            [f"hydra.searchpath=[file://{tmp_path}/mine]", "experiment=theirs", *words],
            return_hydra_config=True,
        )


HYDRAS = {
    "hydra: {callbacks: {x: {_target_: os.system, command: touch RAN}}}": "hydra.callbacks.x._target_=os.system is refused",
    "evil: {_target_: os.system}\nhydra: {callbacks: {x: '${evil}'}}": "hydra.callbacks.x._target_=os.system is refused",
    "hydra: {callbacks: {x: '${oc.create:\"{_target_: os.system}\"}'}}": "hydra.callbacks.x._target_=os.system is refused",
    "hydra: {callbacks: {x: {_target_: neuroexp.sweep.launch.Launch, y: '\\${oc.env:HOME}'}}}": "no interpolation is",
    "hydra: {callbacks: {launch: {y: {_target_: neuroexp.store.ledger.discard, folder: /}}}}": "ledger.discard is refused",
    "hydra: {launcher: {_target_: subprocess.Popen}}": "hydra.launcher._target_=subprocess.Popen is refused",
    "hydra: {sweeper: {_target_: mine.Sweeper}}": "type 'trusted=[mine]'",
    "hydra: {sweeper: {params: {trusted: '[os]'}}}": "hydra.sweeper.params sets trusted",
    "hydra: {sweeper: {params: {+hydra.job.env_set.X: 3}}}": "hydra.sweeper.params sets +hydra.job.env_set.X",
    "hydra: {overrides: {hydra: ['hydra.verbose=true']}}": "hydra.overrides.hydra holds hydra.verbose=true",
    "hydra: {overrides: {task: ['trusted=[os]']}}": "hydra.overrides.task holds trusted=",
    "hydra: {job: {env_set: {PYTHONPATH: /tmp}}}": "a configuration file sets hydra.job.env_set.PYTHONPATH",
    "hydra: {job: {env_set: {NEUROEXP_TYPED: x}}}": "a configuration file sets hydra.job.env_set.NEUROEXP_TYPED",
    "hydra: {job: {env_copy: [HOME]}}": "a configuration file sets hydra.job.env_set.HOME",
    "hydra: {job: {name: ../../x}}": "hydra.job.name=../../x is no plain name",
    "hydra: {callbacks: {x: {_target_: [os.system]}}}": r"hydra.callbacks.x._target_=['os.system'] is refused",
    "hydra: {launcher: null}": "hydra.launcher names no launcher",
    "hydra: {job: {env_set: {MLFLOW_TRACKING_URI: x}}}": "sets hydra.job.env_set.MLFLOW_TRACKING_URI",
    "hydra: {job: {env_copy: [NOT_SET]}}": "hydra.job.env_copy names 'NOT_SET', which is not set",
    "hydra: {runtime: {output_dir: 'ext://antigravity/'}}": "hydra.runtime.output_dir is Hydra's to say",
    "hydra: {run: {dir: /tmp/x}}": "a configuration file sets hydra.run.dir=/tmp/x, and it may only have results",
    "hydra: {run: {dir: outputs/../x}}": "sets hydra.run.dir=outputs/../x",
    "hydra: {run: {dir: 'outputs/${oc.select:hydra.runtime.output_dir,x}'}}": "sets hydra.run.dir=",
    "hydra: {run: '${oc.create:\"{dir: outputs}\"}'}": "str is not a subclass of RunDir",
    "hydra: {sweep: {dir: /tmp/x}}": "sets hydra.sweep.dir=/tmp/x",
    "hydra: {sweep: {subdir: '${hydra.job.override_dirname}'}}": "sets hydra.sweep.subdir=",
    "output: /tmp/x": "sets output=/tmp/x",
    "x: !!python/object/apply:os.system ['touch RAN']": "could not determine a constructor for the tag",
    "seed: 1\nseed: 2": "found duplicate key seed",
    "hydra: {output_subdir: ../../x}": "hydra.output_subdir=../../x is no plain name",
    "hydra: {job_logging: {formatters: {x: {(): os.system, command: touch RAN}}}}": "is refused: a log goes to the terminal",
    "hydra: {job_logging: {handlers: {x: {class: mine.Handler}}}}": "handlers.x.class=mine.Handler is refused",
    "hydra: {job_logging: {handlers: {file: {filename: /tmp/x.log}}}}": "filename=/tmp/x.log is refused",
    "hydra: {job_logging: {handlers: {file: {filename: '${hydra.runtime.output_dir}/../x.log'}}}}": "is refused: a log goes",
    "hydra: {job_logging: {handlers: {console: {stream: 'ext://os.environ'}}}}": "stream=ext://os.environ is refused",
    "hydra: {job_logging: {formatters: {full: {format: 'ext://evil.thing'}}}}": "format=ext://evil.thing is refused",
    "hydra: {job_logging: {filters: {x: {(): os.system}}}}": "is refused: a log goes to the terminal",
    "hydra: {hydra_logging: {formatters: {x: {class: mine.Formatter}}}}": "formatters.x.class=mine.Formatter is refused",
    "hydra: {hydra_logging: '${evil}'}\nevil: {version: 1, formatters: {x: {(): os.system}}}": "is refused|not",
}


@pytest.mark.parametrize("text", HYDRAS)
def test_hydras_own_node_is_checked_before_hydra_acts_on_it(tmp_path, text):
    with pytest.raises(HydraException) as caught:
        composed(tmp_path, text)
    said = mistakes.sentence(caught.value)
    assert any(words in said for words in HYDRAS[text].split("|")), said
    assert not (tmp_path / RAN).exists()


def test_a_value_that_is_checked_is_the_value_that_is_used(tmp_path):
    late = "${oc.select:hydra.runtime.output_dir,x}"  # known only once a job has begun
    node = composed(tmp_path, f"hydra: {{job: {{name: '{late}'}}, output_subdir: '{late}'}}").hydra
    with open_dict(node):
        node.runtime.output_dir = "/etc"
    assert (node.job.name, node.output_subdir) == ("x", "x")


WRITTEN = {
    "cache: /tmp/x": "cache=/tmp/x",
    "cache: '${hydra:runtime.cwd}/outputs/../x'": "cache=/",
    "trainer: {default_root_dir: /tmp/x}": "trainer.default_root_dir=/tmp/x",
    "tracking: {ledger: elsewhere}": "tracking.ledger=elsewhere",
    "tracking: {artifacts: /tmp/x}": "tracking.artifacts=/tmp/x",
    "tracking: {uri: sqlite:////tmp/x.db}": "tracking.uri=sqlite:////tmp/x.db",
    "tracking: {uri: 'mssql+pyodbc:///?odbc_connect=DRIVER=x.so'}": "tracking.uri=mssql",
    "recording: {deep: [{cache: /tmp/x}]}": r"recording.deep.0.cache=/tmp/x",
}


@pytest.mark.slow
def test_a_file_has_results_written_below_outputs_alone(tmp_path, monkeypatch):
    monkeypatch.setenv(launch.NAME, "composed")
    inside = "tracking: {uri: http://host:5000, ledger: outputs/mine}\ncache: ./outputs/x"

    def described(text: str, *words: str):
        place = tmp_path / "mine" / "experiment"
        place.mkdir(parents=True, exist_ok=True)
        (place / "theirs.yaml").write_text(f"# @package _global_\n{text}\n")
        searched = f"hydra.searchpath=[file://{tmp_path}/mine]"
        monkeypatch.setenv(trust.TYPED, json.dumps(list(words)))
        return next(plan.composed([searched, "experiment=theirs", "window=20", "step=50", *words]))

    for text, says in WRITTEN.items():
        with pytest.raises(ValueError, match=rf"a configuration file sets {re.escape(says)}.* below ./outputs"):
            described(text)
    for text, words in (
        (inside, []),
        ("cache: /tmp/x", ["cache=/tmp/y"]),
        ("seed: 1", ["tracking.uri=sqlite:///other.db", "tracking.artifacts=other", "tracking.ledger=/tmp/x"]),
    ):
        described(text, *words)
    monkeypatch.setenv("NEUROEXP_CACHE", "/tmp/shared")
    assert described("seed: 1").config["cache"] == "/tmp/shared"


SLURM = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"
LAUNCHERS = {
    "setup: [touch RAN]": "setup",
    "python: /tmp/x": "python",
    "additional_parameters: {export: ALL}": "additional_parameters.export",
    "srun_args: [--x]": "srun_args",
}


@pytest.mark.parametrize("text", LAUNCHERS)
def test_commands_of_a_cluster_are_typed(tmp_path, monkeypatch, text):
    name = f"hydra.launcher.{LAUNCHERS[text]}"
    (tmp_path / "mine" / "hydra" / "launcher").mkdir(parents=True)
    (tmp_path / "mine" / "hydra" / "launcher" / "cluster.yaml").write_text(f"_target_: {SLURM}\n{text}\n")
    with pytest.raises(HydraException) as caught:
        composed(tmp_path, "seed: 3", "hydra/launcher=cluster")
    assert mistakes.sentence(caught.value).startswith(f"a configuration file sets {name}")
    words = ["hydra/launcher=submitit_slurm", "hydra.launcher.setup=[module load cuda]"]
    monkeypatch.setenv(trust.TYPED, json.dumps(words))
    assert composed(tmp_path, "seed: 3", *words).hydra.launcher.setup == ["module load cuda"]


def test_what_may_be_said_of_launchers_and_logs_in_files_works(tmp_path):
    found = composed(
        tmp_path,
        "defaults: [{override /hydra/launcher: submitit_slurm}]\n"
        "hydra:\n  launcher: {partition: gpu, timeout_min: 600, gpus_per_node: 1}\n"
        "  job: {env_set: {OMP_NUM_THREADS: '1'}}\n"
        "  sweeper: {params: {window: '20,60'}}\n"
        "  run: {dir: outputs/elsewhere}\n"
        "  job_logging: {loggers: {console: {level: WARNING}}}\n",
    )
    assert found.hydra.launcher.partition == "gpu"
    assert found.hydra.sweeper.params == {"window": "20,60"}
    for option in (
        "job_logging=default",
        "job_logging=stdout",
        "job_logging=none",
        "hydra_logging=hydra_debug",
        "launcher=joblib",
    ):
        composed(tmp_path, "seed: 3", f"hydra/{option}")


@pytest.mark.parametrize("entry", ["pkg://antigravity", "file:///etc", "/etc", "structured://x", "../elsewhere"])
def test_a_file_may_name_its_own_folder_alone(tmp_path, entry):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.yaml").write_text(f"hydra: {{searchpath: ['{entry}']}}\n")
    from hydra import initialize_config_dir

    with (
        initialize_config_dir(str(tmp_path / "mine"), version_base="1.3"),
        pytest.raises(HydraException, match="hydra.searchpath names"),
    ):
        compose("config")
    (tmp_path / "mine" / "config.yaml").write_text(f"hydra: {{searchpath: ['file://{tmp_path}/mine/more']}}\na: 1\n")
    (tmp_path / "mine" / "more").mkdir()
    with initialize_config_dir(str(tmp_path / "mine"), version_base="1.3"):
        assert compose("config").a == 1
    assert "antigravity" not in sys.modules


def test_a_plugins_resolver_that_imports_by_name_is_gone(tmp_path):
    OmegaConf.register_new_resolver("ray_pkg_version", __import__, replace=True)
    with pytest.raises(HydraException, match=r"(?s)."):
        composed(tmp_path, "defaults: [{override /model: '${ray_pkg_version:antigravity}'}]")
    assert not OmegaConf.has_resolver("ray_pkg_version")
    assert "antigravity" not in sys.modules


# From the command line


MODELS = {
    "exec": "_target_: torch.nn.functional.torch.fx.graph_module._exec_with_source\n"
    f'src: "{LEAVE}"\nglobals: {{}}\nco_fields: null',
    "hub": "_target_: torch.hub.load\nrepo_or_dir: .\nmodel: evil\nsource: local",
    "load": "_target_: torch.load\nf: evil.pt\nweights_only: false",
    "git": "_target_: neuroexp.store.provenance._git\n_args_: ['-c', 'alias.x=!touch RAN', 'x']",
    "discard": "_target_: neuroexp.store.ledger.discard\nfolder: precious",
    "twice": "_target_: neuroexp.models.mldcnn.MLDCNN\ndropout: '${evilx}'",
    "created": "_target_: neuroexp.models.mldcnn.MLDCNN\ndropout: '\\${oc.create:\\${evilx}}'",
    "import": "_target_: evilmod.Thing",
}
GLOBALS = {
    "trusting": "trusted: [evilmod]\nmodel: {_target_: evilmod.Thing}",
    "sweeping": "hydra: {mode: MULTIRUN, sweeper: {params: {trusted: '[evilmod]', model._target_: evilmod.Thing}}}",
    "calling": "hydra: {callbacks: {x: {_target_: evilmod.Thing}}}",
}


def traps(folder: Path) -> None:
    """Leave modules that Python, the processes that it starts, Hydra or MLflow would find in the working folder."""
    (folder / "hydra_plugins").mkdir()
    names = ("hydra_plugins/evil", "yaml", "colorlog", "pathlib", "copyreg", "multiprocessing", "pickle", "boto3")
    for name in names:
        (folder / f"{name}.py").write_text(f"{LEAVE}\n")
    (folder / "evil.dist-info").mkdir()
    (folder / "evil.dist-info" / "METADATA").write_text("Name: evil\nVersion: 1\n")
    (folder / "evil.dist-info" / "entry_points.txt").write_text(
        "[mlflow.tracking_store]\nsqlite = hydra_plugins.evil:x\n"
    )


def test_no_command_runs_code_from_a_configuration(tmp_path, several):
    for group, texts in (("model", MODELS), ("experiment", GLOBALS)):
        (tmp_path / "mine" / group).mkdir(parents=True)
        for name, text in texts.items():
            head = "# @package _global_\n" if group == "experiment" else ""
            (tmp_path / "mine" / group / f"{name}.yaml").write_text(head + text)
    (tmp_path / "evilmod.py").write_text(f"{LEAVE}\nThing = print\n")
    (tmp_path / "hubconf.py").write_text(f"{LEAVE}\n")
    (tmp_path / "precious").mkdir()
    words = [[f"model={name}"] for name in MODELS] + [[f"experiment={name}"] for name in GLOBALS]
    evilx = "+evilx={_target_: evilmod.Thing}"
    commands = [["--config-dir", "mine", *choice, evilx, *SMALL] for choice in words]
    *done, rerun = several([*commands, ["--experimental-rerun", "theirs.pickle"]])
    assert rerun.code == 1
    assert "--experimental-rerun repeats nothing here (it would read a pickle, which can hold any code)" in rerun.text
    for choice, outcome in zip(words, done, strict=True):
        assert outcome.code == 1, (choice, outcome.out)
        assert "Traceback" not in outcome.out
        assert "is refused" in outcome.text or "trust" in outcome.text or "must be a number" in outcome.text, (
            outcome.out
        )
    traps(tmp_path)
    for command in ([], ["plan"], ["cost"]):
        line = [sys.executable, "-m", "neuroexp", *command, "--config-dir", "mine", "model=git", *SMALL]
        found = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert found.returncode == 1
        assert "_target_=neuroexp.store.provenance._git is refused" in found.stdout + found.stderr
    assert not (tmp_path / RAN).exists()
    assert (tmp_path / "precious").exists()


OWN = """
from torch import nn


class Own(nn.Sequential):
    def __init__(self, n_channels, window, n_outputs, width=8):
        super().__init__(nn.Flatten(), nn.Linear(n_channels * window, width), nn.ReLU(), nn.Linear(width, n_outputs))
"""


def test_a_network_of_ones_own_needs_no_checkout_and_a_run_of_it_trust(afresh, tmp_path):
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "own.yaml").write_text("_target_: own_networks.Own\nwidth: 16\n")
    (tmp_path / "own_networks.py").write_text(OWN)
    traps(tmp_path)
    words = ("--config-dir", "mine", "window=20", "step=50", "trusted=[own_networks]")
    done = afresh(*words, "-m", "model=own,mldcnn", *SMALL)
    assert done.code == 0, done.out
    assert [result["status"] for result in done.results()] == ["finished", "finished"]
    for module, says in (("plan", "1 finished run"), ("cost", "own W20 S50")):
        line = [sys.executable, "-m", "neuroexp", module, *words, "model=own"]
        line += [*SMALL, "seed=1"] if module == "plan" else []
        found = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stderr
        assert says in found.stdout
    run_id = done.results()[0]["run_id"]
    code = f"from neuroexp.deploy import restore; restore.load(restore.ask(['{run_id}', *__import__('sys').argv[1:]], 'usage'))"
    for trusting, says in (
        ([], "type 'trusted=[own_networks]' on this command line"),
        (["trusted=[pathlib]"], "_target_=own_networks.Own is refused"),
        (["trusted=[own_networks]"], ""),
    ):
        environment = os.environ | {"PYTHONSAFEPATH": "1"}
        line = [sys.executable, "-c", code, *trusting]
        found = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert (found.returncode == 0) == (not says), found.stderr
        assert says in found.stderr
    assert not (tmp_path / RAN).exists()


def test_a_job_trusts_what_was_typed(monkeypatch):
    monkeypatch.setenv(launch.NAME, "composed")
    [job] = plan.composed(["window=20", "step=50"])
    assert job.trusted == ()
    with pytest.raises(ValueError, match="trust is given on the command line alone"):
        list(plan.composed(["window=20", "trusted=[os]"]))
