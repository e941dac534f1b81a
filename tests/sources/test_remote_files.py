"""Files of a host that has nothing but sshd: as good a copy as one made there, and nothing that it should not be."""

from __future__ import annotations

import errno
import os
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dr.errors import SourceError
from dr.evidence import manifest
from dr.evidence.manifest import Entry
from dr.plan.source_kinds import FilesSource
from dr.run.recovery.compare import Terms, compare
from dr.sources.driver import MANIFEST, Tree
from dr.sources.files import Files
from dr.sources.remote_files import RemoteFiles
from dr.tools.restic import Repository
from dr.tools.sftp import Status
from dr.tools.ssh import Login, SshHost
from scripts.servers.sshd import Sshd


def reach(server: Sshd) -> SshHost:
    known, key = server.known_hosts, server.key
    return SshHost(Login(host=server.host, user=server.user, port=server.port, known_hosts=known, key=key))


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshHost]:
    with Sshd(tmp_path_factory.mktemp("sshd") / "s") as server:
        host = reach(server)
        yield host
        host.close()


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """A tree on the other host, with all that trees have in them."""
    top = tmp_path / "there" / "data"
    (top / "deep" / "er").mkdir(parents=True)
    (top / "empty").mkdir(mode=0o711)
    (top / "letter.txt").write_text("a letter\n")
    (top / "nothing").touch()
    (top / "deep" / "er" / "big.bin").write_bytes(os.urandom(2_500_000))
    (top / "deep" / "even").write_bytes(os.urandom(64 << 10))
    (top / "skip.tmp").write_text("not wanted")
    (top / "link").symlink_to("deep/er")
    (top / "dangling").symlink_to("/etc/../nowhere")
    with open(os.fsencode(top) + b"/\xff\xfe \n name", "wb") as file:
        file.write(b"not UTF-8")
    os.mkfifo(top / "pipe")
    (top / "letter.txt").chmod(0o4751)
    os.utime(top / "letter.txt", (1_000_000_000, 1_000_000_000))
    os.utime(top / "deep", (1_100_000_000, 1_100_000_000))
    return top


def capture(host: object, work: Path, *paths: Path | str, exclude: tuple[str, ...] = ()) -> Tree:
    declared = FilesSource(paths=tuple(map(str, paths)), exclude=exclude)
    work.mkdir(exist_ok=True)
    return RemoteFiles("docs", declared, host).capture(work, None)  # type: ignore[arg-type]


def entries(tree: Tree) -> dict[bytes, Entry]:
    return {entry.path: entry for entry in manifest.read(tree.cwd / MANIFEST)}


def plain(entry: Entry) -> Entry:
    """Without what cannot be the same: SFTP has whole seconds, and a copy has its own number on the disk."""
    whole = entry.mtime_ns // 10**9 * 10**9 if entry.kind != "link" else 0
    return entry._replace(mtime_ns=whole, ctime_ns=0, inode=0, device=0)


def test_the_manifest_is_that_of_a_capture_made_there(far: SshHost, there: Path, tmp_path: Path) -> None:
    tree = capture(far, tmp_path / "far", there, exclude=("*.tmp",))
    (tmp_path / "near").mkdir()
    Files("docs", FilesSource(paths=(str(there),), exclude=("*.tmp", "pipe"))).capture(tmp_path / "near", None)
    near = {entry.path: plain(entry) for entry in manifest.read(tmp_path / "near" / MANIFEST)}
    far_entries = {path: plain(entry) for path, entry in entries(tree).items()}
    assert far_entries == near
    assert len(near) == 11 and os.fsencode(there) + b"/\xff\xfe \n name" in near
    assert (tree.files, tree.bytes) == (5, sum(entry.size for entry in near.values()))
    assert (tree.missing, tree.unreadable, tree.settle().changed) == ((), (), ())


def test_what_restic_gives_back_is_what_was_there(
    far: SshHost, there: Path, tmp_path: Path, restic_program: str
) -> None:
    tree = capture(far, tmp_path / "work", there, there.parent / "data" / "deep", exclude=("*.tmp",))
    repository = Repository(
        program=restic_program, location=str(tmp_path / "repo"), where="", host="x",
        env={"RESTIC_PASSWORD": "x"}, cache=tmp_path / "cache",
    )  # fmt: skip
    repository.init()
    stored = repository.backup_tree((*tree.paths, MANIFEST), cwd=tree.cwd, tags={})
    back = tmp_path / "back"
    repository.restore(stored.snapshot_id, back)
    listed = (back / MANIFEST).replace(tmp_path / "listed")
    terms = Terms(rights=os.geteuid() == 0)
    found = compare(back, listed, terms)
    assert found.holds and found.extra == 0 and found.equal == 7, found
    again = Path(f"{back}{there}")
    assert (again / "letter.txt").stat().st_mtime == 1_000_000_000
    assert (again / "deep").stat().st_mtime == 1_100_000_000
    assert stat.S_IMODE((again / "letter.txt").stat().st_mode) == 0o4751
    assert stat.S_IMODE(again.parent.stat().st_mode) == stat.S_IMODE(there.parent.stat().st_mode)
    (again / "nothing").write_text("!")  # the control: a single byte is seen
    assert compare(back, listed, terms).differ == 1


def test_what_is_missing_there_is_said(far: SshHost, there: Path, tmp_path: Path) -> None:
    tree = capture(far, tmp_path / "w", there / "empty", there / "none", there / "skip.tmp", exclude=("*.tmp",))
    assert tree.missing == (f"{there}/none", f"{there}/skip.tmp (left out by an exclude)")
    assert list(entries(tree)) == [os.fsencode(there / "empty")]
    with pytest.raises(SourceError, match=r"no declared path is on .*: /no/such"):
        capture(far, tmp_path / "x", "/no/such")


def test_a_declared_link_is_refused(far: SshHost, there: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="symbolic link"):
        capture(far, tmp_path / "w", there / "link")


def test_many_files_and_folders_come_whole(far: SshHost, tmp_path: Path) -> None:
    for number in range(600):
        folder = tmp_path / "many" / f"{number % 50}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}").write_bytes(b"%d" % number * (number % 7))
    tree = capture(far, tmp_path / "w", tmp_path / "many")
    assert tree.files == 600
    assert not compare(tree.cwd, tree.cwd / MANIFEST, Terms()).differ


# -- a host that lies, or breaks ---------------------------------------------------------------------


class _Odd:
    """A host whose file sessions answer as a test says, and otherwise as the real one's."""

    name = "odd"

    def __init__(self, real: SshHost, **answers: object) -> None:
        self._real, self._answers = real, answers
        self.run = real.run

    @contextmanager
    def files(self) -> Iterator[object]:
        with self._real.files() as session:
            for name, answer in self._answers.items():
                setattr(session, name, answer)
            yield session


FILE = Status(stat.S_IFREG | 0o644, 5, os.geteuid(), os.getegid(), 1_000_000_000)
LINK = FILE._replace(mode=stat.S_IFLNK | 0o777)
FOLDER = FILE._replace(mode=stat.S_IFDIR | 0o755)


@pytest.mark.parametrize(
    "listed",
    [
        [(b"../escaped", FILE)], [(b"/tmp/escaped", FILE)], [(b"a/b", FILE)], [(b"", FILE)], [(b"a\0b", FILE)],
        [(b"x", LINK), (b"x", FOLDER)],
    ],
    ids=["up", "absolute", "below", "empty", "NUL", "twice"],
)  # fmt: skip
def test_names_that_no_directory_can_hold_are_refused(
    far: SshHost, there: Path, tmp_path: Path, listed: list[tuple[bytes, Status]]
) -> None:
    with pytest.raises(SourceError, match="no directory can hold"):
        capture(_Odd(far, listdir=lambda path: listed), tmp_path / "w", there)
    assert not list(tmp_path.rglob("escaped")) and not Path("/tmp/escaped").exists()


def test_nothing_is_written_through_a_link_that_the_host_made_up(far: SshHost, there: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    odd = _Odd(
        far,
        lstat=lambda path: FOLDER,
        listdir=lambda path: [(b"x", LINK)] if path.endswith(b"data") else [(b"letter.txt", FILE)],
        readlink=lambda path: os.fsencode(outside),
        open=lambda path: far_open(there / "letter.txt"),
    )
    sessions = far.files()
    session = sessions.__enter__()
    far_open = lambda path: session.open(os.fsencode(path))  # noqa: E731
    with pytest.raises(SourceError):
        capture(odd, tmp_path / "w", there, f"{there}/x/y")
    sessions.__exit__(None, None, None)
    assert not list(outside.iterdir())


def test_a_file_that_may_not_be_read_is_left_out_and_told(far: SshHost, there: Path, tmp_path: Path) -> None:
    with far.files() as real:

        def opens(path: bytes) -> object:
            if path.endswith(b"letter.txt"):
                raise OSError(errno.EACCES, "no")
            if path.endswith(b"nothing"):
                raise OSError(errno.ENOENT, "gone")
            return real.open(path)

        tree = capture(_Odd(far, open=opens), tmp_path / "w", there)
    assert tree.unreadable == (f"{there}/letter.txt",)
    assert entries(tree)[os.fsencode(there / "letter.txt")].state == "unreadable"
    assert not Path(f"{tree.cwd}{there}/letter.txt").exists()
    assert os.fsencode(there / "nothing") not in entries(tree)  # went away between two looks
    assert tree.settle().vanished == 1


@pytest.mark.parametrize("change", [b"longer than it was", b""])
def test_a_file_that_changes_while_it_is_read_is_marked(
    far: SshHost, there: Path, tmp_path: Path, change: bytes
) -> None:
    with far.files() as real:

        def opens(path: bytes) -> object:
            if path.endswith(b"letter.txt"):
                (there / "letter.txt").write_bytes(change)
            return real.open(path)

        tree = capture(_Odd(far, open=opens), tmp_path / "w", there)
    entry = entries(tree)[os.fsencode(there / "letter.txt")]
    assert (entry.state, entry.size) == ("changed", len(change))
    assert tree.settle().changed == (os.fsencode(there / "letter.txt"),)


def test_a_connection_lost_half_way_stores_nothing_and_may_be_tried_again(tmp_path: Path, there: Path) -> None:
    for number in range(40):
        (there / f"{number}.bin").write_bytes(os.urandom(300_000))
    with Sshd(tmp_path / "s") as server:
        host = reach(server)
        with host.files() as real:

            def opens(path: bytes) -> object:
                if path.endswith(b"/9.bin"):  # after most of the others
                    assert server.signal_sessions(signal.SIGKILL)
                return real.open(path)

            with pytest.raises(SourceError) as caught:
                capture(_Odd(host, open=opens), tmp_path / "w", there)
        assert caught.value.retryable and list((tmp_path / "w").rglob("*.bin"))
        assert not list((tmp_path / "w").rglob(MANIFEST))
        assert capture(host, tmp_path / "again", there).files == 46
        host.close()


def test_a_folder_that_may_not_be_listed_is_told(far: SshHost, there: Path, tmp_path: Path) -> None:
    with far.files() as real:

        def lists(path: bytes) -> object:
            if path.endswith(b"deep"):
                raise OSError(errno.EACCES, "no")
            return real.listdir(path)

        tree = capture(_Odd(far, listdir=lists), tmp_path / "w", there)
    assert tree.unreadable == (f"{there}/deep",)
    assert not [path for path in entries(tree) if b"/deep/" in path]


def test_what_cannot_be_written_here_is_not_taken_for_a_fault_there(far: SshHost, there: Path, tmp_path: Path) -> None:
    odd = _Odd(far, listdir=lambda path: [(b"x" * 300, FILE)], open=lambda path: far_file)
    with far.files() as real, real.open(os.fsencode(there / "letter.txt")) as far_file:
        with pytest.raises(SourceError, match="the copy of the host's files cannot be written") as caught:
            capture(odd, tmp_path / "w", there)
    assert not caught.value.retryable
