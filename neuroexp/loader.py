"""Hydra's loader of configurations, with a check of the part that Hydra itself acts on, its node `hydra`, before it does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra._internal.hydra as hydras
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig, OmegaConf, flag_override
from omegaconf.basecontainer import BaseContainer

from neuroexp import trust

CALLABLES = {
    "neuroexp.launch.Launch",
    "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
    "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
    "hydra.experimental.callbacks.LogJobReturnCallback",
    "hydra.experimental.callbacks.PickleJobInfoCallback",
    "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher",
    "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher",
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher",
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher",
}
ACTED_ON = ("callbacks", "launcher", "sweeper", "job.env_set")  # built, or set, by Hydra
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
    r"|CUBLAS_WORKSPACE_CONFIG|NEUROEXP_(DATA|CACHE)|MLFLOW_TRACKING_URI"
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


class Loader(ConfigLoaderImpl):
    """Composes as Hydra does, and raises ConfigCompositionException for what a configuration may not have Hydra do."""

    def load_configuration(
        self, config_name: str | None, overrides: list[str], *args: Any, **kwargs: Any
    ) -> DictConfig:
        """Return the composed configuration, of which Hydra's own node is checked and free of interpolations."""
        for name in set(BaseContainer._resolvers) - RESOLVERS:  # a plugin's may import what it is given the name of
            OmegaConf.clear_resolver(name)
        config = super().load_configuration(config_name, overrides, *args, **kwargs)
        try:
            check(config, overrides)
        except ValueError as error:
            raise ConfigCompositionException(str(error)) from None
        return config

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
    for name in ACTED_ON:
        parent, _, key = f"hydra.{name}".rpartition(".")
        plain = _resolved(OmegaConf.select(config, f"hydra.{name}"), f"hydra.{name}")
        _check_callables(plain, f"hydra.{name}")
        owner = OmegaConf.select(config, parent)
        with flag_override(owner, ["struct", "readonly"], [False, False]):
            owner[key] = plain
        CHECKS[name](plain)
    for name in ("job_logging", "hydra_logging"):
        _check_logging(OmegaConf.to_container(node[name], resolve=False), f"hydra.{name}")
    for name, value in (("job.name", node.job.name), ("output_subdir", node.output_subdir)):
        if value is not None and (not PLAIN.fullmatch(str(value)) or ".." in str(value)):
            raise ValueError(f"hydra.{name}={value} is no plain name")


def _resolved(node: Any, where: str) -> Any:
    """Return a node as plain values; raises ValueError for one that would be resolved a second time."""
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
    for path, value in _leaves(plain, where):
        name = path.rpartition(".")[2]
        if name == "_target_" and not (
            value in CALLABLES or (isinstance(value, str) and trust.inside(value, trust.trusted()))
        ):
            module = str(value).rpartition(".")[0]
            raise ValueError(
                f"{path}={value} is refused: launchers, sweepers and callbacks are Hydra's and neuroexp's own; "
                f"type 'trusted=[{module}]' on this command line if that code may run"
            )
        if name in ("_args_", "_recursive_"):
            raise ValueError(f"{path} says nothing here")


def _is_typed(path: str) -> bool:
    keys = [word.lstrip("+~").partition("=")[0] for word in trust.typed() if "=" in word]
    return any(path == key or path.startswith(f"{key}.") for key in keys)


def _only_typed(path: str, value: Any) -> None:
    if value not in (None, [], {}) and not _is_typed(path):
        raise ValueError(
            f"a configuration file sets {path}, which can run other programs: type {path}=... if you want it"
        )


def _check_launcher(plain: Any) -> None:
    for path, value in _leaves(plain, "hydra.launcher"):
        key = path.removeprefix("hydra.launcher.")
        if key == "pre_dispatch":
            if not DISPATCH.fullmatch(str(value).replace(" ", "")):
                raise ValueError(f"{path}={value} must be all, a number, or a multiple of n_jobs such as 2*n_jobs")
        elif not LAUNCHER.fullmatch(key):
            _only_typed(path, value)


def _check_sweeper(plain: Any) -> None:
    params = plain.get("params") if isinstance(plain, Mapping) else None
    for key in params or {}:
        if re.match(r"[+~]*(hydra\b|trusted\b)", str(key)):
            raise ValueError(f"hydra.sweeper.params sets {key}, which is typed and never swept")


def _check_environment(plain: Any) -> None:
    for path, value in _leaves(plain, "hydra.job.env_set"):
        if not ENVIRONMENT.fullmatch(path.removeprefix("hydra.job.env_set.")):
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


CHECKS: dict[str, Callable[[Any], None]] = {
    "callbacks": lambda plain: None,
    "launcher": _check_launcher,
    "sweeper": _check_sweeper,
    "job.env_set": _check_environment,
}
