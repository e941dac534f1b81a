"""scripts/get-debian, with an archive that answers by script: what is taken along, told its libraries, and kept."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLAIN = (
    "sh", "dirname", "cat", "sed", "awk", "mktemp", "id", "rm", "mkdir", "mv", "tail", "chmod", "sort", "find", "ls", "tr", "cp",
)  # fmt: skip

APT_GET = """#!/bin/sh
[ -z "${REFUSED:-}" ] || { echo "E: not signed" >&2; exit 100; }
seen=; for word; do
  case $seen:$word in :download) seen=yes; echo download >> "$LOG";;
    yes:*) echo "$word" >> "$LOG"; : > "${word}_1_amd64.deb";; esac
done
"""
APT_CACHE = """#!/bin/sh
case "$*" in
  *pkgnames*) printf 'thing-9\\nthing-17\\nthing-17-doc\\nthing-client-18\\n';;
  *depends*) cat <<'END'
thing-17
  Depends: libthing
  Depends: thing-common
 |Depends: liba
  Depends: <libvirtual>
libthing
  PreDepends: libc6
  Depends: perl:any
liba
thing-common
  Depends: libunwanted
END
;; esac
"""
#: Each package holds the same: a program, a text, a library, and the loader, which here says what it was asked.
DPKG = """#!/bin/sh
mkdir -p "$3/usr/bin" "$3/usr/lib/here" "$3/usr/share/doc/thing"
for name in bin/thing bin/patchelf lib/here/libc.so.6; do echo elf > "$3/usr/$name"; chmod 755 "$3/usr/$name"; done
echo text > "$3/usr/share/thing"; echo text > "$3/usr/share/doc/thing/readme"
cp "$LOADER" "$3/usr/lib/here/ld-linux.so.1"
"""
LOADER = """#!/bin/sh
case "$*" in *"--print-rpath"*) echo "${OWN:-}";; *"--set-interpreter"*) shift 3; echo "$@" >> "$LOG";;
  --list*) echo "	${LACKS:-libc.so.6 => /lib/libc.so.6 (0x1)}";; esac
"""


class Machine:
    """A machine with its own PATH and tools directory."""

    def __init__(self, root: Path) -> None:
        self.root, self.tools, self.log, self.loader = root, root / "tools", root / "log", root / "loader"
        for name in ("bin", "apt"):
            (root / name).mkdir()
        (root / "keyring.gpg").touch()
        for name in PLAIN:
            (root / "bin" / name).symlink_to(shutil.which(name) or name)
        for path, text in ((root / "bin/apt-get", APT_GET), (root / "bin/apt-cache", APT_CACHE), (root / "bin/dpkg", DPKG), (self.loader, LOADER)):  # fmt: skip
            path.write_text(text)
            path.chmod(0o755)

    def get(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run the script."""
        env = {
            "PATH": str(self.root / "bin"),
            "TMPDIR": str(self.root),
            "DR_DEBIAN_MIRROR": "http://mirror.example/debian",
            "DR_APT_SOURCES": str(self.root / "apt"),
            "DR_KEYRING": str(self.root / "keyring.gpg"),
            "DR_TOOLS": str(self.tools),
            "LOG": str(self.log),
            "LOADER": str(self.loader),
        }
        script = str(ROOT / "scripts" / "get-debian")
        return subprocess.run(
            [script, *arguments], env=env | more, capture_output=True, text=True, check=False, timeout=300
        )

    @property
    def said(self) -> list[str]:
        """What apt and patchelf were asked, one line each."""
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine that can ask an archive."""
    return Machine(tmp_path)


def test_the_newest_comes_with_its_libraries_and_nothing_else(machine: Machine) -> None:
    done = machine.get("thing-*")
    place = machine.tools / "debian"
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{place}\n", "")
    assert machine.said[:6] == ["download", "patchelf", "thing-17", "libthing", "libc6", "liba"]
    assert (place / "packages").read_text().split() == sorted(f"{name}_1_amd64" for name in machine.said[1:6])
    assert os.access(place / "usr/bin/thing", os.X_OK)
    assert not (place / "usr/bin/patchelf").exists() and not (place / "usr/share/doc").exists()


def test_a_program_is_told_where_its_libraries_are_and_a_library_is_left_alone(machine: Machine) -> None:
    machine.get("thing-17", OWN="/usr/lib/thing")
    lib = f"{machine.tools}/debian/usr/lib"
    told = [line for line in machine.said if "interpreter" in line]
    assert len(told) == 1 and told[0].endswith("/usr/bin/thing")
    assert f"--set-interpreter {lib}/here/ld-linux.so.1 --force-rpath --set-rpath {lib}/here:{lib}/thing" in told[0]


def test_a_second_call_asks_nobody_until_other_names_are_wanted(machine: Machine) -> None:
    machine.get("thing-*")
    before = machine.said
    again = machine.get("thing-*")
    assert (again.returncode, again.stdout) == (0, f"{machine.tools}/debian\n")
    assert machine.said == before
    machine.get("thing-17")
    assert len(machine.said) > len(before)


def test_what_lacks_a_library_is_no_success_and_is_brought_again(machine: Machine) -> None:
    done = machine.get("thing-*", LACKS="libodd.so.3 => not found")
    assert done.returncode == 1 and "usr/bin/thing lacks libodd.so.3" in done.stderr
    before = machine.said
    assert machine.get("thing-*").returncode == 0
    assert len(machine.said) > len(before)


def test_a_package_that_is_not_there_is_named(machine: Machine) -> None:
    done = machine.get("other-*")
    assert done.returncode == 1 and "no package other-*" in done.stderr
    assert not (machine.tools / "debian").exists()


def test_an_archive_that_does_not_verify_leaves_nothing(machine: Machine) -> None:
    done = machine.get("thing-*", REFUSED="yes")
    assert done.returncode == 1 and "signature" in done.stderr
    assert not (machine.tools / "debian").exists() and not list(machine.root.glob("tmp.*"))


@pytest.mark.parametrize("arguments", [[], ["--newest"], ["a b"], [""], ["thing;ls"]])
def test_a_wrong_name_is_refused(machine: Machine, arguments: list[str]) -> None:
    assert machine.get(*arguments).returncode == 2
    assert machine.said == []
