from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dr.errors import DrError
from dr.evidence.record import Point
from dr.run.recovery.place.sandbox import Sandbox, destroy, sweep
from dr.run.recovery.place.space import require_space
from dr.tools.state_dir import StateDir

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
POINT = Point(run_id="r", system="sis", consistency_time=NOON, finished=NOON, outcome="ok", kinds={"uploads": "files"})

HOLDER = """
import sys, time
from pathlib import Path
from tests_point import POINT
from dr.run.recovery.place.sandbox import Sandbox
from dr.tools.state_dir import StateDir
box = Sandbox(StateDir(Path(sys.argv[1])), "drill-held")
root = box.prepare(POINT, 0)
(root / "pupil.txt").write_text("restored")
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a sandbox, as a drill does."""
    source = Path(__file__).read_text()
    point = source[source.index("NOON =") : source.index("HOLDER =")]
    head = "from datetime import UTC, datetime\nfrom dr.evidence.record import Point\n"
    (tmp_path / "tests_point.py").write_text(head + point)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), str(tmp_path)])}
    argv = [sys.executable, "-c", HOLDER, str(tmp_path / "state")]
    child = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    yield child
    with suppress(ProcessLookupError):
        child.kill()
    child.wait()
    child.stdout.close()


def test_a_sandbox_is_open_to_its_owner_alone_and_gone_afterwards(tmp_path: Path) -> None:
    box = Sandbox(StateDir(tmp_path), "drill-1")
    root = box.prepare(POINT, 0)
    assert root.stat().st_mode & 0o777 == 0o700
    (root / "file").write_text("x")
    assert box.finish(achieved=True) == "destroyed"
    assert not root.exists()
    assert box.finish(achieved=True) == "destroyed"


def test_a_sandbox_never_made_was_not_used(tmp_path: Path) -> None:
    assert Sandbox(StateDir(tmp_path), "drill-1").finish(achieved=False) == "not used"


def test_keep_leaves_it_also_when_others_sweep(tmp_path: Path) -> None:
    box = Sandbox(StateDir(tmp_path), "drill-1", keep=True)
    root = box.prepare(POINT, 0)
    (root / "file").write_text("x")
    assert box.finish(achieved=True) == "kept"
    assert sweep(StateDir(tmp_path)) == []
    assert (root / "file").read_text() == "x"


def test_a_sandbox_whose_owner_lives_is_not_swept_and_one_whose_owner_was_killed_is(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    state = tmp_path / "state"
    left = state / "sandboxes" / "drill-held"
    assert sweep(StateDir(state)) == []
    assert (left / "pupil.txt").exists()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (left / "pupil.txt").exists()
    assert sweep(StateDir(state)) == ["drill-held"]
    assert not left.exists()
    assert sweep(StateDir(state)) == []


def test_sweep_without_any_state_finds_nothing(tmp_path: Path) -> None:
    assert sweep(StateDir(tmp_path / "absent")) == []


def test_read_only_folders_and_odd_names_are_destroyed_too(tmp_path: Path) -> None:
    top = tmp_path / "box"
    deep = top / "a" / ("long" * 60) / ("long" * 60)
    deep.mkdir(parents=True)
    (deep / os.fsdecode(b"\xff")).write_text("x")
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o500)
    (top / "link").symlink_to(outside)
    (top / "loop").symlink_to(".")
    deep.chmod(0o500)
    deep.parent.chmod(0o000)
    destroy(top)
    assert not top.exists()
    assert outside.stat().st_mode & 0o777 == 0o500


def test_folders_in_folders_deeper_than_python_calls_itself_are_destroyed_too(tmp_path: Path) -> None:
    subprocess.run(["mkdir", "-p", f"box/{'d/' * 1200}"], cwd=tmp_path, check=True)
    destroy(tmp_path / "box")
    assert not (tmp_path / "box").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_read_only_folders_are_destroyed_by_an_ordinary_user(tmp_path: Path) -> None:
    top = Path(tempfile.mkdtemp(dir="/tmp"))
    (top / "box" / "shut").mkdir(parents=True)
    (top / "box" / "shut" / "file").write_text("x")
    for path in (top, top / "box", top / "box" / "shut", top / "box" / "shut" / "file"):
        os.chown(path, 65534, 65534)
    (top / "box" / "shut").chmod(0o500)
    code = "import os, sys; os.setuid(65534); from pathlib import Path; from dr.run.recovery.place.sandbox import destroy; "
    code += "destroy(Path(sys.argv[1]))"
    # The project may lie where that user may not read: import first, then become nobody.
    code = "import dr.run.recovery.place.sandbox, subprocess; " + code
    try:
        subprocess.run([sys.executable, "-c", code, str(top / "box")], check=True, cwd=Path.cwd())
        assert not (top / "box").exists()
    finally:
        shutil.rmtree(top)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a disk")
def test_what_cannot_be_removed_is_said_and_tried_again_by_the_next_sweep(tmp_path: Path) -> None:
    box = Sandbox(StateDir(tmp_path), "drill-1")
    busy = box.prepare(POINT, 0) / "busy"
    busy.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "none", busy], check=False).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        assert box.finish(achieved=True) == "left behind"
        with pytest.raises(DrError, match="could not be removed"):
            destroy(busy.parent)
        assert sweep(StateDir(tmp_path)) == []
    finally:
        subprocess.run(["umount", "-l", busy], check=True)
    assert sweep(StateDir(tmp_path)) == ["drill-1"]


def test_too_little_room_is_said_with_both_figures_and_the_place(tmp_path: Path) -> None:
    with pytest.raises(DrError, match=r"needs 1050 TB free, .* available at .*sandboxes"):
        Sandbox(StateDir(tmp_path), "drill-1").prepare(POINT, 10**15)
    assert not (tmp_path / "sandboxes" / "drill-1").exists()


def test_bytes_already_there_need_no_room(tmp_path: Path) -> None:
    require_space(tmp_path, 10**15, there=2 * 10**15)
    with pytest.raises(DrError):
        require_space(tmp_path, 10**15, there=10**3)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")
def test_a_full_disk_is_told_before_anything_is_restored(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", state], check=False).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        with pytest.raises(DrError, match="the disk is too small"):
            Sandbox(StateDir(state), "drill-1").prepare(POINT, 2_000_000)
        Sandbox(StateDir(state), "drill-2").prepare(POINT, 100_000)
    finally:
        subprocess.run(["umount", "-l", state], check=True)
