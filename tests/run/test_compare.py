from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from dr.errors import DamageError
from dr.evidence import manifest
from dr.plan.source_kinds import FilesSource
from dr.run.recovery.checks.pattern import below
from dr.run.recovery.compare import Comparison, Terms, compare
from dr.run.recovery.place.tree import TreeHere
from dr.sources.files import Files
from tests.sources.nobody import as_nobody

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="owners are compared as root only")


@pytest.fixture
def captured(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A tree as captured: its manifest, where it lies restored, and the restored tree's own root."""
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "empty").mkdir()
    for number in range(200):
        (tree / "sub" / f"{number}.txt").write_text(f"content {number}")
    (tree / "big").write_bytes(os.urandom(3 << 20))
    (tree / os.fsdecode(b"odd\xff\n")).write_text("odd")
    (tree / "link").symlink_to("big")
    os.mkfifo(tree / "fifo")
    work = tmp_path / "work"
    work.mkdir()
    Files("tree", FilesSource(paths=(str(tree),))).capture(work, None)
    root = tmp_path / "restored"
    there = root / str(tree).lstrip("/")
    there.parent.mkdir(parents=True)
    shutil.copytree(tree, there, symlinks=True, ignore=shutil.ignore_patterns("fifo"))
    os.mkfifo(there / "fifo")
    there.joinpath("fifo").chmod((tree / "fifo").stat().st_mode & 0o777)
    return work / "dr-manifest", root, there


def compared(captured: tuple[Path, Path, Path], **terms: object) -> Comparison:
    return compare(captured[1], captured[0], Terms(rights=ROOT, **terms))  # type: ignore[arg-type]


def test_an_equal_tree_holds(captured: tuple[Path, Path, Path]) -> None:
    found = compared(captured)
    assert found.holds
    assert (found.equal, found.folders, found.extra, found.names) == (204, 3, 0, [])


def flip_a_byte(there: Path) -> None:
    status = (there / "big").stat()
    data = bytearray((there / "big").read_bytes())
    data[1_000_000] ^= 1
    (there / "big").write_bytes(data)
    os.utime(there / "big", ns=(status.st_atime_ns, status.st_mtime_ns))


def retarget(there: Path) -> None:
    (there / "link").unlink()
    (there / "link").symlink_to("sub/1.txt")


def become_a_folder(there: Path) -> None:
    (there / "sub" / "7.txt").unlink()
    (there / "sub" / "7.txt").mkdir()


def fifo_to_file(there: Path) -> None:
    (there / "fifo").unlink()
    (there / "fifo").write_text("")


def shorten(there: Path) -> None:
    (there / "sub" / "1.txt").write_text("short")


@pytest.mark.parametrize(
    "harm",
    [flip_a_byte, retarget, become_a_folder, fifo_to_file, shorten],
)
def test_one_entry_that_is_not_what_it_was_is_found(
    captured: tuple[Path, Path, Path], harm: Callable[[Path], None]
) -> None:
    harm(captured[2])
    found = compared(captured)
    assert not found.holds
    assert (found.differ, found.missing, found.equal) == (1, 0, 203)


@pytest.mark.parametrize("name", ["big", "link", "empty", "fifo", "sub/3.txt"])
def test_one_entry_that_is_not_there_is_found(captured: tuple[Path, Path, Path], name: str) -> None:
    path = captured[2] / name
    path.rmdir() if name == "empty" else path.unlink()
    found = compared(captured)
    assert not found.holds
    assert (found.differ, found.missing) == (0, 1)
    assert [(problem, Path(os.fsdecode(where)).name) for problem, where in found.names] == [
        ("missing", name.rpartition("/")[2])
    ]


@needs_root
def test_another_mode_is_found(captured: tuple[Path, Path, Path]) -> None:
    (captured[2] / "sub" / "1.txt").chmod(0o666)
    (captured[2] / "empty").chmod(0o777)
    found = compared(captured)
    assert not found.holds
    assert (found.rights, found.differ) == (2, 0)


@needs_root
def test_another_owner_is_found_also_of_a_link(captured: tuple[Path, Path, Path]) -> None:
    os.chown(captured[2] / "link", 1234, 1234, follow_symlinks=False)
    assert compared(captured).rights == 1


def test_rights_do_not_count_when_not_asked(captured: tuple[Path, Path, Path]) -> None:
    (captured[2] / "sub" / "1.txt").chmod(0o600)
    assert compare(captured[1], captured[0], Terms()).holds


def test_extra_files_are_counted_and_not_wrong(captured: tuple[Path, Path, Path]) -> None:
    (captured[2] / "sub" / "extra").write_text("x")
    found = compared(captured)
    assert found.holds
    assert found.extra == 1


def test_what_changed_or_could_not_be_read_at_capture_is_never_wrong(
    captured: tuple[Path, Path, Path],
) -> None:
    listed = captured[0]
    states = {b"/sub/1.txt": "changed", b"/sub/2.txt": "unreadable"}
    entries = [entry._replace(state=states.get(entry.path[-10:], entry.state)) for entry in manifest.read(listed)]
    manifest.write(listed, manifest.header(listed), entries)
    (captured[2] / "sub" / "1.txt").write_text("other")
    (captured[2] / "sub" / "2.txt").unlink()
    found = compared(captured)
    assert found.holds
    assert (found.unsettled, found.equal, found.extra) == (2, 202, 0)


def test_a_sample_hashes_its_share_and_looks_at_all(captured: tuple[Path, Path, Path]) -> None:
    found = compared(captured, sample=0.1, seed="drill-1/tree")
    assert found.holds
    # 202 files: 20 hashed; the link and the fifo are always compared.
    assert (found.equal, found.present) == (22, 182)


def test_the_same_seed_picks_the_same_files_and_another_seed_others(
    captured: tuple[Path, Path, Path],
) -> None:
    for number in range(200):
        path = captured[2] / "sub" / f"{number}.txt"
        path.write_text(path.read_text().replace("content", "CONTENT"))

    def differing(seed: str) -> set[bytes]:
        return {path for _, path in compared(captured, sample=0.1, seed=seed).names}

    assert differing("a") == differing("a") != set()
    assert differing("a") != differing("b")


def test_outside_the_sample_a_missing_or_shorter_file_is_found_still(
    captured: tuple[Path, Path, Path],
) -> None:
    for number in range(200):
        (captured[2] / "sub" / f"{number}.txt").write_text("short")
    assert compared(captured, sample=0.01).differ == 200


def test_only_what_was_restored_is_compared(captured: tuple[Path, Path, Path]) -> None:
    _, root, there = captured
    shutil.rmtree(there / "sub")
    only = below([str(there.relative_to(root))], "big")
    found = compared(captured, only=only)
    assert (found.holds, found.equal, found.missing) == (True, 1, 0)


def test_a_link_in_place_of_a_file_is_not_followed(captured: tuple[Path, Path, Path], tmp_path: Path) -> None:
    path = captured[2] / "sub" / "1.txt"
    (tmp_path / "live").write_text(path.read_text())
    path.unlink()
    path.symlink_to(tmp_path / "live")
    assert compared(captured).differ == 1


def test_a_damaged_manifest_is_an_error_not_a_pass(captured: tuple[Path, Path, Path]) -> None:
    captured[0].write_text(captured[0].read_text() + "[1,\n")
    with pytest.raises(DamageError):
        compared(captured)


def test_what_only_root_may_read_is_compared_by_its_owner_too(captured: tuple[Path, Path, Path]) -> None:
    listed, root, there = captured
    nobody = 65534 if ROOT else os.geteuid()
    with tempfile.TemporaryDirectory(prefix="dr-o-", dir="/tmp") as made:
        Path(made).chmod(0o755)
        shutil.copytree(root, Path(made, "restored"), symlinks=True, ignore=shutil.ignore_patterns("fifo"))
        shutil.copyfile(listed, Path(made, "listed"))
        below = Path(made, "restored", there.relative_to(root))
        shut = {below / "sub": 0o000, below / "big": 0o000, below / "sub" / "1.txt": 0o200, below / "empty": 0o100}
        for path in [Path(made), *Path(made).rglob("*")]:
            os.chown(path, nobody, -1, follow_symlinks=False)
        for path, mode in reversed(shut.items()):
            path.chmod(mode)
        for harmed in (0, 1):  # the control: what differs is found, shut or not
            if harmed:
                (below / "sub").chmod(0o700)
                (below / "sub" / "2.txt").chmod(0o600)
                (below / "sub" / "2.txt").write_text("CONTENT 2")
                (below / "sub").chmod(0o000)
            with as_nobody():
                survey = TreeHere(Path(made, "restored"))
                found = compare(survey, Path(made, "listed"), Terms())
                with survey.reachable():
                    assert len(list(survey.files())) == 203
            assert (found.differ, found.missing, found.equal) == (harmed, 1, 203 - harmed), "the pipe was not copied"
            (below / "sub").stat()
            modes = {path: path.stat().st_mode & 0o777 for path in (below / "sub", below / "big", below / "empty")}
            assert modes == {below / "sub": 0o000, below / "big": 0o000, below / "empty": 0o100}, "as they were"
