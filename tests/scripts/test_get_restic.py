"""scripts/get-restic, with an apt that answers by script: which mirror, what is said elsewhere, what is left."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLAIN = ("sh", "dirname", "cat", "sed", "awk", "mktemp", "id", "rm", "mkdir", "mv", "tail", "chmod")

APT = """#!/bin/sh
for word; do
  case $word in Dir::Etc::sourcelist=*) list=${word#*=};; update) echo asked >> "$LOG"; cat "$list" >> "$LOG"; exit "${UPDATE:-0}";;
    download) echo deb > restic_0_amd64.deb;; esac
done
"""
DPKG = """#!/bin/sh
mkdir -p "$3/usr/bin"
printf '#!/bin/sh\\necho "%s"\\n' "${SAYS-restic 0.18.0 compiled}" > "$3/usr/bin/restic"
chmod +x "$3/usr/bin/restic"
"""


class Machine:
    """A machine with its own PATH, apt sources and tools directory."""

    def __init__(self, root: Path, *, debian: bool = True) -> None:
        self.root = root
        self.tools, self.log, self.sources = root / "tools", root / "log", root / "apt"
        (self.sources / "sources.list.d").mkdir(parents=True)
        (root / "bin").mkdir()
        (root / "keyring.gpg").touch()
        for name in PLAIN:
            (root / "bin" / name).symlink_to(shutil.which(name) or name)
        for name, text in (("apt-get", APT), ("dpkg", DPKG)) if debian else ():
            (root / "bin" / name).write_text(text)
            (root / "bin" / name).chmod(0o755)

    def source(self, name: str, text: str) -> None:
        """Write a file of apt sources."""
        (self.sources / name).write_text(text)

    def get(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run the script."""
        places = {
            "DR_APT_SOURCES": self.sources,
            "DR_KEYRING": self.root / "keyring.gpg",
            "DR_TOOLS": self.tools,
            "LOG": self.log,
        }
        whole = {
            "PATH": str(self.root / "bin"),
            "TMPDIR": str(self.root),
            **{key: str(value) for key, value in places.items()},
            **env,
        }
        return subprocess.run(
            [ROOT / "scripts" / "get-restic", *arguments],
            env=whole,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    @property
    def asked(self) -> list[str]:
        """What apt was given as its sources, one line a time."""
        return [line for line in self.log.read_text().splitlines() if line != "asked"] if self.log.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A Debian machine with one mirror."""
    found = Machine(tmp_path)
    found.source("sources.list", "deb http://mirror.example/debian bookworm main\n")
    return found


def test_it_brings_restic_and_prints_its_path(machine: Machine) -> None:
    done = machine.get()
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{machine.tools}/restic-0.18.0/restic\n", "")
    assert os.access(machine.tools / "restic-0.18.0" / "restic", os.X_OK)
    keyring = machine.root / "keyring.gpg"
    assert machine.asked == [f"deb [signed-by={keyring}] http://mirror.example/debian trixie main"]


def test_a_second_call_asks_nobody_and_newest_always_asks(machine: Machine) -> None:
    machine.get()
    again = machine.get()
    assert again.stdout.strip() == f"{machine.tools}/restic-0.18.0/restic"
    assert len(machine.asked) == 1
    newest = machine.get("--newest", SAYS="restic 0.19.1 compiled")
    assert newest.stdout.strip() == f"{machine.tools}/restic-0.19.1/restic"
    assert " sid main" in machine.asked[1]


DEB822 = "Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: {parts}\n{more}\n"


@pytest.mark.parametrize(
    ("files", "mirror"),
    [
        pytest.param({"sources.list": "deb http://one.example/debian bookworm main contrib\n"}, "http://one.example/debian", id="one line"),
        pytest.param(
            {"sources.list": "# deb http://no.example/debian bookworm main\ndeb-src http://no.example/debian bookworm main\n"
             "deb [arch=amd64 signed-by=/k.gpg] http://one.example/d bookworm main\n"},
            "http://one.example/d", id="options, a comment and sources before it",
        ),
        pytest.param(
            {"sources.list": "deb http://sec.example/debian-security bookworm-security main\ndeb http://one.example/debian bookworm main\n"},
            "http://one.example/debian", id="security first",
        ),
        pytest.param(
            {"sources.list.d/debian.sources": DEB822.format(uri="http://two.example/debian", suites="bookworm bookworm-updates", parts="main", more="")},
            "http://two.example/debian", id="deb822",
        ),
        pytest.param(
            {"sources.list.d/debian.sources": DEB822.format(uri="http://off.example/debian", suites="bookworm", parts="main", more="Enabled: no\n")
             + DEB822.format(uri="http://sec.example/s", suites="bookworm-security", parts="main", more="")
             + DEB822.format(uri="http://two.example/debian http://three.example/debian", suites="trixie", parts="contrib main", more="")},
            "http://two.example/debian", id="deb822 with one switched off, security, and two addresses",
        ),
        pytest.param(
            {"sources.list.d/docker.list": "deb [arch=amd64] https://third.example/linux/debian bookworm stable\n",
             "sources.list.d/cloud.list": "deb https://cloud.example/apt cloud-sdk-bookworm main\n",
             "sources.list.d/debian.sources": DEB822.format(uri="http://two.example/debian", suites="bookworm", parts="main", more="")},
            "http://two.example/debian", id="third parties before it",
        ),
        pytest.param({"sources.list.d/x.list": "deb http://last.example/debian bookworm main"}, "http://last.example/debian", id="no newline at the end"),
    ],
)  # fmt: skip
def test_the_mirror_is_the_one_of_the_machines_debian_sources(
    tmp_path: Path, files: dict[str, str], mirror: str
) -> None:
    machine = Machine(tmp_path)
    for name, text in files.items():
        machine.source(name, text)
    assert machine.get().returncode == 0
    assert machine.asked[0].split()[2] == mirror


def test_elsewhere_it_says_what_to_do(tmp_path: Path) -> None:
    done = Machine(tmp_path, debian=False).get()
    assert done.returncode == 1
    assert done.stdout == ""
    assert "not Debian or Ubuntu" in done.stderr
    assert "DR_RESTIC" in done.stderr


def test_without_debians_keyring_it_names_the_package(machine: Machine) -> None:
    done = machine.get(DR_KEYRING="/nowhere")
    assert done.returncode == 1
    assert "debian-archive-keyring" in done.stderr
    assert machine.asked == []


def test_where_no_source_is_debians_a_mirror_must_be_named(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.source("sources.list", "deb http://ubuntu.example/ubuntu noble main universe\n")
    done = machine.get()
    assert done.returncode == 1
    assert "DR_DEBIAN_MIRROR" in done.stderr
    named = machine.get(DR_DEBIAN_MIRROR="http://named.example/debian")
    assert named.returncode == 0
    assert machine.asked[0].split()[2] == "http://named.example/debian"


def test_an_archive_that_does_not_verify_leaves_nothing(machine: Machine) -> None:
    done = machine.get(UPDATE="100")
    assert done.returncode == 1
    assert "signature" in done.stderr
    assert list(machine.tools.iterdir()) == []


def test_a_program_that_does_not_say_its_version_is_not_kept(machine: Machine) -> None:
    done = machine.get(SAYS="something else")
    assert done.returncode == 1
    assert list(machine.tools.iterdir()) == []


def test_nothing_is_left_in_the_temporary_directory(machine: Machine) -> None:
    machine.get()
    machine.get(UPDATE="100")
    assert not list(machine.root.glob("tmp.*"))


@pytest.mark.parametrize("arguments", [["--oldest"], ["--newest", "now"], [""]])
def test_a_wrong_option_is_refused(machine: Machine, arguments: list[str]) -> None:
    assert machine.get(*arguments).returncode == 2
    assert machine.asked == []
