"""Every command says how it is typed, and options that contradict each other are one sentence."""

import sys

import pytest

from neuroexp import __main__
from neuroexp.commands import COMMANDS
from neuroexp.settings import flags


@pytest.mark.parametrize("name", ["", *COMMANDS])
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_goes_to_stdout_and_ends_well(name, flag, monkeypatch, capsys):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(sys, "argv", ["neuroexp", *filter(None, [name, flag])])
    __main__.main()  # what ends with another code than 0 raises
    said = capsys.readouterr()
    assert not said.err
    if name:
        command = COMMANDS[name]
        assert said.out.startswith(f"usage: neuroexp {name} ")
        assert all(word in said.out for word in (*command.words, *command.settings, command.note, command.example))
    else:
        assert all(f"  {command.name:<10} {command.line}\n" in said.out for command in COMMANDS.values())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-m", "window=20", "--cfg", "job"], "-m is for a sweep, of which --cfg shows one job"),
        (["window=20", "--info", "all", "-m"], "-m is for a sweep, of which --info shows one job"),
        (["-m", "--run"], "--multirun and --run do not go together"),
        (["--cfg", "job", "--info"], "--cfg and --info do not go together"),
        (["-m", "-sc", "install=bash"], "--multirun and --shell-completion do not go together"),
    ],
)
def test_options_that_contradict_each_other_are_one_sentence(words, said):
    for read in (flags.read, flags.ordered, flags.composing):
        with pytest.raises(ValueError, match=said) as error:
            read(words)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "words", [["--package", "x"], ["-p=", "window=20"], ["window=20", "--resolve"], ["-p", "x", "-m"]]
)
def test_an_option_that_would_do_nothing_is_refused(words):
    with pytest.raises(ValueError, match=r"^--(package|resolve) says how --cfg shows a configuration: add --cfg job"):
        flags.ordered(words)
    assert flags.ordered(["--cfg", "job", "--resolve", "window=20", "-p", "recording"]) == [
        "--cfg=job", "--resolve", "--package=recording", "window=20",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="is an option of a training or sweep alone"):
        flags.composing(words)
