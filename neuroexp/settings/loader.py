"""Hydra's loader of configurations, with a check of the part that Hydra itself acts on, its node `hydra`, before it does."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra._internal.hydra as hydras
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.errors import ConfigCompositionException
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf, flag_override
from omegaconf.basecontainer import BaseContainer
from yaml import YAMLError

from neuroexp.settings import bounds, trust

CALLABLES = {
    "neuroexp.sweep.launch.Launch",
    "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
    "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
    "hydra.experimental.callbacks.LogJobReturnCallback",
    "hydra.experimental.callbacks.PickleJobInfoCallback",
    "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher",
    "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher",
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher",
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher",
}
# what Hydra builds, sets or names files after
ACTED_ON = ("callbacks", "launcher", "sweeper", "job.env_set", "job.name", "output_subdir")
# what a file may say of a launcher; a launcher's other settings are commands, modules and addresses
LAUNCHER = re.compile(
    r"_target_|n_jobs|backend|prefer|require|verbose|timeout|batch_size|max_nbytes|mmap_mode|submitit_folder|timeout_min"
    r"|cpus_per_task|gpus_per_node|tasks_per_node|mem_gb|nodes|name|stderr_to_stdout|partition|qos|comment|constraint"
    r"|exclude|gres|cpus_per_gpu|gpus_per_task|mem_per_gpu|mem_per_cpu|account|signal_delay_s|max_num_timeout"
    r"|array_parallelism|ray\.(init|remote)\.(num_cpus|num_gpus|memory|max_calls|max_retries)"
)
DISPATCH = re.compile(r"all|\d+|(\d+\*)?n_jobs")  # joblib evaluates this one
ENVIRONMENT = re.compile(
    r"(OMP|MKL|OPENBLAS|NUMEXPR)_NUM_THREADS|OMP_(PLACES|PROC_BIND)|KMP_(AFFINITY|BLOCKTIME)|CUDA_VISIBLE_DEVICES"
    r"|CUBLAS_WORKSPACE_CONFIG"
)
RESOLVERS = {
    "oc.create", "oc.decode", "oc.deprecated", "oc.dict.keys", "oc.dict.values", "oc.env", "oc.select",
    "hydra", "now", "python_version", "store",
}  # fmt: skip
LOG_FILE = re.compile(
    r"\$\{hydra[.:]runtime\.output_dir\}/(\$\{hydra\.job\.name\}|[\w-]+)\.log|hydra-\$\{hydra\.job\.name\}\.log"
)
STREAMS = ("ext://sys.stdout", "ext://sys.stderr")
PLAIN = re.compile(r"[\w.-]*")
KEPT = 50  # jobs of a sweep, at most, composed before they begin


class Repository(ConfigRepository):
    """The files of a search path, each read and parsed once: a sweep composes the same ones for every job."""

    def __init__(self, config_search_path: ConfigSearchPath):
        """Read nothing yet."""
        super().__init__(config_search_path)
        self._read: dict[tuple[tuple[str, str], ...], dict[str, bytes]] = {}

    def load_config(self, config_path: str) -> ConfigResult | None:
        """Return what a file holds, as a copy: composing changes it."""
        read = self._read.setdefault(tuple((source.scheme(), source.path) for source in self.sources), {})
        if config_path not in read:
            new: ConfigResult | None = super().load_config(config_path)
            try:
                read[config_path] = pickle.dumps(new)  # copies six times faster than deepcopy
            except pickle.PicklingError:
                # a launcher's process, whose classes came with the job and are not those of its modules
                return new
        found: ConfigResult | None = pickle.loads(read[config_path])
        return found

    def __deepcopy__(self, _: Any) -> Repository:
        """Return one that may be given other sources, as Hydra does for each composition, and knows what has been read."""
        twin = copy.copy(self)
        twin.sources, twin._read = list(self.sources), self._read
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """Return what a launcher sends to another process, which reads for itself."""
        return self.__dict__ | {"_read": {}}


class Loader(ConfigLoaderImpl):
    """Composes as Hydra does, and raises ConfigCompositionException for what a configuration may not have Hydra do."""

    def __init__(self, config_search_path: ConfigSearchPath):
        """Take what Hydra's own loader takes."""
        super().__init__(config_search_path)
        self.repository = Repository(config_search_path)
        self._composed: dict[tuple[str, ...], DictConfig] = {}  # jobs of a sweep that have not begun

    def load_configuration(
        self, config_name: str | None, overrides: list[str], *args: Any, **kwargs: Any
    ) -> DictConfig:
        """Return the composed configuration, of which Hydra's own node is checked and free of interpolations."""
        for name in set(BaseContainer._resolvers) - RESOLVERS:  # a plugin's may import what it is given the name of
            OmegaConf.clear_resolver(name)
        try:
            config = super().load_configuration(config_name, overrides, *args, **kwargs)
            check(config, overrides)
        except (ValueError, YAMLError, RecursionError) as error:  # no YAML, or tags that build objects
            raise ConfigCompositionException(" ".join(str(error).split())) from None
        except KeyError as error:
            raise ConfigCompositionException(f"hydra.job.env_copy names {error}, which is not set") from None
        return config

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Compose a job of a sweep once, where Hydra does it twice: to see whether it can be composed, and to run it."""
        words = (master_config.hydra.job.config_name, *master_config.hydra.overrides.hydra, *sweep_overrides)
        if words in self._composed:
            return self._composed.pop(words)
        found = super().load_sweep_config(master_config, sweep_overrides)
        if len(self._composed) < KEPT:
            self._composed[words] = found
        return found

    def __getstate__(self) -> dict[str, Any]:
        """Return what a launcher sends to another process, which composes for itself."""
        return self.__dict__ | {"_composed": {}}

    def _process_config_searchpath(self, config_name: str | None, parsed_overrides: Any, repo: Any) -> None:
        """Check `hydra.searchpath` before it is followed: reading a package imports it."""
        said = [o.value() for o in parsed_overrides if o.get_key_element() == "hydra.searchpath"]
        own = [Path(source.path).resolve() for source in self.repository.get_sources() if source.scheme() == "file"]
        entries: Any = said[0] if said else None
        if not said and config_name is not None and (loaded := repo.load_config(config_path=config_name)) is not None:
            entries = OmegaConf.select(loaded.config, "hydra.searchpath") if OmegaConf.is_dict(loaded.config) else None
        for entry in entries if isinstance(entries, Sequence) and not isinstance(entries, str) else ():
            scheme, marked, place = str(entry).partition("://")
            if marked and scheme == "pkg":
                allowed = place in ("neuroexp.conf", "hydra.conf") or trust.inside(place, trust.trusted())
            else:
                folder = Path(place if marked else scheme).resolve()
                allowed = scheme == "file" or not marked
                allowed = allowed and (bool(said) or any(folder.is_relative_to(place) for place in own))
            if not allowed:
                raise ConfigCompositionException(
                    f"hydra.searchpath names {entry}: only folders may be searched, and a configuration file may only name "
                    "its own; type --config-dir FOLDER for another"
                )
        super()._process_config_searchpath(config_name, parsed_overrides, repo)


def search(folder: Path | None = None) -> ConfigSearchPath:
    """Return where configurations are looked for: first in a folder of one's own (`--config-dir`), then in the package."""
    path = create_config_search_path("pkg://neuroexp.conf")
    if folder is not None:
        path.prepend("command-line", f"file://{folder.absolute()}", SearchPathQuery(provider="schema"))
    return path


def install() -> None:
    """Have Hydra compose with this loader in this process, for a launch and for everything that composes as one."""
    hydras.ConfigLoaderImpl = Loader  # type: ignore[attr-defined]


def check(config: DictConfig, overrides: Sequence[str]) -> None:
    """Raise ValueError when Hydra's node asks for what a configuration may not have it do; resolve what Hydra will build.

    `overrides` are the words that it was composed with. What a configuration file may not do may still be typed: commands
    of a cluster's launcher, and variables of the environment.
    """
    node = config.hydra
    for kind in ("hydra", "task"):
        if foreign := [word for word in node.overrides[kind] if word not in overrides]:
            raise ValueError(f"hydra.overrides.{kind} holds {foreign[0]}, which was not typed")
    if not OmegaConf.is_missing(node.runtime, "output_dir"):  # else a log could be named before Hydra knows better
        raise ValueError("hydra.runtime.output_dir is Hydra's to say: hydra.run.dir is the folder of a run")
    bounds.check_folders(config)
    for name in ACTED_ON:
        parent, _, key = f"hydra.{name}".rpartition(".")
        plain = _resolved(OmegaConf.select(config, f"hydra.{name}"), f"hydra.{name}")
        _check_callables(plain, f"hydra.{name}")
        owner = OmegaConf.select(config, parent)
        with flag_override(owner, ["struct", "readonly"], [False, False]):
            owner[key] = plain
        if name in ("launcher", "sweeper") and not (isinstance(plain, Mapping) and "_target_" in plain):
            raise ValueError(f"hydra.{name} names no {name}: choose one with hydra/{name}=NAME")
        CHECKS[name](plain, f"hydra.{name}")
    if folder := node.launcher.get("submitit_folder"):
        bounds.check_inside("hydra.launcher.submitit_folder", folder, node.sweep.dir)
    for name in ("job_logging", "hydra_logging"):
        _check_logging(OmegaConf.to_container(node[name], resolve=False), f"hydra.{name}")


def _resolved(node: Any, where: str) -> Any:
    """Return a node as plain values; raises ValueError for one that would be resolved a second time, to something else."""
    plain = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    for path, value in _leaves(plain, where):
        if isinstance(value, str) and ("${" in value or not value.isprintable()):
            raise ValueError(f"{path}={value!r} is refused: no interpolation is left there, nor a control character")
    return plain


def _leaves(node: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Yield every value below a node with its key; an empty list or mapping is a value."""
    if node and isinstance(node, Mapping | list):
        entries = node.items() if isinstance(node, Mapping) else enumerate(node)
        for name, value in entries:
            yield from _leaves(value, f"{where}.{name}")
    else:
        yield where, node


def _check_callables(plain: Any, where: str) -> None:
    if isinstance(plain, list):
        plain = dict(enumerate(plain))
    if not isinstance(plain, Mapping):
        return
    if "_target_" in plain:
        target = plain["_target_"]
        if not (isinstance(target, str) and (target in CALLABLES or trust.inside(target, trust.trusted()))):
            raise ValueError(
                f"{where}._target_={target} is refused: launchers, sweepers and callbacks are Hydra's and neuroexp's own"
                f"{trust.advice(target)}"
            )
    for name, value in plain.items():
        if name in ("_args_", "_recursive_"):
            raise ValueError(f"{where}.{name} says nothing here")
        _check_callables(value, f"{where}.{name}")


def _only_typed(path: str, value: Any) -> None:
    if value not in (None, [], {}) and not trust.is_typed(path):
        raise ValueError(
            f"a configuration file sets {path}, which can run other programs: type {path}=... if you want it"
        )


def _check_name(plain: Any, where: str) -> None:
    if plain is not None and (not PLAIN.fullmatch(str(plain)) or ".." in str(plain)):
        raise ValueError(f"{where}={plain} is no plain name")


def _check_launcher(plain: Any, where: str) -> None:
    for path, value in _leaves(plain, where):
        key = path.removeprefix(f"{where}.")
        if key == "pre_dispatch":
            if not DISPATCH.fullmatch(str(value).replace(" ", "")):
                raise ValueError(f"{path}={value} must be all, a number, or a multiple of n_jobs such as 2*n_jobs")
        elif not LAUNCHER.fullmatch(key):
            _only_typed(path, value)


def _check_sweeper(plain: Any, where: str) -> None:
    params = plain.get("params") if isinstance(plain, Mapping) else None
    for key in params or {}:
        if re.match(r"[+~]*(hydra\b|trusted\b)", str(key)):
            raise ValueError(f"{where}.params sets {key}, which is typed and never swept")


def _check_environment(plain: Any, where: str) -> None:
    for path, value in _leaves(plain, where):
        if not ENVIRONMENT.fullmatch(path.removeprefix(f"{where}.")):
            _only_typed(path, value)


def _check_logging(node: Any, where: str) -> None:
    """Raise ValueError for anything but loggers, formats, and handlers that write to the terminal or a log of the job.

    Python builds a logging configuration from callables and objects that it imports by name.
    """
    for path, value in _leaves(node, where):
        section, _, rest = path.removeprefix(f"{where}.").partition(".")
        key = rest.rpartition(".")[2]
        allowed: tuple[str, ...] | None = {
            ("handlers", "class"): ("logging.StreamHandler", "logging.FileHandler", "logging.NullHandler"),
            ("handlers", "stream"): STREAMS,
            ("handlers", "mode"): ("a", "w"),
            ("formatters", "class"): ("logging.Formatter",),
            ("formatters", "()"): ("colorlog.ColoredFormatter",),
        }.get((section, key))
        text = str(value)
        if allowed is not None:
            right = value in allowed
        elif (section, key) == ("handlers", "filename"):
            right = LOG_FILE.fullmatch(text) is not None
        else:
            right = "://" not in text and "${" not in text and key not in ("()", "class", "stream", "filename")
            right = (
                right
                and ".." not in path
                and section in ("version", "disable_existing_loggers", "formatters", "handlers", "loggers", "root")
            )
        if not right:
            raise ValueError(
                f"{path}={value} is refused: a log goes to the terminal, or to a .log in ${{hydra.runtime.output_dir}}"
            )


CHECKS: dict[str, Callable[[Any, str], None]] = {
    "callbacks": lambda plain, where: None,
    "launcher": _check_launcher,
    "sweeper": _check_sweeper,
    "job.env_set": _check_environment,
    "job.name": _check_name,
    "output_subdir": _check_name,
}
