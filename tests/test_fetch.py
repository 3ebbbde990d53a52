"""The sample recording comes whole, or in bounds and with one sentence."""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from neuroexp.downloads import sample

NAME = "openhdemg-0.1.2"


def wheel(folder: Path, member: bytes | None) -> tuple[str, ...]:
    """Write a package of that name with other contents; return the options that have pip take it."""
    about = f"{NAME}.dist-info"
    with zipfile.ZipFile(folder / f"{NAME}-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: openhdemg\nVersion: 0.1.2\n")
        package.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        package.writestr(f"{about}/RECORD", "")
        if member is not None:
            package.writestr(sample.MEMBER, member)
    return ("--no-index", "--find-links", str(folder))


@pytest.mark.slow
def test_a_package_that_is_not_the_known_one_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "LARGEST", 2_000_000)
    for content, error, says in (
        (None, ValueError, "came without a readable openhdemg/library"),
        (b"another", ValueError, "is not the expected file"),
        (bytes(200_000_000), ValueError, "is not the expected file"),  # a file of 0.2 MB; no more than 2 are unpacked
        (np.random.default_rng(0).bytes(4_000_000), RuntimeError, "pip could not download"),
    ):
        options = wheel(tmp_path, content)
        with pytest.raises(error, match=says) as said:
            sample.fetch(tmp_path / "data", options)
        assert "\n" not in str(said.value)
        assert list((tmp_path / "data").iterdir()) == []


def test_no_more_is_unpacked_than_the_recording_can_have(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "LARGEST", 1000)
    wheel(tmp_path, bytes(10_000_000))
    assert sample._member(tmp_path / f"{NAME}-py3-none-any.whl") == bytes(1000)


@pytest.mark.process
def test_a_folder_that_cannot_be_is_one_sentence(tmp_path):
    (tmp_path / "data").touch()
    done = subprocess.run(
        [sys.executable, "-m", "neuroexp", "fetch", "data"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"fetch: {tmp_path}/data is a file, where a folder is needed: move it away\n"
