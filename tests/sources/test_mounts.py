"""What lies on other file systems below a declared path: stored, or named each time, wherever the paths are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from dr.evidence import manifest
from dr.evidence.record import Omission
from dr.plan.source_kinds import FilesSource
from dr.sources.agent import AgentFiles
from dr.sources.driver import MANIFEST, AgentCapture, SourceDriver, Tree
from dr.sources.files import Files
from dr.sources.mounts import mounted, not_mounted
from dr.sources.remote_files import RemoteFiles
from dr.sources.walk import excluder
from dr.tools.agent import Agent
from dr.tools.restic import Repository
from tests.conftest import Site, plan_text
from tests.far import Far, reached
from tests.own_mounts import Mounts, needs_mounts, own_mounts

TAGS = {"run": "r", "source": "docs"}


@pytest.fixture(scope="module")
def repository(restic_program: str, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    place = tmp_path_factory.mktemp("repository")
    made = Repository(
        program=restic_program, location=str(place / "repo"), where="test", host="sis",
        env={"RESTIC_PASSWORD": "x"}, cache=place / "cache",
    )  # fmt: skip
    made.init()
    return made


@dataclass(frozen=True)
class Captured:
    """What a capture came to: paths in the manifest, paths in the snapshot, and what was said."""

    listed: set[str]
    stored: set[str]
    omissions: tuple[Omission, ...]
    notes: tuple[str, ...]
    emptied: bool


@contextmanager
def doors_of(kind: str, declared: FilesSource, place: Path, program: str) -> Iterator[SourceDriver]:
    """The doors to trees here, or on a host that is begun where the mounts of the test are seen."""
    if kind == "here":
        yield Files("docs", declared)
        return
    with Far(place / "far").hold(program) as server, reached(server) as host:
        yield (
            AgentFiles("docs", declared, Agent(host, program))
            if kind == "agent"
            else RemoteFiles("docs", declared, host)
        )


def captured(doors: SourceDriver, repository: Repository, work: Path, reuse: Path | None = None) -> Captured:
    work.mkdir(parents=True)
    found = doors.capture(work, reuse)
    if isinstance(found, AgentCapture):
        sent = found.send(repository, TAGS)
        paths = {os.fsdecode(e.path) for e in manifest.read(work / MANIFEST)}
        return Captured(paths, names(repository, sent.stored.snapshot_id), sent.omissions, sent.notes, sent.emptied)
    assert isinstance(found, Tree)
    done = repository.backup_tree(
        (*found.paths, MANIFEST), cwd=found.cwd, tags=TAGS, excludes=found.excludes, one_filesystem=found.one_filesystem
    )
    paths = {os.fsdecode(e.path) for e in manifest.read(found.cwd / MANIFEST)}
    if found.cwd != work:
        (found.cwd / MANIFEST).replace(work / MANIFEST)
    return Captured(paths, names(repository, done.snapshot_id), found.omissions, found.notes, found.emptied)


def names(repository: Repository, snapshot: str) -> set[str]:
    return {node["path"] for node in repository.ls(snapshot)}


def below(paths: set[str], top: Path) -> set[str]:
    return {path for path in paths if path.startswith(str(top))}


def furnished(mounts: Mounts, top: Path) -> Path:
    """A tree with a disk of its own below, a directory seen twice, a file over a file, and the kernel's processes."""
    (top / "plain").mkdir(parents=True)
    (top / "plain" / "file").write_text("on the first disk")
    (mounts.tmpfs(top / "ho me[1]") / "grades").write_text("on a disk of its own")
    (top / "bound").mkdir()
    mounts.bind(top / "plain", top / "bound")
    (top / "over").write_text("hidden")
    mounts.bind(top / "ho me[1]" / "grades", top / "over")
    mounts.proc(top / "proc")
    return top


KINDS = ["here", "sftp", "agent"]


@needs_mounts
@pytest.mark.parametrize("kind", KINDS)
def test_other_file_systems_are_stored_and_the_kernels_own_never(
    tmp_path: Path, repository: Repository, restic_program: str, kind: str
) -> None:
    with own_mounts() as mounts:
        top = furnished(mounts, tmp_path / "top")
        with doors_of(kind, FilesSource(paths=(str(top),)), tmp_path, restic_program) as doors:
            found = captured(doors, repository, tmp_path / "one")
            again = captured(doors, repository, tmp_path / "two", tmp_path / "one" / MANIFEST)
    inside = {"", "/plain", "/plain/file", "/ho me[1]", "/ho me[1]/grades", "/bound", "/bound/file", "/over", "/proc"}
    assert found.listed == {f"{top}{name}" for name in inside}
    assert below(found.stored, top) == found.listed, "restic does exactly what the walk does"
    assert found.omissions == again.omissions == () and not found.emptied and not again.emptied
    assert [note for note in found.notes if f"{top}/proc (proc)" in note and "not data" in note] and not again.notes


@needs_mounts
@pytest.mark.parametrize("kind", KINDS)
def test_what_one_filesystem_leaves_out_is_named_each_time_until_it_is_excluded(
    tmp_path: Path, repository: Repository, restic_program: str, kind: str
) -> None:
    with own_mounts() as mounts:
        top = furnished(mounts, tmp_path / "top")
        declared = FilesSource(paths=(str(top),), one_filesystem=True)
        with doors_of(kind, declared, tmp_path, restic_program) as doors:
            foretold = doors.omissions()
            found = captured(doors, repository, tmp_path / "one")
            again = captured(doors, repository, tmp_path / "two", tmp_path / "one" / MANIFEST)
        away = tuple(f"{top}/{name}".replace("[", "\\[") for name in ("ho me[1]", "over"))
        quiet = declared.model_copy(update={"exclude": away})
        with doors_of(kind, quiet, tmp_path / "quiet", restic_program) as doors:
            silent = captured(doors, repository, tmp_path / "three")
    inside = {"", "/plain", "/plain/file", "/ho me[1]", "/bound", "/bound/file", "/proc"}
    assert found.listed == {f"{top}{name}" for name in inside}
    assert below(found.stored, top) == found.listed
    for each in (found, again):
        (told,) = each.omissions
        assert told.names == (f"{top}/ho me[1]", f"{top}/over") and not told.partial
        assert "one_filesystem" in told.what and f'exclude: ["{top}/ho me[1]"' in told.hint
    assert silent.omissions == ()
    assert foretold == found.omissions, "`dr doctor` says so beforehand"


@needs_mounts
@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_was_below_and_is_away_is_told_each_time_until_it_is_back(
    tmp_path: Path, repository: Repository, restic_program: str, kind: str
) -> None:
    with own_mounts() as mounts:
        top = tmp_path / "top"
        disk = mounts.tmpfs(tmp_path / "disk")
        for number in range(4):
            (disk / f"{number}").write_text("grades")
        (top / "home").mkdir(parents=True)
        (top / "kept").write_text("kept")
        mounts.bind(disk, top / "home")
        with doors_of(kind, FilesSource(paths=(str(top),)), tmp_path, restic_program) as doors:
            assert captured(doors, repository, tmp_path / "one").omissions == ()
            last = tmp_path / "one" / MANIFEST
            mounts.away(top / "home")
            empty = captured(doors, repository, tmp_path / "two", last)
            (top / "home" / "written-below").write_text("by a program that did not know")
            few = captured(doors, repository, tmp_path / "three", last)
            mounts.bind(disk, top / "home")
            back = captured(doors, repository, tmp_path / "four", last)
            mounts.away(top / "home")
            for number in range(4):
                (top / "home" / f"{number}").write_text("moved to the first disk on purpose")
            moved = captured(doors, repository, tmp_path / "five", last)
    assert empty.emptied and f"{top}/home" in empty.omissions[0].what and empty.omissions[0].partial
    assert few.emptied and "is not mounted: 1 files are there now, where there were 4" in few.omissions[0].what
    assert back.omissions == moved.omissions == ()


def test_a_disk_that_is_away_is_told_to_whoever_types_backup(site: Site) -> None:
    one, two, single = (site.root / name for name in ("one", "two", "single"))
    for folder in (one, two):
        folder.mkdir()
        (folder / "file").write_text("grades")
    single.write_bytes(b"x" * 1000)
    site.target("disk", f"target: disk\nlocal: {{path: {site.root}/disk}}\n")
    site.plan("share", plan_text("share", f"docs: {{files: {{paths: [{one}, {two}, {single}]}}}}", targets="[disk]"))
    site.dr("backup", "share")
    (two / "file").unlink()
    for _ in range(2):  # each time, not once
        ran = site.dr("--json", "backup", "share", code=3)
        (run,) = ran.document["runs"]
        assert not run["complete"] and f"no file is there in {two}" in run["sources"][0]["error"]
        assert f"take {two} out of the plan" in ran.document["errors"][0]["hint"]
    (two / "file").write_text("grades")
    single.write_bytes(b"")
    (run,) = site.dr("--json", "backup", "share", code=3).document["runs"]
    assert f"{single} holds 0 B, where it held 1.0 kB before" in run["sources"][0]["error"]
    single.write_bytes(b"y")
    assert site.dr("--json", "backup", "share").document["runs"][0]["complete"], "the control: all hold something"


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_backup_would_leave_out_is_told_beforehand_without_a_walk(
    tmp_path: Path, restic_program: str, kind: str
) -> None:
    (tmp_path / "there").mkdir()
    os.mkfifo(tmp_path / "pipe")
    paths = tuple(str(tmp_path / name) for name in ("there", "gone", "pipe"))
    with doors_of(kind, FilesSource(paths=paths), tmp_path, restic_program) as doors:
        gone, pipe = doors.omissions()
    assert gone.names == (paths[1],) and gone.partial
    assert pipe.names == (paths[2],) and "is a pipe" in pipe.what
    with doors_of(kind, FilesSource(paths=paths[:1]), tmp_path / "control", restic_program) as doors:
        assert doors.omissions() == ()


def test_a_manifest_of_an_older_release_is_asked_too(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    doors = Files("docs", FilesSource(paths=(str(tmp_path / "one"), str(tmp_path / "two"))))
    (tmp_path / "w1").mkdir()
    doors.capture(tmp_path / "w1", None)
    last = tmp_path / "w1" / MANIFEST
    older = {key: value for key, value in manifest.header(last).items() if key not in ("held", "mounts", "not_data")}
    manifest.write(last, older, list(manifest.read(last)))
    (tmp_path / "two" / "file").unlink()
    (tmp_path / "w2").mkdir()
    found = doors.capture(tmp_path / "w2", last)
    assert isinstance(found, Tree) and found.emptied and str(tmp_path / "two") in found.omissions[0].what


# -- the table of mounts -----------------------------------------------------------------------------

LINE = "{} {} {} / {} rw,relatime shared:1 - {} source rw"


def table(*lines: tuple[int, int, str, str, str]) -> bytes:
    return "".join(LINE.format(*line) + "\n" for line in lines).encode()


def points(text: bytes, top: bytes = b"/") -> list[bytes]:
    return [mount.point for mount in mounted(text, [top]).mounts]


def test_what_another_mount_hides_is_not_there() -> None:
    root = (1, 0, "8:1", "/", "ext4")
    srv, home = (2, 1, "8:2", "/srv", "ext4"), (3, 2, "8:3", "/srv/home", "ext4")
    assert points(table(root, srv, home)) == [b"/", b"/srv", b"/srv/home"]
    assert points(table(root, (3, 1, "0:9", "/srv/home", "proc"), (2, 1, "8:2", "/srv", "ext4"))) == [b"/", b"/srv"]
    over = mounted(table(root, srv, (4, 2, "8:4", "/srv", "xfs")), [b"/srv"])
    assert [(mount.point, mount.kind) for mount in over.mounts] == [(b"/srv", "xfs")]
    assert points(table(root, srv, home, (5, 1, "8:5", "/srv-2", "ext4")), b"/srv") == [b"/srv", b"/srv/home"]


def test_odd_names_come_as_they_are_and_a_strange_line_is_passed_over() -> None:
    text = table((1, 0, "8:1", "/", "ext4"), (2, 1, "8:2", "/srv/a\\040b\\134", "ext4")) + b"no table\n\xff - \n"
    assert points(text) == [b"/", b"/srv/a b\\"]


def test_an_automount_point_where_nothing_is_mounted_is_named() -> None:
    root, auto = (1, 0, "8:1", "/", "ext4"), (2, 1, "0:40", "/srv/home", "autofs")
    waiting = mounted(table(root, auto), [b"/srv"])
    (told,) = not_mounted(waiting.waiting, excluder([]))
    assert told.partial and "/srv/home" in told.what and "ls /srv/home" in told.hint
    assert not_mounted(waiting.waiting, excluder(["/srv/home"])) == ()
    assert mounted(table(root, auto, (3, 2, "0:41", "/srv/home", "nfs4")), [b"/srv"]).waiting == ()


def test_what_is_mounted_below_the_kernels_own_is_not_data_either() -> None:
    lines = [(1, 0, "8:1", "/", "ext4"), (2, 1, "0:2", "/sys", "sysfs"), (3, 2, "0:3", "/sys/fs/cgroup", "tmpfs"),
             (4, 3, "0:4", "/sys/fs/cgroup/a", "cgroup"), (5, 1, "0:5", "/run/netns/x", "nsfs")]  # fmt: skip
    found = mounted(table(*lines), [b"/"])
    assert found.excludes == ("/run/netns/x", "/sys/*")
    assert [mount.point for mount in found.data] == [b"/"]
