"""scripts/setup says what a machine lacks, and the plug-in that lets nothing be skipped in CI bites."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run_setup(root: Path, *arguments: str, user: int, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a copy of the script on a machine that has a shell and little else."""
    (root / "scripts").mkdir()
    (root / "bin").mkdir()
    script = shutil.copy(ROOT / "scripts" / "setup", root / "scripts" / "setup")
    for name in ("sh", "dirname", "chmod", "rm"):
        (root / "bin" / name).symlink_to(shutil.which(name) or name)
    fakes = {
        "id": f"echo {user}",
        "apt-get": f'echo "$@" >> {root}/asked; [ "$2" != update ] || exit "${{UPDATE:-0}}"; [ -e {root}/policy ] && echo quiet >> {root}/asked; exit 9',
    }
    for name, text in fakes.items():
        (root / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (root / "bin" / name).chmod(0o755)
    return subprocess.run(
        [script, *arguments],
        env={"PATH": str(root / "bin"), "DR_POLICY": str(root / "policy"), **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_who_is_not_root_is_told_what_to_install(tmp_path: Path) -> None:
    done = run_setup(tmp_path, user=1000)
    assert done.returncode == 1
    assert "this machine lacks: python3 python3-venv" in done.stderr
    assert not (tmp_path / "asked").exists()


def test_what_the_tests_need_is_named_too(tmp_path: Path) -> None:
    done = run_setup(tmp_path, "--test", user=1000)
    for package in ("chromium", "util-linux", "postgresql", "openssh-client", "sqlite3"):
        assert package in done.stderr


def test_the_demo_of_services_needs_servers_and_no_browser(tmp_path: Path) -> None:
    done = run_setup(tmp_path, "--services", user=1000)
    assert "postgresql" in done.stderr and "chromium" not in done.stderr


def test_nothing_is_started_by_what_is_installed_and_the_policy_goes_away(tmp_path: Path) -> None:
    done = run_setup(tmp_path, "--services", user=0)
    assert done.returncode == 1
    assert (tmp_path / "asked").read_text().splitlines()[2] == "quiet"
    assert not (tmp_path / "policy").exists()


def test_as_root_the_lists_are_fetched_before_anything_is_installed(tmp_path: Path) -> None:
    done = run_setup(tmp_path, user=0)
    assert done.returncode == 1
    assert "could not install: python3 python3-venv" in done.stderr
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[0] == "-q update"
    assert asked[1].startswith("-q install -y")


def test_when_the_lists_cannot_be_fetched_nothing_is_installed(tmp_path: Path) -> None:
    done = run_setup(tmp_path, user=0, UPDATE="100")
    assert done.returncode == 1
    assert "apt-get update failed" in done.stderr
    assert (tmp_path / "asked").read_text().splitlines() == ["-q update"]


def test_a_wrong_option_is_refused(tmp_path: Path) -> None:
    assert run_setup(tmp_path, "--tests", user=1000).returncode == 2


SKIPPING = "import pytest\ndef test_a():\n    {}\ndef test_b():\n    pass\n"


@pytest.mark.parametrize(
    ("ci", "body", "workers", "code"),
    [
        pytest.param("true", "pytest.skip('no program')", "0", 1, id="a skip in CI fails"),
        pytest.param("true", "pytest.skip('no program')", "2", 1, id="also where workers run the tests"),
        pytest.param("", "pytest.skip('no program')", "0", 0, id="a skip elsewhere does not"),
        pytest.param("true", "pass", "0", 0, id="no skip, no failure"),
        pytest.param("true", "assert False", "0", 1, id="a failure stays one"),
    ],
)
def test_nothing_is_skipped_in_ci(tmp_path: Path, ci: str, body: str, workers: str, code: int) -> None:
    (tmp_path / "test_it.py").write_text(SKIPPING.format(body))
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "COV"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "xdist", "-p", "no:cacheprovider", "-p", "no_skips", "-n", workers, "test_it.py"],
        cwd=tmp_path, env={**kept, "CI": ci, "PYTHONPATH": str(ROOT / "tests"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == code, done.stdout
    assert ("no program" in done.stdout) == (bool(ci) and "skip" in body)
