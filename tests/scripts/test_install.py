"""Installed without the repository: what scripts/wheel and scripts/deb build works on a machine that has nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

import dr
from tests.own_mounts import needs_mounts
from tests.waiting import LIMIT

ROOT = Path(__file__).parents[2]
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]


def build(script: str, into: Path) -> Path:
    """Build a package and return it."""
    done = subprocess.run([ROOT / "scripts" / script, into], capture_output=True, text=True, check=False, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def typed(argv: list[str | Path], home: Path, **env: str) -> str:
    """Run a command with an empty home, no variables of the tests, and nothing of the repository; what it printed."""
    whole = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(home), "LANG": "C.UTF-8", **env}
    done = subprocess.run(argv, cwd=home, env=whole, capture_output=True, text=True, check=False, timeout=LIMIT)
    assert done.returncode == 0, (argv, done.stdout, done.stderr)
    return done.stdout


def test_the_wheel_holds_the_whole_program_and_works_where_nothing_else_is(tmp_path: Path) -> None:
    wheel = build("wheel", tmp_path / "out")
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
        (meta,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        needs = re.findall(r"^Requires-Dist: ([^;\n]+)$", file.read(meta).decode(), re.MULTILINE)
    ours = {p.relative_to(ROOT).as_posix() for p in (ROOT / "dr").rglob("*") if p.is_file() and p.suffix != ".pyc"}
    assert {"dr/py.typed", "dr/report/templates/report.html.j2"} <= ours
    assert {name for name in names if name.startswith("dr/")} == ours
    assert {re.split("[<>=]", need)[0].lower() for need in needs} == {
        re.split("[<>=]", each)[0].lower() for each in DECLARED
    }

    home, venv = tmp_path / "home", tmp_path / "venv"
    home.mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True, timeout=LIMIT)
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", venv / "bin" / "python"]
    subprocess.run([*pip, "install", "-q", "--no-index", "--no-deps", wheel], check=True, timeout=LIMIT)
    (libraries,) = venv.glob("lib/python*/site-packages")
    # The libraries are those of the tests; the program among them is not: a path is added, its .pth files are not read.
    (libraries / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    seen = typed([venv / "bin" / "python", "-c", "import dr; print(dr.__file__)"], home)
    assert Path(seen.strip()).is_relative_to(venv)
    program = venv / "bin" / "dr"
    assert typed([program, "--version"], home) == f"dr, version {dr.__version__}\n"
    typed([program, "init"], home)
    assert "1 plan, 1 target: 0 faults" in typed([program, "validate"], home)


#: Where each shell looks for what completes `dr`.
SHELLS = ("bash-completion/completions/dr", "zsh/vendor-completions/_dr", "fish/vendor_completions.d/dr.fish")
#: As a person installs it, with the machine's own dpkg; no triggers run: man-db would read all pages of the machine.
#: What changes below these directories changes for this shell alone.
MACHINE = """
mount -t tmpfs -o mode=755 tmpfs "$ROOM"
for each in usr etc var; do
  mkdir -p "$ROOM/$each/upper" "$ROOM/$each/work"
  chmod --reference="/$each" "$ROOM/$each/upper"
  mount -t overlay overlay -o "lowerdir=/$each,upperdir=$ROOM/$each/upper,workdir=$ROOM/$each/work" "/$each"
done
mount -t tmpfs tmpfs /run
"""
STORY = """
dpkg --no-triggers -i "$DEB" >&2
cd /etc/dr
dr --version
dr init
echo text > documents/letter.txt
cd "$HOME"
dr validate
dr backup first
dr drill first
dr report -o report.html
grep -q '</html>' report.html
dr crontab
PATH=/nowhere DR_RESTIC= /usr/bin/dr backup first 2>&1 || echo "exit $?"
find /usr/lib/dr -newer "$DEB" -type f
stat -c 'mode of %n %A %U' /etc/dr/secrets /var/lib/dr
mkdir /usr/lib/dr/.tools
dpkg --no-triggers -r dr >&2
! test -e /usr/lib/dr
! test -e /usr/bin/dr
dpkg --no-triggers -P dr >&2
test -s /var/lib/dr/catalog.sqlite
test -s /etc/dr/plans/first.yaml
echo gone
"""


@pytest.fixture
def deb(tmp_path: Path) -> Path:
    """The package, built from the locked requirements."""
    return build("deb", tmp_path / "out")


@needs_mounts
@pytest.mark.long
@pytest.mark.slow
def test_the_debian_package_installs_works_and_goes_and_leaves_what_it_wrote(deb: Path, tmp_path: Path) -> None:
    listing = subprocess.run(["dpkg-deb", "-c", deb], capture_output=True, text=True, check=True, timeout=LIMIT).stdout
    lines = [line.split(maxsplit=5) for line in listing.splitlines()]
    assert {owner for _, owner, *_ in lines} == {"root/root"}
    odd = {(mode, name) for mode, *_, name in lines if mode[0] != "l" and mode[1:] not in ("rw-r--r--", "rwxr-xr-x")}
    assert odd == {("drwx------", "./etc/dr/secrets/")}
    files = {line[5] for line in lines}
    assert not [name for name in files if name.startswith("./etc/") and not name.endswith("/")], "no conffiles"
    units = ("dr.service", "dr.timer", "dr-daemon.service", "dr-failed@.service")
    assert {f"./usr/lib/systemd/system/{name}" for name in units} <= files
    assert {"./usr/share/man/man1/dr.1.gz", "./usr/share/man/man5/dr-plan.5.gz"} <= files
    assert {f"./usr/share/{shell}" for shell in SHELLS} <= files

    home, room = tmp_path / "home", tmp_path / "room"
    home.mkdir()
    room.mkdir()
    env = {"DEB": str(deb), "ROOM": str(room), "DR_RESTIC": os.environ["DR_RESTIC"]}
    out = typed(["unshare", "--mount", "sh", "-euc", MACHINE + STORY], home, **env)
    assert out.startswith(f"dr, version {dr.__version__}\nwrote /etc/dr/plans/first.yaml\n")
    assert "1 plan, 1 target: 0 faults" in out
    assert "first: drill (system-loss) ok" in out
    assert "/usr/bin/dr --config /etc/dr --state /var/lib/dr --quiet run" in out
    assert "Run /usr/lib/dr/scripts/get-restic, or install restic 0.18.0 or newer" in out and "\nexit 1\n" in out
    assert "mode of /etc/dr/secrets drwx------ root\nmode of /var/lib/dr drwx------ root\n" in out
    assert out.endswith("root\ngone\n")
    assert not re.search("^/usr/lib/dr/", out, re.MULTILINE), "nothing was written beside the package's files"
