"""Sources whose own host stores them: the manifest is as good as one made here, and independent of restic there."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dr.errors import DrError, RefusedError, SourceError
from dr.evidence import manifest
from dr.evidence.manifest import Entry
from dr.plan.source import Source
from dr.plan.source_kinds import FilesSource
from dr.run.recovery.compare import Terms, compare
from dr.sources import listing as listing_module
from dr.sources.agent import AgentFiles
from dr.sources.driver import MANIFEST, AgentCapture, Sent, SourceDriver
from dr.sources.files import Files
from dr.sources.kinds import open_source
from dr.sources.listing import hash_files, list_trees
from dr.sources.walk import excluder, walk
from dr.tools.agent import Agent
from dr.tools.restic import Repository
from dr.tools.ssh import SshHost
from tests.far import Far, reached
from tests.own_mounts import needs_mounts, own_mounts

TAGS = {"run": "r", "source": "docs"}


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    with Far(tmp_path_factory.mktemp("far")) as server:
        yield server


@pytest.fixture(scope="module")
def host(far: Far) -> Iterator[SshHost]:
    with reached(far) as host:
        yield host


@pytest.fixture(autouse=True)
def _plain(far: Far) -> Iterator[None]:
    yield
    far.plain()


@pytest.fixture
def agent(host: SshHost, restic_program: str) -> Agent:
    return Agent(host, restic_program)


@pytest.fixture
def repository(tmp_path: Path, restic_program: str) -> Repository:
    made = Repository(
        program=restic_program, location=str(tmp_path / "repo"), where="sis on offsite", host="sis",
        env={"RESTIC_PASSWORD": "x"}, cache=tmp_path / "cache",
    )  # fmt: skip
    made.init()
    return made


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """A tree on the other host, with all that trees have in them."""
    top = tmp_path / "there" / "data"
    (top / "deep" / "er").mkdir(parents=True)
    (top / "empty").mkdir(mode=0o711)
    (top / "left" / "out").mkdir(parents=True)
    (top / "left" / "out" / "kept.txt").write_text("below what is left out")
    (top / "letter.txt").write_text("a letter\n")
    (top / "nothing").touch()
    (top / "deep" / "er" / "big.bin").write_bytes(os.urandom(2_500_000))
    (top / "skip.tmp").write_text("not wanted")
    (top / "link").symlink_to("deep/er")
    (top / "dangling").symlink_to("/etc/../no where\n")
    for number, name in enumerate(
        [b"\xff\xfe \n name", b"\\back\\slash", b" lead", b"-dash", b"\x01ctl", "ü".encode()]
    ):
        with open(os.fsencode(top) + b"/" + name, "wb") as file:
            file.write(b"odd %d" % number)
    os.mkfifo(top / "pipe")
    os.utime(top / "nothing", ns=(0, -1_500_000_001))
    os.utime(top / "letter.txt", ns=(0, 4_000_000_000_123_456_789))
    (top / "letter.txt").chmod(0o4751)
    return top


def files(agent: Agent, *paths: Path | str, **more: object) -> AgentFiles:
    return AgentFiles("docs", FilesSource.model_validate({"paths": [str(p) for p in paths], **more}), agent)


def send(doors: SourceDriver, repository: Repository, work: Path, reuse: Path | None = None) -> Sent:
    work.mkdir(exist_ok=True)
    captured = doors.capture(work, reuse)
    assert isinstance(captured, AgentCapture)
    return captured.send(repository, TAGS)


def entries(work: Path) -> dict[bytes, Entry]:
    return {entry.path: entry for entry in manifest.read(work / MANIFEST)}


# -- trees -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exclude", [[], ["*.tmp"], ["left", "!kept.txt"], ["deep/*", "!*.bin"]])
def test_its_manifest_is_the_one_that_would_be_made_there(
    agent: Agent, repository: Repository, there: Path, tmp_path: Path, exclude: list[str]
) -> None:
    declared = FilesSource(paths=(str(there), f"{there}/deep/"), exclude=tuple(exclude))
    (tmp_path / "here").mkdir()
    here = Files("docs", declared).capture(tmp_path / "here", None)
    sent = send(AgentFiles("docs", declared, agent), repository, tmp_path / "far")
    assert entries(tmp_path / "far") == entries(tmp_path / "here")
    assert (sent.files, sent.bytes, sent.missing) == (here.files, here.bytes, ())
    assert sent.settled.changed == () and sent.unreadable == ()
    if not exclude:
        assert any(b"\n" in path for path in entries(tmp_path / "far"))  # odd names were there


def test_what_comes_back_is_equal_to_it_and_a_flipped_byte_is_seen(
    agent: Agent, repository: Repository, there: Path, tmp_path: Path
) -> None:
    sent = send(files(agent, there, exclude=["*.tmp"]), repository, tmp_path / "far")
    back = tmp_path / "back"
    assert not repository.restore(sent.stored.snapshot_id, back).errors
    found = compare(back, tmp_path / "far" / MANIFEST, Terms(rights=os.geteuid() == 0))
    assert found.holds and found.equal > 10 and found.extra == 0
    (back / str(there)[1:] / "deep" / "er" / "big.bin").write_bytes(os.urandom(2_500_000))
    assert compare(back, tmp_path / "far" / MANIFEST, Terms()).differ == 1


@needs_mounts
@pytest.mark.parametrize("one_filesystem", [True, False])
def test_a_listing_is_the_walk_of_this_house_across_file_systems(one_filesystem: bool) -> None:
    ours = Path("/dev/shm/dr-test")
    excluded = excluder(["/dev/pts", "/dev/fd", "/dev/std*"])
    roots = ["/dev", "/dev/shm"]
    # Of its own: other programs' shared memory comes and goes, and is much to list.
    with tempfile.TemporaryDirectory(dir="/tmp") as place, own_mounts() as mounts:
        mounts.tmpfs(ours.parent)
        ours.mkdir()
        (ours / "f").touch()
        with Far(Path(place, "far")) as server, reached(server) as host:
            walked = dict(
                walk(
                    [os.fsencode(r) for r in roots],
                    excluded=excluded,
                    one_filesystem=one_filesystem,
                    unreadable=print,
                    aside=Path(place),
                )
            )
            found = list_trees(host, roots, excluded=excluded, one_filesystem=one_filesystem).found
    assert set(found) == set(walked) and len(found) > 10 and os.fsencode(ours) + b"/f" in found
    assert {path: s.st_mode for path, s in found.items()} == {path: s.st_mode for path, s in walked.items()}


def test_known_hashes_are_used_again_while_nothing_says_that_a_file_changed(
    agent: Agent, repository: Repository, there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[bytes] = []

    def counting(host: SshHost, paths: list[bytes], *, at_once: int) -> dict[bytes, str]:
        hashed.extend(paths)
        return hash_files(host, paths, at_once=at_once)

    monkeypatch.setattr("dr.sources.agent_hashing.hash_files", counting)
    monkeypatch.setattr("dr.sources.last_hashes._RACY_NS", -60_000_000_000)  # these files were made a moment ago
    os.utime(there / "letter.txt", (1, 1))
    doors = files(agent, there)
    send(doors, repository, tmp_path / "one")
    everything = len(hashed)
    hashed.clear()
    (there / "nothing").write_text("something")
    send(doors, repository, tmp_path / "two", tmp_path / "one" / MANIFEST)
    assert everything > 8 and hashed == [os.fsencode(there / "nothing")]
    old, new = entries(tmp_path / "one"), entries(tmp_path / "two")
    assert old[hashed[0]].sha256 != new[hashed[0]].sha256
    assert {p: e for p, e in old.items() if p not in hashed} == {p: e for p, e in new.items() if p not in hashed}


def test_what_changes_meanwhile_is_said_and_never_claimed(
    agent: Agent, repository: Repository, there: Path, tmp_path: Path
) -> None:
    work = tmp_path / "far"
    work.mkdir()
    captured = files(agent, there).capture(work, None)
    assert isinstance(captured, AgentCapture)
    (there / "letter.txt").write_text("another letter")
    (there / "skip.tmp").unlink()
    (there / "new").touch()
    sent = captured.send(repository, TAGS)
    assert set(sent.settled.changed) == {os.fsencode(there / "letter.txt")}
    assert (sent.settled.vanished, sent.settled.appeared) == (1, 1)
    assert {path for path, entry in entries(work).items() if entry.state == "changed"} == {
        os.fsencode(there / name) for name in ("letter.txt", "new")
    }
    assert sent.unreadable == ()


def test_what_cannot_be_hashed_is_unreadable_when_still_there_and_else_gone(
    agent: Agent, repository: Repository, there: Path, tmp_path: Path, far: Far
) -> None:
    real = 'exec /usr/bin/sha256sum "$@"'
    far.program(
        "sha256sum",
        f'case "$*" in *skip.tmp) rm -f "{there}/skip.tmp"; {real};; *letter.txt) exit 1;; *) {real};; esac',
    )
    far.program("xargs", 'shift 2; exec /usr/bin/xargs -0 -n 1 "$@"')
    sent = send(files(agent, there), repository, tmp_path / "far")
    found = entries(tmp_path / "far")
    assert found[os.fsencode(there / "letter.txt")].state == "unreadable"
    assert str(there / "letter.txt") in sent.unreadable
    assert os.fsencode(there / "skip.tmp") not in found and sent.settled.vanished >= 1


@pytest.mark.parametrize(
    ("complaint", "unreadable"),
    [("Input/output error", True), ("Permission denied", True), ("No such file or directory", False)],
)
def test_what_find_cannot_look_at_is_unreadable_unless_it_vanished(
    agent: Agent, repository: Repository, there: Path, tmp_path: Path, far: Far, complaint: str, unreadable: bool
) -> None:
    far.program("find", f'/usr/bin/find "$@"; echo "find: \'{there}/deep\': {complaint}" >&2; exit 1')
    sent = send(files(agent, there), repository, tmp_path / "far")
    assert sent.unreadable == ((str(there / "deep"),) if unreadable else ())
    assert entries(tmp_path / "far")[os.fsencode(there / "deep")].state == ("unreadable" if unreadable else "ok")


def test_a_folder_that_may_not_be_looked_into_is_unreadable(host: SshHost, there: Path, far: Far) -> None:
    far.program(
        "find",
        'for a; do case $a in -readable) a=-true;; -executable) a=-false;; esac; set -- "$@" "$a"; shift; done; exec /usr/bin/find "$@"',
    )
    found = list_trees(host, [str(there / "deep")], excluded=excluder([]), one_filesystem=True)
    assert found.unreadable == {os.fsencode(there / "deep"), os.fsencode(there / "deep" / "er")}


@pytest.mark.parametrize(
    ("program", "text"),
    [
        ("find", 'case "$*" in *-printf*) echo "find: unrecognized: -printf" >&2; exit 1;; esac; exec /usr/bin/find "$@"'),
        ("sha256sum", 'case "$*" in *-z*) echo "sha256sum: unrecognized option: z" >&2; exit 1;; esac; exec /usr/bin/sha256sum "$@"'),
    ],
)  # fmt: skip
def test_a_host_with_other_tools_is_told_what_to_do(
    agent: Agent, there: Path, tmp_path: Path, far: Far, program: str, text: str
) -> None:
    far.program(program, text)
    with pytest.raises(SourceError, match=r"GNU|hashing") as caught:
        files(agent, there).capture(tmp_path, None)
    assert "mode: sftp" in caught.value.hint and not caught.value.retryable


def test_a_listing_that_was_cut_short_is_no_listing(agent: Agent, there: Path, tmp_path: Path, far: Far) -> None:
    far.program("find", '/usr/bin/find "$@" | head -c -5')  # amid the last record, however long it is
    with pytest.raises(SourceError, match="cut short") as caught:
        files(agent, there).capture(tmp_path, None)
    assert caught.value.retryable


def test_hashes_that_do_not_all_come_are_no_unreadable_files(host: SshHost, there: Path, far: Far) -> None:
    paths = [os.fsencode(there / name) for name in ("letter.txt", "nothing")]
    assert set(hash_files(host, paths, at_once=1)) == set(paths)
    far.program("sha256sum", '/usr/bin/sha256sum "$@" | head -c 80')
    with pytest.raises(DrError, match="cut short") as caught:
        hash_files(host, [*paths, *paths], at_once=1)
    assert caught.value.retryable


def test_declared_paths_that_are_not_there_are_told_and_links_refused(
    agent: Agent, repository: Repository, there: Path, tmp_path: Path
) -> None:
    sent = send(files(agent, there / "deep", there / "nowhere", exclude=["*.x"]), repository, tmp_path / "far")
    assert sent.missing == (str(there / "nowhere"),)
    with pytest.raises(SourceError, match="no declared path is on "):
        files(agent, there / "nowhere").capture(tmp_path, None)
    with pytest.raises(SourceError, match="symbolic link") as caught:
        files(agent, there / "link").capture(tmp_path, None)
    assert str(there / "deep/er") in caught.value.hint
    with pytest.raises(SourceError, match="not a pattern"):
        files(agent, there, exclude=["[a"]).capture(tmp_path, None)


def test_our_own_place_there_is_no_ones_data(agent: Agent, repository: Repository, far: Far, tmp_path: Path) -> None:
    (far.user_home / "mine").write_text("mine")
    sent = send(files(agent, far.user_home), repository, tmp_path / "far")
    stored = {os.fsencode(node["path"]) for node in repository.ls(sent.stored.snapshot_id)}
    assert os.fsencode(far.user_home / "mine") in stored
    assert not any(b"restic-" in path for path in (*stored, *entries(tmp_path / "far")))


def test_a_fault_of_the_target_stays_one_and_the_rest_is_the_sources(
    agent: Agent, repository: Repository, there: Path, tmp_path: Path
) -> None:
    captured = files(agent, there).capture(tmp_path, None)
    assert isinstance(captured, AgentCapture)
    repository.env["RESTIC_PASSWORD"] = "another"  # type: ignore[index]
    with pytest.raises(RefusedError):
        captured.send(repository, TAGS)


# -- commands and databases --------------------------------------------------------------------------


Opener = Callable[[dict[str, object]], SourceDriver]


@pytest.fixture
def opened(agent: Agent) -> Opener:
    def open_it(declared: dict[str, object]) -> SourceDriver:
        return open_source("docs", Source.model_validate(declared), host=agent.host, agent=agent)

    return open_it


def test_a_commands_output_has_the_manifest_of_a_stream(opened: Opener, repository: Repository, tmp_path: Path) -> None:
    doors = opened({"command": {"run": ["seq", "1", "50000"], "filename": "export.csv"}})
    sent = send(doors, repository, tmp_path / "far")
    assert doors.kind == "command" and manifest.is_stream(tmp_path / "far" / MANIFEST)
    assert (sent.files, sent.bytes) == (1, 288894)
    repository.restore(sent.stored.snapshot_id, tmp_path / "back")
    assert compare(tmp_path / "back", tmp_path / "far" / MANIFEST, Terms()).equal == 1
    (tmp_path / "back" / "export.csv").write_bytes(b"1" * 288894)
    assert compare(tmp_path / "back", tmp_path / "far" / MANIFEST, Terms()).differ == 1


def test_a_command_that_fails_is_the_sources_fault(opened: Opener, repository: Repository, tmp_path: Path) -> None:
    doors = opened({"command": {"run": ["sh", "-c", "echo half; exit 4"], "filename": "export.csv"}})
    with pytest.raises(SourceError, match="exit code 4") as caught:
        send(doors, repository, tmp_path / "far")
    assert caught.value.where == "docs"
    assert repository.snapshots() == [] and not (tmp_path / "far" / MANIFEST).exists()


def test_a_database_is_copied_whole_while_it_is_in_use(opened: Opener, repository: Repository, tmp_path: Path) -> None:
    path = tmp_path / "sis.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("pragma journal_mode = wal")
        database.execute("create table t (n)")
        database.executemany("insert into t values (?)", [(n,) for n in range(1000)])
        database.commit()
        doors = opened({"sqlite": {"path": str(path)}})
        sent = send(doors, repository, tmp_path / "far")
    repository.restore(sent.stored.snapshot_id, tmp_path / "back")
    with closing(sqlite3.connect(tmp_path / "back" / "sis.db")) as restored:
        assert restored.execute("select count(*) from t").fetchone() == (1000,)
    path.unlink()
    with pytest.raises(SourceError) as caught:
        send(doors, repository, tmp_path / "far")
    assert "is not there" in caught.value.cause
    assert len(repository.snapshots()) == 1


def test_records_cut_anywhere_are_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = b"+ 0 f\0/a b\0\0- 1 d\0/c\nd\0to\0"
    for size in range(1, len(whole) + 1):
        blocks = iter([whole[i : i + size] for i in range(0, len(whole), size)])
        assert list(listing_module._records(blocks)) == [(b"+ 0 f", b"/a b", b""), (b"- 1 d", b"/c\nd", b"to")]
    for cut in range(1, len(whole)):
        if whole[:cut].count(b"\0") % 3 or not whole[:cut].endswith(b"\0"):
            with pytest.raises(DrError, match="cut short"):
                list(listing_module._records(iter([whole[:cut]])))
