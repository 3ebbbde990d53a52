"""A finished run brought back: its configuration, its fold, and the network that was tested, shown to be that one."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor

from neuroexp.data.fold import Fold
from neuroexp.deploy.decoder import Decoder, Spec
from neuroexp.evaluation import scores
from neuroexp.machine import places
from neuroexp.machine.sentence import sentence
from neuroexp.settings import callables, keys, mistakes, resolved, sources, trust
from neuroexp.store import runfiles
from neuroexp.terminal.quiet import quiet
from neuroexp.training.assemble import network

SCORE = {"hdsemg": "f1", "eng": "macro_f1"}  # by which runs are compared
TOLERANCE, TOLERANCE_BF16 = 0.01, 0.03  # of that score: other machines and precisions decide a few windows otherwise


@dataclass(frozen=True)
class Asked:
    """A run that a command line names, as the store has it."""

    run_id: str
    uri: str
    found: Mapping[str, Any]  # what `recorded.read` returns
    config: Mapping[str, Any]  # resolved, with what the command line changes
    words: Mapping[str, str]  # those that are the command's own
    trusted: tuple[str, ...]  # modules whose code may run, as typed: a run's own configuration is not asked


@dataclass(frozen=True)
class Trained:
    """A run with its data and its trained network."""

    asked: Asked
    fold: Fold
    decoder: Decoder
    spec: Spec
    probabilities: NDArray[np.float32]  # (window, output) of its test windows, as its decoder finds them here


def asked(words: Sequence[str], usage: str, own: Sequence[str] = (), free: bool = False) -> Asked:
    """Return the run that a command line names, see `ask`; what stands in its way ends the process with one sentence."""
    from neuroexp.store.tracking import StoreError  # noqa: PLC0415 - a second to import

    try:
        return ask(words, usage, own, free)
    except (StoreError, ValueError) as error:
        sys.exit(str(error))


def ask(words: Sequence[str], usage: str, own: Sequence[str] = (), free: bool = False) -> Asked:
    """Return the run that `words` name, `RUN_ID` or `run_id=RUN_ID`, with settings changed as the other words say.

    Words that begin with one of `own` are the command's. Raises ValueError for words that make no sense, for those that
    contradict what the run was trained with (unless they are `free`, because it is trained again), for a run that is not
    there or not finished, and StoreError when the store cannot be reached.
    """
    from neuroexp.store import finished_run  # noqa: PLC0415 - a second to import

    words = [word if "=" in word or number else f"run_id={word}" for number, word in enumerate(words)]
    pairs = dict(word.partition("=")[::2] for word in words)
    if wrong := [word for word in words if "=" not in word]:
        raise ValueError(f"{wrong[0]} is no setting: settings are typed as name=value\n{usage}")
    if "run_id" not in pairs:
        raise ValueError(usage)
    trust.begin(words)
    try:
        settings = [word for word in words if word.partition("=")[0] not in ("run_id", *own)]
        changes = plain(settings)
        default = os.environ.get("MLFLOW_TRACKING_URI", places.store(places.here()))
        uri = str(changes.get("tracking", {}).get("uri") or default)
    except (OmegaConfBaseException, AttributeError) as error:
        raise ValueError(str(error)) from None
    quiet()
    found = finished_run.read(uri, pairs["run_id"])
    config = runfiles.configuration(found["config.yaml"], found["name"])
    _check(settings, config, own, free)
    # what a run says of places is another machine's, or a stranger's: here is written where this user has it
    config["cache"] = os.environ.get("NEUROEXP_CACHE", f"{places.here()}/outputs/cache")
    config = resolved.merged(config, changes)
    for group in ("dataset", "task"):  # a run records values, and a change of one must reach where it is used
        config[group] = config[group] | {name: config[name] for name in set(config[group]) & set(config)}
    mine = {name: pairs[name] for name in own if name in pairs}
    return Asked(found["run_id"], uri, found, config, mine, trust.trusted(words))


def plain(words: Sequence[str]) -> dict[str, Any]:
    """Return words of a command line, `name.name=value`, as nested plain values."""
    return OmegaConf.to_container(OmegaConf.from_dotlist(list(words)), resolve=True)  # type: ignore[return-value]


def _check(settings: Sequence[str], config: Mapping[str, Any], own: Sequence[str], free: bool) -> None:
    """Raise ValueError for a setting that the run does not have (nothing would heed it) or on which its scores depend.

    A recording may have moved: whether it is the run's own is seen when it is read.
    """
    fixed = set() if free else keys.science(config).keys() - {"recording"}
    for word in settings:
        name, _, value = word.partition("=")
        parent, _, key = name.rpartition(".")
        node = _at(config, parent)
        known = {str(entry) for entry in node} if isinstance(node, Mapping) else set()
        if name != "tracking.uri" and key not in known:
            known = known - {"_target_"} if parent else known - fixed | {"run_id", *own}
            raise ValueError(f"{name} is no setting{f' of {parent}' if parent else ''}{mistakes.valid(key, known)}")
        if name.partition(".")[0] in fixed:
            then = _at(config, name)
            if isinstance(then, Mapping):
                then = str(then.get("_target_", "settings of its own")).rpartition(".")[2]
            raise ValueError(
                f"{name}={value}: the run was trained with {then}, and its network knows nothing else; "
                "only a recording that has moved and where things are can be named here"
            )


def _at(config: Mapping[str, Any], key: str) -> Any:
    """Return the value at a dotted key; None where there is none."""
    found: Any = config
    for part in key.split(".") if key else ():
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def load(asked: Asked) -> Trained:
    """Read the run's recording again and give its network the weights that were tested.

    Raises ValueError when the recording is not the one that the run has seen, its weights do not fit, or its score on the
    test windows is not the recorded one.
    """
    from neuroexp.store.finished_run import weights  # noqa: PLC0415 - a second to import

    cfg = asked.config
    callables.check_names(cfg, asked.trusted)
    learnt = weights(asked.uri, asked.found)
    with own_source(asked) as changed:
        callables.check(cfg, asked.trusted)
        try:
            fold = callables.build(cfg["dataset"], asked.trusted)
            model, task = network(cfg, asked.trusted, fold)
        except Exception as error:
            raise ValueError(sentence(error)) from error
    split = keys.digest_of(fold.split.train, fold.split.validation, fold.split.test)
    name = asked.found["name"]
    if asked.found["tags"].get("neuroexp.split", split) != split or asked.found["digest"] != fold.source.sha256[:16]:
        raise ValueError(
            f"{fold.source.name} is not the recording, or not cut into the windows, that {name} was trained on"
        )
    try:
        model.load_state_dict(learnt)
    except RuntimeError as error:
        raise ValueError(
            f"the weights of {name} do not fit its network: {' '.join(str(error).split())[:200]}"
        ) from None
    decoder = Decoder(model, task.activation, fold.mean, fold.std, fold.window, fold.order).eval()
    spec = Spec(
        name=name,
        run_id=asked.run_id,
        recording=fold.source.name,
        dataset=cfg["dataset"]["_target_"].rpartition(".")[2],
        outputs=tuple(task.outputs(fold)),
        threshold=getattr(task, "threshold", 0.5),
        rate_hz=float(fold.source.rate_hz),
        n_channels=fold.signal.shape[1],
        window=fold.window,
        step=cfg["step"],
        preparation=fold.preparation,
        label=cfg["label"]["_target_"].rpartition("label_")[2],
        digest=asked.found["digest"],
    )
    back = Trained(asked, fold, decoder, spec, _predicted(decoder, fold))
    _check_score(back, changed)
    return back


@contextlib.contextmanager
def own_source(asked: Asked) -> Iterator[list[str]]:
    """Import a run's own modules from the source that it kept where that has changed since, inside this context.

    Only trusted modules are; the others that have changed are yielded. Both are said.
    """
    from neuroexp.store.finished_run import download  # noqa: PLC0415 - a second to import

    if asked.found["tags"].get(sources.TAG) != "true":
        yield []
        return
    with tempfile.TemporaryDirectory() as folder:
        kept = download(asked.uri, asked.run_id, sources.FOLDER, folder)
        names = sources.index(kept)
        sources.fresh(names)
        changed = sources.changed(names)
        mine = [name for name in changed if trust.inside(name, asked.trusted)]
        others = [name for name in changed if name not in mine]
        if mine:
            sources.Kept(kept, mine).install()
            print(f"{', '.join(mine)} changed since this run: its source is taken from the run", file=sys.stderr)
        if others:
            said = ",".join(others)
            print(f"{said} changed since this run; 'trusted=[{said}]' takes the source that it kept", file=sys.stderr)
        yield others


def _predicted(decoder: Decoder, fold: Fold, batch: int = 256) -> NDArray[np.float32]:
    """Return the probabilities (window, output) of the test windows, so many at a time."""
    test = fold.split.test
    with torch.inference_mode():
        parts = [decoder(microvolts(fold, test[low : low + batch])) for low in range(0, len(test), batch)]
    return np.asarray(torch.cat(parts).numpy(), dtype=np.float32)


def decisions(spec: Spec, probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return (window, output) what is decided: each unit by the threshold, or the most probable class."""
    if spec.dataset == "eng":
        return np.asarray(np.eye(len(spec.outputs), dtype=bool)[probabilities.argmax(axis=1)])
    return probabilities > spec.threshold


def score(back: Trained, probabilities: NDArray[np.float32]) -> float:
    """Return the score of the test windows by which runs are compared: F1 averaged over motor units or classes."""
    truth = back.fold.labels[torch.from_numpy(back.fold.split.test)] > 0
    decided = torch.from_numpy(decisions(back.spec, probabilities))
    return float(scores.f1(scores.counts(decided, truth.cpu())).nanmean())


def _check_score(back: Trained, changed: Sequence[str]) -> None:
    """Raise ValueError when the network does not do what the run's did: its source may have been edited."""
    metric = SCORE[back.spec.dataset]
    then, now = back.asked.found["metrics"].get(f"test/{metric}"), score(back, back.probabilities)
    exact = str(back.asked.config["trainer"].get("precision", "")).startswith("32")
    if then is None or abs(then - now) <= (TOLERANCE if exact else TOLERANCE_BF16):
        return
    why = f"{', '.join(changed)} changed since" if changed else "its source, or a package behind it, has changed since"
    raise ValueError(
        f"{back.spec.name} was recorded with {metric} {then:.4f} and gives {now:.4f} on its test windows now, so this is not "
        f"the network that was trained: {why}"
    )


def evenly(indices: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return `count` of the indices (or all, where there are fewer), spread over them."""
    return indices[np.linspace(0, len(indices) - 1, min(count, len(indices))).astype(np.int64)]


def microvolts(fold: Fold, indices: NDArray[np.int64]) -> Tensor:
    """Return windows (window, channel, time) of a fold in the recording's channel order and in microvolts."""
    windows = fold.gather(fold.starts[torch.from_numpy(indices)])
    windows = windows * torch.from_numpy(fold.std)[:, None] + torch.from_numpy(fold.mean)[:, None]
    if fold.order is None:
        return windows
    restored = torch.empty_like(windows)
    restored[:, torch.from_numpy(fold.order)] = windows
    return restored
