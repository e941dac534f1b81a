"""The demo as a person runs it: it ends well, keeps its report, and leaves nothing, also when it is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.forked import Forker
from tests.waiting import LIMIT, soon

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _restic(
    request: pytest.FixtureRequest, plain_restic: str, quick_restic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who stops a demo has restic as a person has it, and may stop it amid a key; whoever plays it, with quick keys."""
    plays = request.node.get_closest_marker("long")
    monkeypatch.setenv("DR_RESTIC", quick_restic if plays else plain_restic)


@pytest.fixture
def temporary() -> Iterator[Path]:
    """The demo's own place for temporary files: its name is short, and every user gets in, so its servers lie there."""
    with tempfile.TemporaryDirectory(prefix="demo-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


#: Plays a demo whose commands are forked from the program that is loaded already.
_PLAYED = """
import os, runpy, sys
_, place, root, script, *sys.argv[1:] = sys.argv
sys.path[:0] = [root, root + "/scripts"]
import stage
from tests.forked import Forker
with Forker(place) as loaded:
    stage.finish = lambda argv, cwd: loaded.run(argv[3:], env={**os.environ, "PYTHONPATH": root}, cwd=cwd)
    runpy.run_path(script, run_name="__main__")
"""


def start(place: Path, temporary: Path, script: str = "demo.py", *, loaded: str = "") -> subprocess.Popen[str]:
    """Start a demo with its own directory for temporary files and its own place for the report.

    Where the program is `loaded` already (see `Forker`), the demo loads it for none of its commands.
    """
    played = ["-c", _PLAYED, loaded, str(ROOT)] if loaded else []
    return subprocess.Popen(
        [sys.executable, *played, ROOT / "scripts" / script, "--report", place / "report"],
        env={**os.environ, "TMPDIR": str(temporary)}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def running(temporary: Path) -> list[str]:
    """Return the command lines of the processes that name its directory, but for those that are ending."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(temporary) in told:
            found.append(told[:200].replace(b"\0", b" ").decode("utf-8", "replace"))
    return found


def soon_nothing_runs(temporary: Path) -> bool:
    """Whether within two minutes nothing runs there."""
    soon(lambda: not running(temporary))
    return not running(temporary)


@pytest.mark.long
def test_the_demo_plays_to_its_end_and_leaves_only_the_report(tmp_path: Path, temporary: Path, forker: Forker) -> None:
    demo = start(tmp_path, temporary, loaded=forker.path)
    out, _ = demo.communicate(timeout=LIMIT)
    assert demo.returncode == 0, out
    assert "160 photos, 4200 students, the database is sound" in out
    assert str(tmp_path / "report" / "report.html") in out
    assert (tmp_path / "report" / "report.html").read_text().startswith("<!doctype html>")
    assert "is corrupt" in out and "look encrypted" in out
    assert "delete a version (refused)" in out and "deletions of what lies below were refused" in out
    assert "objects attacked; the snapshots expired" in out and "drill (control-loss) ok" in out
    assert soon_nothing_runs(temporary)
    assert list(temporary.iterdir()) == []


@pytest.mark.long
def test_the_demo_of_services_plays_to_its_end_and_leaves_only_the_report(
    tmp_path: Path, temporary: Path, forker: Forker
) -> None:
    demo = start(tmp_path, temporary, "demo_services.py", loaded=forker.path)
    out, _ = demo.communicate(timeout=LIMIT)
    assert demo.returncode == 0, out
    assert "20000 students in the live database, 40 forms" in out
    assert "nothing was touched: the database students is on the server" in out
    assert "observed status 200" in out and "expected > 30000; observed 30000" in out
    assert (tmp_path / "report" / "services.html").read_text().startswith("<!doctype html>")
    assert soon_nothing_runs(temporary)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (signal.SIGINT, ""),
        (signal.SIGHUP, ""),
        (signal.SIGINT, "$ dr backup --all"),
        (signal.SIGTERM, "$ dr backup --all"),
    ],
    ids=["INT-at the start", "HUP-at the start", "INT-in a backup", "TERM-in a backup"],
)
def test_a_demo_that_is_stopped_leaves_nothing(
    tmp_path: Path, temporary: Path, number: signal.Signals, line: str
) -> None:
    demo = start(tmp_path, temporary)
    assert demo.stdout
    if line:
        while line not in (said := demo.stdout.readline()):
            assert said, "the demo ended before that line"
    else:
        while not running(temporary) or not list(temporary.glob("dr-demo-*")):
            assert demo.poll() is None
            time.sleep(0.05)
    time.sleep(0.5)
    assert running(temporary)
    demo.send_signal(number)
    rest, _ = demo.communicate(timeout=LIMIT)
    assert demo.returncode == 130, rest
    assert "Traceback" not in rest
    assert soon_nothing_runs(temporary)
    assert list(temporary.iterdir()) == []
