"""Which choices go together: a dataset with its recordings, splits and task, known before anything is read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

Words = tuple[str, ...]

# dataset -> what it decodes, and what of each group goes with it
DECODES = {"hdsemg": "HD-sEMG", "eng": "a nerve cuff"}
RECORDINGS: dict[str, Words] = {
    "hdsemg": ("hdsemg_simulated", "hdsemg_crossed", "otb", "demuse"),
    "eng": ("eng_simulated", "eng_rats", "intan", "signatures"),
}
SPLITS: dict[str, Words] = {"hdsemg": ("blocked", "random", "contraction"), "eng": ("stimulus", "random", "given")}
TASKS: dict[str, Words] = {"hdsemg": ("decomposition",), "eng": ("classification",)}
GIVEN = ("eng_rats", "signatures")  # recordings that set a test part aside
STIMULI = ("eng_simulated", "intan")  # that know the stimulus of each CAP, and set none aside


def check(config: Mapping[str, Any], typed: Collection[str]) -> None:
    """Raise ValueError with one sentence when choices do not go together, or what was typed says nothing beside the others.

    `typed` are the keys that were typed or are swept. Of readers, splits and datasets that are not neuroexp's own nothing is
    known.
    """
    dataset, recording, split, task = (
        _own(config[group], package)
        for group, package in (("dataset", "datasets"), ("recording", "recordings"), ("split", ""), ("task", "tasks"))
    )
    if dataset not in DECODES:
        return
    for name, choice, valid in (
        ("recording", recording, RECORDINGS),
        ("split", split, SPLITS),
        ("task", task, TASKS),
    ):
        other = next((key for key in valid if key != dataset and choice in valid[key]), None)
        if choice not in valid[dataset] and other is not None:
            what = f"{name}={choice} is for dataset={other}, which decodes {DECODES[other]}"
            raise ValueError(f"{what}; dataset={dataset} takes {name}={_either(valid[dataset])}")
    if dataset == "eng":
        _check_eng(config, typed, recording, split)
    if recording == "hdsemg_crossed" and (split, config["fold"]) != ("contraction", 1):
        raise ValueError(
            "recording=hdsemg_crossed trains at recording.train_mvc and tests at recording.test_mvc with "
            "split=contraction fold=1 alone, which experiment=protocol/intensity sets"
        )


def _check_eng(config: Mapping[str, Any], typed: Collection[str], recording: str, split: str) -> None:
    label = next((key for key in typed if key.split(".")[0] == "label"), None)
    if label is not None:
        raise ValueError(
            f"{label}=... is for dataset=hdsemg; with dataset=eng the label of a window is the class of its stimulus, so "
            "leave it out"
        )
    if config["step"] is not None:
        raise ValueError(
            f"step={config['step']}: with dataset=eng windows follow the CAPs, so there is no step; leave it null"
        )
    if split == "given" and recording in STIMULI:
        raise ValueError(
            f"split=given needs a recording that sets a test part aside, {_either(GIVEN)}; recording={recording} takes "
            "split=stimulus or random"
        )
    if split == "stimulus" and recording in GIVEN:
        known = "takes whole rats for testing" if recording == "eng_rats" else "does not know the stimulus of a CAP"
        raise ValueError(f"split=stimulus is for {_either(STIMULI)}: recording={recording} {known}; take split=given")
    for key in typed:
        if key.startswith("dataset.preprocessing.") and recording == "signatures":
            raise ValueError(
                f"{key}=... changes nothing with recording=signatures, which were cut elsewhere: leave it out"
            )
        if key == "dataset.test_share" and split == "given":
            raise ValueError(
                f"{key}=... changes nothing with split=given, where the recording says what tests: leave it out"
            )


def _own(node: Mapping[str, Any], package: str) -> str:
    """Return the name of a choice in its group, by what it builds; empty when that is not neuroexp's own."""
    place, _, name = str(node["_target_"]).rpartition(".")
    if not package:
        return name if place == "neuroexp.data.splits" else ""
    return place.rpartition(".")[2] if place.startswith(f"neuroexp.{package}.") else ""


def _either(words: Words) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))
