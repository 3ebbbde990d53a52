"""What can be typed after `neuroexp`: a table of the commands; the module of one is imported when it is chosen."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

RUN_ID = "from the table of a sweep or from MLflow; its first letters are enough"
STORE = "the MLflow store, by default that of ./outputs"
MOVED = "where the recording lies now, if it has moved"


@dataclass(frozen=True)
class Command:
    """A word that can be typed, and what its help says."""

    name: str  # of its module too, whose `main` does it
    line: str
    typed: str  # after the name
    words: dict[str, str] = field(default_factory=dict)  # what those are
    # as above: what is typed as name=value and is this command's own
    settings: dict[str, str] = field(default_factory=dict)
    note: str = ""
    example: str = ""

    @property
    def usage(self) -> str:
        """How it is typed, in a line."""
        return f"usage: neuroexp {self.name} {self.typed}"

    @property
    def help(self) -> str:
        """What it does, and what can be typed after it."""
        width = max((len(word) for word in self.meanings), default=0)
        parts = [self.usage, self.sentence]
        parts += ["\n".join(f"  {word:<{width}}  {what}" for word, what in self.meanings.items())]
        parts += [self.note, f"Example: {self.example}" if self.example else ""]
        return "\n\n".join(part for part in parts if part)

    @property
    def sentence(self) -> str:
        """What it does, as a sentence."""
        return f"{self.line[0].upper()}{self.line[1:]}."

    @property
    def meanings(self) -> dict[str, str]:
        """All that can be typed after it, and what that is."""
        return self.words | self.settings

    @property
    def own(self) -> tuple[str, ...]:
        """The names of the settings that are this command's, and not those of a run."""
        return tuple(word.partition("=")[0] for word in self.settings)


HYDRA = "Any words of a sweep, as in: neuroexp -m window=20,60 step=10,50"
COMPLETING = """This prints a script. Type the line of your shell, or add it to the file behind it, which new terminals read:

  bash  eval "$(neuroexp completion bash)"       ~/.bashrc
  zsh   eval "$(neuroexp completion zsh)"        ~/.zshrc
  fish  neuroexp completion fish | source        ~/.config/fish/config.fish

Where neuroexp is not on the PATH, write it with its folder, such as ~/neuroexp/.venv/bin/neuroexp, in that line."""
_ALL = (
    Command(
        "plan",
        "what a sweep will take in time, memory and disk, before it starts",
        "-m [SETTING=VALUE[,VALUE] ...]",
        note=HYDRA,
        example="neuroexp plan -m window=20,60 step=10,50",
    ),
    Command(
        "status",
        "what a sweep has done and what it is doing, from another terminal",
        "[FOLDER]",
        {"FOLDER": "of the launch, by default the newest in ./outputs"},
    ),
    Command(
        "sync",
        "send finished runs to MLflow that were finished while it was away",
        "[FOLDER]",
        {"FOLDER": "of finished cells, by default ./outputs/cells"},
        note="Each run is sent exactly once, however often this is typed.",
    ),
    Command(
        "repeat",
        "train a recorded run again and compare the scores",
        "RUN_ID [trusted=[MODULE]] [recording.path=FILE] [tracking.uri=URI]",
        {
            "RUN_ID": RUN_ID,
            "trusted=[MODULE]": "a module of your own whose network the run may load",
            "recording.path=FILE": MOVED,
            "tracking.uri=URI": STORE,
        },
        note="Exit code 1 when the scores differ.",
    ),
    Command(
        "cost",
        "parameters, operations, memory and energy of networks, without training them",
        "[SETTING=VALUE[,VALUE] ...] [channels=N] [outputs=N] [--devices]",
        {
            "channels=N": "count without reading a recording",
            "outputs=N": "as above: motor units or classes",
            "--devices": "list the devices and where their figures come from",
        },
        note=f"{HYDRA}. Values with commas stand side by side.",
        example="neuroexp cost dataset=eng model=mobilescapenet,escapenet",
    ),
    Command(
        "export",
        "write a trained run as files for a device, and compare them with it",
        "RUN_ID [to=FOLDER] [forms=FORM,...] [calibration=N] [recording.path=FILE] [tracking.uri=URI]",
        {
            "RUN_ID": RUN_ID,
            "recording.path=FILE": MOVED,
            "tracking.uri=URI": STORE,
        },
        {
            "to=FOLDER": "by default outputs/export/RUN_ID",
            "forms=FORM,...": "onnx, int8, executorch, executorch_int8; by default all whose packages are installed",
            "calibration=N": "training windows that give int8 its ranges, 512",
        },
    ),
    Command(
        "latency",
        "measure how late a trained run decides, engine by engine",
        "RUN_ID [engines=ENGINE,...] [threads=N,...] [seconds=N] [recording.path=FILE] [tracking.uri=URI]",
        {
            "RUN_ID": RUN_ID,
            "recording.path=FILE": MOVED,
            "tracking.uri=URI": STORE,
        },
        {
            "engines=ENGINE,...": "eager, compiled, onnx, int8, openvino, ...; by default all that are installed",
            "threads=N,...": "counts of threads to try, such as 1,2",
            "seconds=N": "how long each is measured, 2",
        },
    ),
    Command(
        "replay",
        "send a recording or a live stream through a trained run or an exported file",
        "RUN_ID|FILE [NAME=VALUE ...]",
        {
            "RUN_ID|FILE": "a run, or a decoder that neuroexp export wrote",
            "recording=NAME": "another recording than that of the run, with recording.path=FILE",
            "tracking.uri=URI": STORE,
        },
        {
            "chunk=SAMPLES": "that come at a time",
            "speed=1|max": "as recorded, or as fast as it goes",
            "engine=ENGINE": "eager, compiled, onnx, int8, ...",
            "threads=N": "of the engine, 1",
            "threshold=P": "from which probability a unit fires, 0.5",
            "input=lsl:STREAM": "a live stream of Lab Streaming Layer in place of a recording",
            "channels=LIST": "of the stream, by number or label, such as 1-64",
            "output=lsl:STREAM": "to send the decisions out",
            "seconds=N": "how much of a recording or live stream to take, all by default",
        },
        example="neuroexp replay RUN_ID chunk=20 speed=1",
    ),
    Command(
        "fetch",
        "download the sample recording, or a data set by its DOI",
        "[DOI] [FOLDER] [--only PATTERN] [--list]",
        {
            "DOI": "of a Dataverse data set; without it, the sample HD-sEMG recording of openhdemg",
            "FOLDER": "by default NEUROEXP_DATA, else ./data",
            "--only PATTERN": "files to bring, such as 'Rat4/*'",
            "--list": "show the files and bring none",
        },
        example="neuroexp fetch doi:10.5683/SP3/JRZDDR --list",
    ),
    Command(
        "report",
        "the tables and figures of the papers from your runs, beside the published numbers",
        "[PAPER/NAME] [SETTING=VALUE[,VALUE] ...] [budget.NAME=LIMIT ...] [out=FOLDER] [tracking.uri=URI]",
        {
            "PAPER/NAME": "one table or figure, such as mldrsnet/window_step; without it all, in one page",
            "SETTING=VALUE": "narrow the runs, such as recording.subject=1,2 or trainer.max_epochs=100",
            "budget.NAME=LIMIT": "limits to draw into budget/pareto, such as budget.energy_uj=2",
            "out=FOLDER": "by default outputs/paper",
            "tracking.uri=URI": STORE,
        },
        example="neuroexp report budget/pareto budget.device=gap9 budget.energy_uj=5",
    ),
    Command(
        "completion",
        "have bash, zsh or fish complete commands, settings and run ids when Tab is pressed",
        "SHELL",
        {"SHELL": "bash, zsh or fish"},
        note=COMPLETING,
    ),
)
COMMANDS = {command.name: command for command in _ALL}
VALUED = ("--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp", "--package", "-p", "--info", "-i")


class WordError(ValueError):
    """A word that is neither a command nor a setting."""


def chosen(words: Sequence[str]) -> str | None:
    """Return the command that the first word names, None for a training or a sweep.

    Raises WordError, with what was perhaps meant, for a first word that is neither, and for a command that comes later.
    """
    if words and words[0] in COMMANDS:
        return words[0]
    if words and not _is_setting(words[0]):
        near = difflib.get_close_matches(words[0], COMMANDS, 1)
        meant = f"did you mean neuroexp {near[0]}?" if near else f"the commands are {', '.join(COMMANDS)}"
        raise WordError(f"{words[0]} is neither a command nor name=value: {meant}")
    for before, word in pairwise(words):
        if word in COMMANDS and before not in VALUED:
            raise WordError(
                f"{word} is a command and comes first: neuroexp {word} {' '.join(w for w in words if w != word)}"
            )
    return None


def _is_setting(word: str) -> bool:
    return "=" in word or word[:1] in ("-", "~", "+", "")
