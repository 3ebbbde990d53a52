"""What a configuration may have run: a closed list of callables, each found under its listed name and no other.

A configuration is data. It comes from a colleague, a download or an MLflow server, so whatever it names is looked up here and
nowhere else, after every interpolation has been resolved, and what has been checked is what is built.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from neuroexp.settings import mistakes, trust, typecheck
from neuroexp.settings.trust import advice, inside

OURS = {
    "neuroexp.datasets.eng.eng",
    "neuroexp.datasets.hdsemg.hdsemg",
    "neuroexp.data.preparation.Preprocessing",
    "neuroexp.data.segments.label_centre",
    "neuroexp.data.segments.label_step",
    "neuroexp.data.segments.label_window",
    "neuroexp.data.splits.blocked",
    "neuroexp.data.splits.contraction",
    "neuroexp.data.splits.given",
    "neuroexp.data.splits.random",
    "neuroexp.data.splits.stimulus",
    "neuroexp.tasks.classification.Classification",
    "neuroexp.tasks.decomposition.Decomposition",
}
# a reader or network that is added to the package needs no entry
READER, NETWORK = (
    re.compile(r"neuroexp\.recordings\.[a-z]\w*\.read"),
    re.compile(r"neuroexp\.models\.[a-z]\w*\.[A-Z]\w*"),
)
LAYER, OPTIMISER = re.compile(r"torch\.nn\.[A-Z]\w*"), re.compile(r"torch\.optim\.[A-Z]\w*")
SCHEDULER = re.compile(r"torch\.optim\.lr_scheduler\.[A-Z]\w*")
CALLBACKS = "pytorch_lightning.callbacks"
LIGHTNING = {"pytorch_lightning.Trainer"} | {
    f"{CALLBACKS}.{name}"
    for name in (
        "DeviceStatsMonitor", "EMAWeightAveraging", "EarlyStopping", "GradientAccumulationScheduler", "LearningRateMonitor",
        "ModelCheckpoint", "ModelSummary", "RichModelSummary", "RichProgressBar", "StochasticWeightAveraging",
        "TQDMProgressBar", "Timer", "WeightAveraging",
    )
}  # fmt: skip
# what would load code by name, start processes, or write where no job writes
FIXED: dict[str, dict[str, tuple[Any, ...]]] = {
    "pytorch_lightning.Trainer": {
        "logger": (False, None),
        "strategy": ("auto",),
        "num_nodes": (1,),
        "plugins": (None,),
        "profiler": (None, "simple", "advanced"),
        "model_registry": (None,),
    },
    f"{CALLBACKS}.ModelCheckpoint": {"dirpath": (None,)},
}
# one at a time: for more Lightning would start this command again, once for each
DEVICES = re.compile(r"1|\[\d+\]")
FILENAME = re.compile(r"[\w{}=:.-]*")  # of a checkpoint: in the folder of its cell
WORDS = {"_target_", "_args_", "_partial_", "_convert_"}  # those of Hydra that mean something here


def check(node: Any, trusted: Sequence[str], where: str = "") -> None:
    """Check every `_target_` of a resolved configuration, wherever it stands, and the values that are passed to it.

    Raises ValueError for a callable that may not be named, before anything is imported that is not listed, and for a value
    that does not fit its parameter. `where` is the key of `node`.
    """
    check_names(node, trusted)
    _check_values(node, trusted, where)


def check_names(node: Any, trusted: Sequence[str]) -> None:
    """Raise ValueError unless every `_target_` is a listed name, or inside a trusted module; imports nothing."""
    if isinstance(node, Mapping):
        if "_target_" in node and not _is_listed(target := node["_target_"], trusted):
            raise ValueError(_refusal(target))
        for value in node.values():
            check_names(value, trusted)
    elif isinstance(node, list):
        for value in node:
            check_names(value, trusted)


def _check_values(node: Any, trusted: Sequence[str], where: str) -> None:
    if isinstance(node, Mapping):
        if "_target_" in node:
            _bound(node, trusted, where)
        for name, value in node.items():
            _check_values(value, trusted, f"{where}.{name}" if where else str(name))
    elif isinstance(node, list):
        for value in node:
            _check_values(value, trusted, where)


def build(node: Any, trusted: Sequence[str] = (), /, **others: Any) -> Any:
    """Return what a resolved configuration node stands for: callables called, innermost first, everything else as it is.

    As Hydra's `instantiate`, `_partial_: true` gives the callable with its values, `_args_` are positional, and `others` are
    further values for the outermost one. Strings stay strings, also those that look like an interpolation. Raises
    ValueError for a callable that may not be named, and whatever the callables raise.
    """
    check_names(node, trusted)
    return _built(node, trusted, others)


def _built(node: Any, trusted: Sequence[str], others: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_built(value, trusted, {}) for value in node]
    if not isinstance(node, Mapping):
        return node
    values = {name: _built(value, trusted, {}) for name, value in node.items() if name not in WORDS}
    if "_target_" not in node:
        return values
    found = _bound(node, trusted, "")
    args = _built(list(node.get("_args_", [])), trusted, {})
    made = partial(found, *args, **values | dict(others))
    return made if node.get("_partial_") else made()


def _bound(node: Mapping[str, Any], trusted: Sequence[str], where: str) -> Callable[..., Any]:
    """Return the callable of a node; raises ValueError when one of its values does not fit."""
    target = node["_target_"]
    found = find(target, trusted)
    values = {str(name): value for name, value in node.items() if name not in WORDS}
    args = node.get("_args_", [])
    where = where or target
    if unknown := [name for name in values if name.startswith("_") and name.endswith("_")]:
        raise ValueError(f"{where}.{unknown[0]} says nothing here: {', '.join(sorted(WORDS))} do")
    if not isinstance(args, list):
        raise ValueError(f"{where}._args_ must be a list")
    if args and target in OURS:
        raise ValueError(f"{where}._args_ says nothing here: settings of {target} have names")
    bound = _arguments(found, args, values, where)
    for name, valid in FIXED.get(target, {}).items():
        if name in bound and not any(bound[name] is value or bound[name] == value for value in valid):
            shown = " or ".join("null" if value is None else str(value).lower() for value in valid)
            raise ValueError(f"{where}.{name}={bound[name]} is refused: it must be {shown}")
    if target == "pytorch_lightning.Trainer":
        _check_trainer(bound, where)
    filename = bound.get("filename") if target == f"{CALLBACKS}.ModelCheckpoint" else None
    if filename is not None and (not FILENAME.fullmatch(str(filename)) or ".." in str(filename)):
        raise ValueError(f"{where}.filename={filename} is no plain name of a file: it lies in the folder of its cell")
    typecheck.check(found, bound, where)
    return found


def _check_trainer(bound: Mapping[str, Any], where: str) -> None:
    devices, folder = bound.get("devices", 1), str(bound.get("default_root_dir"))
    if not DEVICES.fullmatch(str(devices)):
        raise ValueError(f"{where}.devices={devices} is refused: a job trains on one, 1 or [NUMBER]")
    if "://" in folder or "::" in folder:  # which fsspec would load a driver for, and connect to
        raise ValueError(f"{where}.default_root_dir={folder} is no folder of this machine")


def _arguments(found: Callable[..., Any], args: list[Any], values: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """Return values by the names of the parameters that they are for; raises ValueError for one that is for none."""
    try:
        signature = inspect.signature(found)
    except ValueError:  # a callable that does not say what it takes
        return values
    kinds = [parameter.kind for parameter in signature.parameters.values()]
    unknown = [name for name in values if name not in signature.parameters]
    if unknown and inspect.Parameter.VAR_KEYWORD not in kinds:
        advice = mistakes.valid(unknown[0], signature.parameters)
        raise ValueError(f"{where}.{unknown[0]} is no setting of {getattr(found, '__name__', found)}{advice}")
    try:
        return signature.bind_partial(*args, **values).arguments
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from None


def find(target: Any, trusted: Sequence[str] = ()) -> Callable[..., Any]:
    """Return the callable that is listed as `target`, or that a trusted module defines; raises ValueError for any other."""
    if not _is_listed(target, trusted):
        raise ValueError(_refusal(target))
    found: Any
    if inside(target, trusted):
        found = _defined(target)
        home = getattr(found, "__module__", None) or type(found).__module__
        if not inside(str(home), trusted) or not callable(found):
            raise ValueError(
                f"_target_={target} leads to {home}, which is not among trusted=[{', '.join(trusted)}]: name it where it is "
                "defined, and trust that module too if it may run"
            )
        return found
    module, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ModuleNotFoundError, AttributeError):
        raise ValueError(f"_target_={target} is not there") from None
    if not _is_what_is_listed(target, module, name, found):
        raise ValueError(_refusal(target))
    return found


def _defined(target: str) -> Any:
    """Return what a dotted name leads to: modules first, then what they define."""
    trust.install()  # in whichever process of the launch this is
    parts = target.split(".")
    for length in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:length])
        try:
            found: Any = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module and not module.startswith(f"{error.name}."):
                raise ValueError(
                    f"_target_={target}: {module} needs {error.name}, which is not installed, nor trusted if it is yours"
                ) from None
            continue
        try:
            for part in parts[length:]:
                found = getattr(found, part)
        except AttributeError:
            raise ValueError(f"_target_={target}: {module} defines no {'.'.join(parts[length:])}") from None
        return found
    raise ValueError(f"_target_={target}: there is no module {parts[0]} in this folder, nor installed")


def _is_what_is_listed(target: str, module: str, name: str, found: Any) -> bool:
    """Return whether an object is of the kind that its listed name promises, and defined where that says."""
    home = str(getattr(found, "__module__", ""))
    if target in OURS or READER.fullmatch(target):
        return home == module and found.__qualname__ == name
    if not inspect.isclass(found) or found.__name__ != name:
        return False
    if target in LIGHTNING:
        return home.startswith("pytorch_lightning.")
    from torch import nn, optim  # noqa: PLC0415 - a second to import

    schedulers = (optim.lr_scheduler.LRScheduler, optim.lr_scheduler.ReduceLROnPlateau)
    kinds: dict[re.Pattern[str], tuple[str, tuple[type, ...]]] = {
        NETWORK: (f"{module}.", (nn.Module,)),
        LAYER: ("torch.nn.modules.", (nn.Module,)),
        OPTIMISER: ("torch.optim.", (optim.Optimizer,)),
        SCHEDULER: ("torch.optim.lr_scheduler.", schedulers),
    }
    return any(
        pattern.fullmatch(target) and f"{home}.".startswith(place) and issubclass(found, kind)
        for pattern, (place, kind) in kinds.items()
    )


def _is_listed(target: Any, trusted: Sequence[str]) -> bool:
    if not isinstance(target, str):
        return False
    patterns = (READER, NETWORK, LAYER, OPTIMISER, SCHEDULER)
    return (
        target in OURS
        or target in LIGHTNING
        or any(pattern.fullmatch(target) for pattern in patterns)
        or inside(target, trusted)
    )


def _refusal(target: Any) -> str:
    shown = " ".join(repr(target).strip("'\"").split())[:200]
    return (
        f"_target_={shown} is refused: a configuration may name neuroexp's own readers, networks, tasks, splits and labels, "
        f"layers of torch.nn, torch.optim, and Lightning's Trainer and callbacks{advice(target)}"
    )
