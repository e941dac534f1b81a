"""scripts/install-locked: what a lock pins is what is installed, whatever was uploaded to the index since."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.waiting import LIMIT

ROOT = Path(__file__).parents[2]


class Index:
    """A package index of our own on disk, in a directory as PEP 503 has it; anything may be uploaded to it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def upload(self, name: str, version: str, *needs: str) -> str:
        """Put a wheel there and return its line in a lock file."""
        shelf = self.root / name
        shelf.mkdir(parents=True, exist_ok=True)
        wheel = shelf / f"{name}-{version}-py3-none-any.whl"
        info = f"{name}-{version}.dist-info"
        requires = "".join(f"Requires-Dist: {need}\n" for need in needs)
        with zipfile.ZipFile(wheel, "w") as file:
            file.writestr(f"{name}.py", f"version = {version!r}\n")
            file.writestr(
                f"{info}/METADATA",
                f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nProvides-Extra: all\n{requires}",
            )
            file.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            file.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
        links = "".join(f'<a href="{each.name}">{each.name}</a>' for each in sorted(shelf.glob("*.whl")))
        (shelf / "index.html").write_text(links)
        return f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty virtual environment, made once: that takes seconds."""
    made = tmp_path_factory.mktemp("environment") / ".venv"
    subprocess.run([sys.executable, "-m", "venv", made], check=True, timeout=600)
    return made


@pytest.fixture
def place(environment: Path, tmp_path: Path) -> Path:
    """A checkout with nothing but the script and an empty virtual environment."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "install-locked", tmp_path / "scripts" / "install-locked")
    shutil.copytree(environment, tmp_path / ".venv", symlinks=True)
    return tmp_path


def install(place: Path, index: Index) -> subprocess.CompletedProcess[str]:
    """Run the script with no cache, no settings of the machine and no index but ours."""
    env = {"PATH": os.environ["PATH"], "HOME": str(place), "PIP_NO_CACHE_DIR": "1", "PIP_CONFIG_FILE": os.devnull}
    return subprocess.run(
        [place / "scripts" / "install-locked", "the.lock"],
        env={**env, "PIP_INDEX_URL": index.root.as_uri()}, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip


def installed(place: Path, name: str) -> str:
    """Which version a program of that environment gets."""
    python = str(place / ".venv" / "bin" / "python")
    asked = [python, "-c", f"import {name}; print({name}.version)"]
    done = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=LIMIT)
    return str(done.stdout).strip()


def test_an_upload_that_an_extra_would_find_neither_stops_an_install_nor_gets_in(place: Path) -> None:
    index = Index(place / "index")
    lock = index.upload("leaf", "1.0") + index.upload("tool", "1.0", "leaf[all]>=1")
    (place / "the.lock").write_text(lock)
    index.upload("leaf", "1.1")
    done = install(place, index)
    assert done.returncode == 0, done.stderr
    assert installed(place, "leaf") == "1.0"


def test_a_lock_that_lacks_what_is_needed_is_a_fault(place: Path) -> None:
    index = Index(place / "index")
    index.upload("leaf", "1.0")
    (place / "the.lock").write_text(index.upload("tool", "1.0", "leaf[all]>=1"))
    done = install(place, index)
    assert done.returncode != 0
    assert "tool 1.0 requires leaf, which is not installed" in done.stdout + done.stderr


def test_a_file_that_is_not_the_one_that_was_locked_is_refused(place: Path) -> None:
    index = Index(place / "index")
    (place / "the.lock").write_text(index.upload("tool", "1.0"))
    index.upload("tool", "1.0", "leaf")
    done = install(place, index)
    assert done.returncode != 0
    assert "hash" in done.stderr.lower()
