"""ACLs and extended attributes: listed at capture, stored, brought back, and compared, here and over SSH."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from dr.evidence import manifest
from dr.evidence.attributes import covers, digest_of
from dr.plan.source_kinds import FilesSource
from dr.run.recovery.compare import Comparison, Terms, compare
from dr.run.recovery.place.restore_host import RemoteHost
from dr.run.recovery.place.tree import TreeThere
from dr.sources.attributes import attributes_there, digest_here
from dr.sources.driver import MANIFEST, AgentCapture, RestoreSlot, Tree
from dr.sources.files import Files
from dr.tools.host import ThisHost
from dr.tools.restic import Repository
from tests.far import Far, reached
from tests.sources.test_mounts import KINDS, TAGS, doors_of
from tests.sources.test_mounts import repository as repository

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives and compares all attributes")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A directory on a file system that holds extended attributes of users."""
    for folder in (str(tmp_path), "/var/tmp", str(Path(__file__).parent)):
        with TemporaryDirectory(dir=folder, prefix="dr-x-") as made:
            try:
                os.setxattr(made, "user.probe", b"1")
            except OSError:
                continue
            os.removexattr(made, "user.probe")
            yield Path(made)
            return
    raise AssertionError("no file system here holds extended attributes")


def ran(*argv: str | Path) -> None:
    subprocess.run(list(map(str, argv)), check=True, capture_output=True)


@pytest.fixture
def share(place: Path) -> Path:
    """A share with grades that one more user may read, and what Samba and the kernel keep at files."""
    top = place / "share"
    (top / "grades").mkdir(parents=True)
    for name in ("plain", "grades/sheet", "odd\n\\name", "ping", "note"):
        (top / name).write_text(name)
    ran("setfacl", "-m", "u:1234:r,g:4321:rw", top / "grades" / "sheet")
    ran("setfacl", "-d", "-m", "u:1234:rx", top / "grades")
    os.setxattr(top / "odd\n\\name", "user.comment", b"a value\0 with \xff bytes")
    os.setxattr(top / "grades" / "sheet", "security.NTACL", bytes(range(64)))
    os.setxattr(top / "note", "trusted.owner", b"registrar")
    os.setxattr(top / "ping", "security.capability", struct.pack("<IIIII", 0x02000001, 0x2000, 0, 0, 0))
    (top / "link").symlink_to("plain")
    return top


MARKED = 5


def restored(repository: Repository, snapshot: str, to: Path) -> Path:
    assert repository.restore(snapshot, to).errors == ()
    return to


def against(tree: Path, listed: Path) -> Comparison:
    return compare(tree, listed, Terms(rights=True))


@needs_root
@pytest.mark.parametrize("kind", KINDS)
def test_they_come_back_and_are_compared(
    place: Path, share: Path, repository: Repository, restic_program: str, kind: str
) -> None:
    work = place / "work"
    work.mkdir()
    with doors_of(kind, FilesSource(paths=(str(share),)), place, restic_program) as doors:
        captured = doors.capture(work, None)
        if isinstance(captured, AgentCapture):
            sent = captured.send(repository, TAGS)
            snapshot, listed, told = sent.stored.snapshot_id, work / MANIFEST, (*sent.omissions, *sent.notes)
        else:
            assert isinstance(captured, Tree)
            done = repository.backup_tree((*captured.paths, MANIFEST), cwd=captured.cwd, tags=TAGS)
            snapshot, listed = done.snapshot_id, captured.cwd / MANIFEST
            told = (*captured.omissions, *captured.notes)
    assert told == ()
    back = restored(repository, snapshot, place / "back")
    found = against(back, listed)
    assert found.holds and (found.marked, found.unmarked, found.attributes) == (MARKED, 0, 0)
    ran("setfacl", "-x", "u:1234", Path(f"{back}{share}", "grades", "sheet"))
    assert not against(back, listed).holds, "the control"


def replaced_acl(top: Path) -> None:
    ran("setfacl", "-m", "u:1234:rw", top / "grades" / "sheet")


def no_default(top: Path) -> None:
    ran("setfacl", "-k", top / "grades")


def new_acl(top: Path) -> None:
    ran("setfacl", "-m", "u:99:r", top / "plain")


def flipped(top: Path) -> None:
    os.setxattr(top / "grades" / "sheet", "security.NTACL", bytes(range(63)) + b"\0")


def renamed(top: Path) -> None:
    value = os.getxattr(top / "odd\n\\name", "user.comment")
    os.removexattr(top / "odd\n\\name", "user.comment")
    os.setxattr(top / "odd\n\\name", "user.Comment", value)


def no_capability(top: Path) -> None:
    os.removexattr(top / "ping", "security.capability")


@needs_root
def test_every_single_change_is_found(place: Path, share: Path) -> None:
    work = place / "work"
    work.mkdir()
    captured = Files("docs", FilesSource(paths=(str(share),))).capture(work, None)
    assert captured.settle().changed == ()
    harms: tuple[Callable[[Path], None], ...] = (
        replaced_acl, no_default, new_acl, flipped, renamed, no_capability
    )  # fmt: skip
    for harm in harms:
        back = place / harm.__name__
        Path(f"{back}{share.parent}").mkdir(parents=True)
        ran("cp", "-a", share, Path(f"{back}{share.parent}"))
        assert against(back, work / MANIFEST).holds
        harm(Path(f"{back}{share}"))
        found = against(back, work / MANIFEST)
        # An ACL that gives more than it did may change the mode as well, which holds its mask.
        assert not found.holds and found.attributes == 1, harm.__name__
        assert [problem for problem, _ in found.names if "ACL" in problem]


@needs_root
def test_on_another_host_they_come_by_tar_and_are_compared_there(
    place: Path, share: Path, repository: Repository, tmp_path: Path
) -> None:
    work, apart, root = place / "work", tmp_path / "apart", place / "far-root"
    for folder in (work, apart, root):
        folder.mkdir()
    captured = Files("docs", FilesSource(paths=(str(share),))).capture(work, None)
    done = repository.backup_tree((*captured.paths, MANIFEST), cwd=work, tags=TAGS)
    with Far(tmp_path / "far") as server, reached(server) as host:
        land = RemoteHost(host, machine="", owners=True, free=1 << 40, kept=tmp_path, root=root)
        room = RestoreSlot(root=root, apart=apart, annex=lambda kind: root / kind, token="t", host=host)
        assert land.lay(repository, done.snapshot_id, room) == ()
        found = compare(land.survey(root), work / MANIFEST, Terms(rights=True))
        assert found.holds and (found.marked, found.unmarked) == (MARKED, 0)
        some = place / "some"
        some.mkdir()
        sheet = f"{share}/grades/sheet"
        land.lay(
            repository, done.snapshot_id, RestoreSlot(root=some, apart=apart, annex=room.annex, token="t"), [sheet]
        )
        assert digest_here(os.fsencode(f"{some}{sheet}")) == digest_here(os.fsencode(sheet))
        ran("setfacl", "-b", f"{root}{sheet}")
        assert compare(land.survey(root), work / MANIFEST, Terms(rights=True)).attributes == 1, "the control"
        server.program("getfattr", "exit 127")
        blind = compare(TreeThere(host, root, aside=tmp_path), work / MANIFEST, Terms(rights=True))
        assert (blind.attributes, blind.unmarked) == (0, MARKED), "not compared, and counted as such"


@needs_root
def test_a_host_that_cannot_tell_is_named_once(
    place: Path, share: Path, repository: Repository, restic_program: str
) -> None:
    with Far(place / "far") as server, reached(server) as host:
        server.program("getfattr", "exit 127")
        from dr.sources.remote_files import RemoteFiles

        doors = RemoteFiles("docs", FilesSource(paths=(str(share),)), host)
        for name, told in (("one", 1), ("two", 0)):
            (place / name).mkdir()
            captured = doors.capture(place / name, place / "one" / "tree" / MANIFEST if not told else None)
            assert len([note for note in captured.notes if "getfattr" in note and "ACLs" in note]) == told


def test_an_ordinary_user_is_told_what_was_not_compared(place: Path) -> None:
    top, work = place / "share", place / "work"
    top.mkdir()
    work.mkdir()
    (top / "file").write_text("x")
    (top / "marked").write_text("x")
    os.setxattr(top / "marked", "user.comment", b"x")
    Files("docs", FilesSource(paths=(str(top),))).capture(work, None)
    ran("cp", "-r", "--parents", top, place / "work")
    found = compare(work, work / MANIFEST, Terms())
    assert found.holds and (found.marked, found.unmarked) == (1, 1)


def test_a_manifest_does_not_grow_where_nothing_has_any_and_old_ones_are_read(place: Path) -> None:
    top, work = place / "share", place / "work"
    top.mkdir()
    work.mkdir()
    (top / "file").write_text("x")
    Files("docs", FilesSource(paths=(str(top),))).capture(work, None)
    entries = list(manifest.read(work / MANIFEST))
    assert [entry.attributes for entry in entries] == [None, None]
    lines = (work / MANIFEST).read_text().splitlines()[1:-1]
    assert all(line.endswith('"ok"]') for line in lines), "as those of older releases"
    older = {key: value for key, value in manifest.header(work / MANIFEST).items() if key != "attributes"}
    os.setxattr(top / "file", "user.new", b"x")
    manifest.write(work / MANIFEST, older, entries)
    ran("cp", "-r", "--parents", top, work)
    assert compare(work, work / MANIFEST, Terms(rights=True)).attributes == 0, "what is not in it is not claimed"


def test_what_is_known_of_an_unchanged_file_is_not_read_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dr.sources.last_hashes._RACY_NS", -60_000_000_000)  # these files were made a moment ago
    top = place / "share"
    top.mkdir()
    for name in ("one", "two"):
        (top / name).write_text(name)
        os.setxattr(top / name, "user.a", b"1")
    doors = Files("docs", FilesSource(paths=(str(top),)))
    for name in ("w1", "w2"):
        (place / name).mkdir()
    doors.capture(place / "w1", None)
    asked: list[bytes] = []

    def asking(file: bytes | int) -> str | None:
        asked.append(os.readlink(b"/proc/self/fd/%d" % file) if isinstance(file, int) else file)
        return digest_here(file)

    for module in ("files", "hashing"):
        monkeypatch.setattr(f"dr.sources.{module}.digest_here", asking)
    os.setxattr(top / "two", "user.a", b"2")
    doors.capture(place / "w2", place / "w1" / MANIFEST)
    assert os.fsencode(top / "one") not in asked and os.fsencode(top / "two") in asked
    first, second = ({e.path: e.attributes for e in manifest.read(place / w / MANIFEST)} for w in ("w1", "w2"))
    one, two = os.fsencode(top / "one"), os.fsencode(top / "two")
    assert first[one] == second[one] != None and first[two] != second[two]  # noqa: E711


# -- by meaning --------------------------------------------------------------------------------------

ACL = "system.posix_acl_access"


def acl(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def test_an_acl_is_compared_by_what_it_means() -> None:
    none = 0xFFFFFFFF
    ordered = acl((1, 6, none), (2, 4, 7), (2, 4, 9), (4, 4, none), (16, 4, none), (32, 0, none))
    mixed = acl((32, 0, 0), (2, 4, 9), (1, 6, 5), (16, 4, none), (2, 4, 7), (4, 4, none))
    assert digest_of({ACL: ordered}) == digest_of({ACL: mixed})
    assert digest_of({ACL: ordered}) != digest_of({ACL: ordered.replace(struct.pack("<I", 7), struct.pack("<I", 8))})
    assert digest_of({ACL: acl((1, 6, none), (4, 4, none), (32, 0, none))}) is None, "the mode says it all"
    assert digest_of({"system.posix_acl_default": acl((1, 6, none), (4, 4, none), (32, 0, none))}) is not None


def test_what_no_restore_brings_back_does_not_count() -> None:
    assert digest_of({"security.selinux": b"a", "trusted.overlay.opaque": b"y", "system.nfs4_acl": b"z"}) is None
    assert not covers("security.ima") and covers("user.a") and covers("security.NTACL")
    assert digest_of({"user.ab": b"c"}) != digest_of({"user.a": b"bc"})


def test_a_machine_without_the_program_says_so() -> None:
    class Without(ThisHost):
        def run(self, argv: list[str], **more: object) -> object:  # type: ignore[override]
            return super().run(["sh", "-c", "exit 127"])

    assert attributes_there(Without(), [b"/"]) is None
