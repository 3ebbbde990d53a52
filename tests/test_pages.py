"""The pages: they build without a warning, what they link to is there, and every command that they show can be typed."""

import ast
import importlib.util
import re
import shlex
import subprocess
import sys
from functools import cache
from itertools import zip_longest
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_module
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException
from markdown_it import MarkdownIt

from neuroexp.commands import COMMANDS
from neuroexp.terminal import usage

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "experiments" / "README.md"]
PAGES += sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
FLAGS = {"-m", "--help", "--resolve", "--hydra-help", "--version", "--devices", "--list"}
TAKES = {"--config-dir", "--cfg", "--only"}  # flags that take the next word


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tokens(path: Path) -> list:
    """Return what a page is made of, paragraphs opened into what stands in them."""
    found = MarkdownIt("commonmark").enable("table").parse(path.read_text())
    return [part for token in found for part in (token, *(token.children or ()))]


def shown(text: str) -> list[list[str]]:
    """Return the words of every neuroexp command line in a text: `neuroexp ...` or `python -m neuroexp ...`."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        try:
            words = shlex.split(line, comments=True)
        except ValueError:  # prose with an apostrophe
            continue
        while words and re.fullmatch(r"[A-Z_]+=\S+", words[0]):
            words = words[1:]
        if words[:1] == ["neuroexp"]:
            found.append(words[1:])
        elif len(words) > 2 and re.fullmatch(r"python\d*", words[0]) and words[-len(words) :][:4].count("neuroexp"):
            found.append(words[words.index("neuroexp") + 1 :])
    return found


def commands_of(path: Path) -> list[list[str]]:
    """Return every command line of a page: of blocks, and of code within a sentence."""
    blocks = [t.content for t in tokens(path) if t.type in ("code_block", "code_inline", "fence") and t.info != "text"]
    directives = [t.content for t in tokens(path) if t.type == "fence" and t.info.startswith("{")]
    inner = [code for text in directives for code in re.findall(r"`(neuroexp [^`]+)`", text)]
    return [words for text in (*blocks, *inner) for words in shown(text) if words[:1] != ["COMMAND"]]


TYPED = [(page, words) for page in PAGES for words in commands_of(page)]


def test_the_pages_show_every_command():
    assert len(TYPED) > 100
    assert {words[0] for _, words in TYPED if words} >= COMMANDS.keys()


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """Return a folder with the files that the pages tell a user to write: blocks of code whose caption is their name."""
    folder = tmp_path_factory.mktemp("typed")
    for page in PAGES:
        for token in tokens(page):
            head, _, content = token.content.partition("\n\n")
            if token.info.startswith("{code-block}") and (caption := re.search(r":caption: (\S+)", head)):
                path = folder / caption[1]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content)
    assert sorted(name.name for name in folder.rglob("*.*")) == [
        "my_networks.py",
        "my_readers.py",
        "mynet.yaml",
        "numpy.yaml",
    ]
    return folder


GROUPS = {group.split("/")[0] for group, _ in usage.groups()}


def cells(settings: list[str]) -> list[list[str]]:
    """Return as many single values of a sweep as it takes to choose each option of a group once."""
    columns = []
    for setting in OverridesParser.create().parse_overrides(settings):
        key = setting.input_line.partition("=")[0]
        values = [f"{key}={value}" for value in setting.sweep_string_iterator()] if setting.is_sweep_override() else []
        columns.append(values[: None if key in GROUPS else 1] or [setting.input_line])
    rows = zip_longest(*columns)
    return [[word or column[0] for word, column in zip(row, columns, strict=True)] for row in rows] or [[]]


def split(words: list[str]) -> tuple[list[str], list[str], list[str]]:
    """Return the settings, the other words, and the folders of configurations of a command line."""
    settings, others, folders = [], [], []
    rest = iter(words)
    for word in rest:
        if word in TAKES:
            value = next(rest)
            folders += [value] if word == "--config-dir" else []
        elif word not in FLAGS:
            assert not word.startswith("-"), f"{word} is no flag that is known here"
            (settings if "=" in word else others).append(word)
    return settings, others, folders


def composes(settings: list[str], folders: list[str], files: Path) -> None:
    """Compose a command line, without placeholders; Ray is not installed beside the other launchers."""
    settings = [word for word in settings if not re.search(r"=.*[A-Z]{2,}", word)]
    if any("ray" in word for word in settings):
        settings = [word for word in settings if not re.match(r"\+?hydra[./]", word)]
    for cell in cells(settings):
        composed(*cell, *(f"hydra.searchpath=[file://{files / folder}]" for folder in folders))


@cache  # the same lines stand on several pages
def composed(*words: str) -> None:
    compose("config", overrides=list(words))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_can_be_typed(page, files):
    with initialize_config_module("neuroexp.conf", version_base="1.3"):
        for words in commands_of(page):
            chosen = words[0] if words and re.fullmatch(r"[a-z]+", words[0]) else None
            assert chosen is None or chosen in COMMANDS, f"neuroexp {' '.join(words)}"
            settings, others, folders = split(words[1:] if chosen else words)
            command = COMMANDS.get(chosen) if chosen else None
            own = set(command.own) | {word.partition("=")[0] for word in command.words} if command else set()
            try:
                check(command, settings, others, own)
                composes([word for word in settings if word.partition("=")[0] not in own], folders, files)
            except (AssertionError, ConfigCompositionException, ValueError) as error:
                raise AssertionError(f"neuroexp {' '.join(words)}: {error}") from error


def check(command, settings, others, own) -> None:
    """Assert that the words beside the settings are those that a command takes."""
    if command is None or command.name in ("plan", "cost"):
        assert not others
    elif command.name == "report":
        assert all(word == "PAPER/NAME" or word in artefacts() for word in others), others
    elif command.name in ("export", "latency", "replay", "repeat"):
        assert len(others) <= 1
        assert all(re.fullmatch(r"RUN_ID|\S+\.onnx|\S+\.pte", word) for word in others), others
        named = [word.partition("=")[0] for word in settings]
        assert all(key in own | {"recording", "recording.path", "tracking.uri"} for key in named), named


@cache
def artefacts() -> set[str]:
    return {f"{path.parent.name}/{path.stem}" for path in (ROOT / "experiments").glob("*/[a-z]*.py")}


def test_what_a_page_shows_in_words_is_there():
    """Every `group=option` in code, comments of commands included, is an option of the group."""
    groups: dict[str, set[str]] = {}
    for group, options in usage.groups():
        top, *below = group.split("/")
        groups.setdefault(top, set()).update("/".join([*below, option]) for option in options)
    del groups["experiment"], groups["task"]
    wrong = []
    for page in PAGES:
        for code in [token.content for token in tokens(page) if token.type in ("code_inline", "code_block", "fence")]:
            for group, option in re.findall(r"(?<![\w./])(\w+)=([a-z]\w*(?:/\w+)?)(?![\w(.])", code):
                if group in groups and option not in groups[group] | {"numpy", "mynet"}:
                    wrong.append(f"{name(page)}: {group}={option}")
    assert not wrong


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_and_picture_is_there(page):
    targets = [
        str(token.attrs[kind]) for token in tokens(page) for kind in ("href", "src") if kind in (token.attrs or {})
    ]
    for text in [token.content for token in tokens(page) if token.type in ("fence", "inline")]:
        targets += re.findall(r"^:img-top: (\S+)", text, re.MULTILINE)
        targets += [f"{target}.md" for target in re.findall(r"^:link: (\S+)", text, re.MULTILINE)]
    for target in targets:
        if not target.startswith(("http://", "https://", "mailto:")):
            path, _, _ = target.partition("#")
            assert not path or (page.parent / path).is_file(), target


def test_pictures_are_small_and_each_is_shown():
    pictures = [path for path in DOCS.rglob("*.png") if "_build" not in path.parts]
    assert pictures
    text = "".join(page.read_text() for page in PAGES)
    for path in pictures:
        assert path.stat().st_size < 150_000, path
        assert path.name in text, path


def test_a_network_and_a_reader_as_the_pages_show_them_work(files, monkeypatch, tmp_path):
    import numpy as np

    monkeypatch.syspath_prepend(str(files))
    for module in ("my_networks", "my_readers"):
        spec = importlib.util.spec_from_file_location(module, files / f"{module}.py")
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
        if module == "my_networks":
            assert loaded.MyNet(n_channels=64, window=20, n_outputs=6)(torch.zeros(2, 64, 20)).shape == (2, 6)
            continue
        signal = np.random.default_rng(0).standard_normal((4000, 8))
        np.savez(tmp_path / "mine.npz", signal=signal, rate_hz=2000, unit1=np.arange(10, 4000, 100), unit2=[7, 99])
        recording = loaded.read(str(tmp_path / "mine.npz"))
        assert (recording.name, recording.signal.shape, recording.rate_hz) == ("mine", (4000, 8), 2000)
        assert recording.signal.std() == pytest.approx(1e6, rel=0.05)
        assert [len(train) for train in recording.spike_trains] == [40, 2]


def test_python_on_the_pages_runs():
    """The example of the page of what can be imported does what it shows."""
    for token in tokens(DOCS / "reference" / "api.md"):
        if token.info == "python":
            ast.parse(token.content)
            space: dict[str, object] = {}
            exec(compile(token.content, "api.md", "exec"), space)
            assert space["labels"].shape[1] == len(space["recording"].spike_trains)


@pytest.mark.slow
@pytest.mark.process
def test_the_pages_build_without_a_warning(tmp_path):
    words = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-q",
        "-b",
        "html",
        str(DOCS),
        str(tmp_path / "html"),
    ]
    done = subprocess.run(
        [*words, "-d", str(tmp_path / "trees")], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    html = {path.relative_to(tmp_path / "html"): path.read_text() for path in (tmp_path / "html").rglob("*.html")}
    reference = html[Path("reference/commands.html")] + html[Path("reference/settings.html")]
    for command in COMMANDS:
        assert f'id="{command}"' in reference
    for path in (ROOT / "conf" / "recording").glob("*.yaml"):
        assert f"recording={path.stem}" in reference
    assert "band_hz" in reference
    for imported in ("Recording", "Fold", "Decomposition", "Decoder", "replay"):
        assert re.search(rf'id="neuroexp\.[\w.]+\.{imported}"', html[Path("reference/api.html")])
    outside = [
        page for page, text in html.items() if re.search(r'<(?:script|link|img)[^>]+(?:src|href)="https?://', text)
    ]
    assert not outside, "a page must not need the network"
