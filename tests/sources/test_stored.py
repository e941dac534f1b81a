"""What restic stored, held against the manifest: here, copied by SFTP, and stored by its own host."""

from __future__ import annotations

import os
import random
import re
import shlex
import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from dr.evidence import manifest
from dr.evidence.manifest import Entry
from dr.plan.source_kinds import FilesSource
from dr.run.recovery.compare import Terms, compare
from dr.sources import sorted_lines
from dr.sources.agent import AgentFiles
from dr.sources.driver import MANIFEST, AgentCapture, Kept, Settled, Tree
from dr.sources.files import Files
from dr.sources.remote_files import RemoteFiles
from dr.sources.stored import Reconciled, counts_agree, reconcile
from dr.tools.agent import Agent
from dr.tools.restic import Repository
from dr.tools.ssh import SshHost
from tests.far import Far, reached
from tests.racing import Race

TAGS = {"run": "r", "source": "docs"}
ODD = [b"\xff\xfe name", b"cut \xe2\x82", "ü".encode(), b"\xff\xfd name"]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshHost]:
    with Far(tmp_path_factory.mktemp("far")) as server, reached(server) as host:
        yield host


@pytest.fixture(scope="module")
def kept_in(restic_program: str, tmp_path_factory: pytest.TempPathFactory) -> Listed:
    """One repository for all."""
    home = tmp_path_factory.mktemp("stored")
    made = Listed(
        program=restic_program, location=str(home / "repo"), where="sis on offsite", host="sis",
        env={"RESTIC_PASSWORD": "x"}, cache=home / "cache",
    )  # fmt: skip
    made.init()
    return made


@dataclass(frozen=True, kw_only=True)
class Listed(Repository):
    """A repository that notes which snapshots are listed."""

    asked: list[str] = field(default_factory=list)

    def nodes(self, snapshot_id: str) -> Iterator[dict[str, Any]]:
        self.asked.append(snapshot_id)
        return super().nodes(snapshot_id)


@dataclass
class Held:
    """One capture that was stored: the manifest as it is then, and what the snapshot has."""

    settled: Settled
    listed: Path
    snapshot: str
    asked: list[str]  # the snapshots that were listed to learn it
    repository: Repository
    tops: tuple[Path, ...]

    @property
    def entries(self) -> dict[bytes, Entry]:
        return {entry.path: entry for entry in manifest.read(self.listed)}

    def agrees(self) -> bool:
        """Whether what comes back is what the manifest says, no more and no less."""
        back = self.listed.parent / "back"
        include = [str(top) for top in self.tops]
        assert not self.repository.restore(self.snapshot, back, include=include).errors
        found = compare(back, self.listed, Terms())
        return found.holds and found.extra == 0


class Stage:
    """One of the ways in which a tree is captured, and a race around it."""

    def __init__(self, way: str, host: SshHost, repository: Listed, tmp_path: Path, restic: str) -> None:
        self.way, self._host, self._home = way, host, tmp_path
        self.race = Race(tmp_path / "race", restic)
        self.repository = repository
        self.top = tmp_path / "data"
        (self.top / "deep" / "er").mkdir(parents=True)
        (self.top / "empty").mkdir()
        for number, name in enumerate(("one", "two", "deep/three", "deep/er/four")):
            (self.top / name).write_text(f"file {number}")
        for name in ODD:
            Path(os.fsdecode(os.fsencode(self.top) + b"/" + name)).write_bytes(name)
        (self.top / "link").symlink_to("one")
        os.mkfifo(self.top / "pipe")
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(self.top / "socket"))

    @property
    def raced(self) -> str:
        """The tree that restic walks, for a shell: by SFTP that is the copy."""
        copy = self._home / "work" / "tree"
        return shlex.quote(f"{copy}{self.top}" if self.way == "sftp" else str(self.top))

    def hold(self, *more: Path) -> Held:
        """Capture the tree, store it, and settle it."""
        work, tops = self._home / "work", (self.top, *more)
        work.mkdir()
        declared = FilesSource(paths=tuple(map(str, tops)))
        if self.way == "agent":
            away = AgentFiles("docs", declared, Agent(self._host, str(self.race.program))).capture(work, None)
            assert isinstance(away, AgentCapture)
            sent = away.send(self.repository, TAGS)
            return self._held(sent.settled, work / MANIFEST, sent.stored.snapshot_id, tops)
        doors = Files("docs", declared) if self.way == "here" else RemoteFiles("docs", declared, self._host)
        tree = doors.capture(work, None)
        assert isinstance(tree, Tree)
        raced = replace(self.repository, program=str(self.race.program))
        stored = raced.backup_tree((*tree.paths, MANIFEST), cwd=tree.cwd, tags=TAGS)
        nodes = Kept(stored.files - 1, stored.dirs, lambda: self.repository.nodes(stored.snapshot_id), beside=True)
        return self._held(tree.settle([nodes]), tree.cwd / MANIFEST, stored.snapshot_id, tops)

    def _held(self, settled: Settled, listed: Path, snapshot: str, tops: tuple[Path, ...]) -> Held:
        return Held(
            settled, listed, snapshot, [x for x in self.repository.asked if x == snapshot], self.repository, tops
        )


@pytest.fixture(params=["here", "sftp", "agent"])
def stage(request: pytest.FixtureRequest, host: SshHost, kept_in: Listed, tmp_path: Path, restic_program: str) -> Stage:
    return Stage(request.param, host, kept_in, tmp_path, restic_program)


def test_what_is_stored_as_it_was_listed_is_not_listed_again(stage: Stage) -> None:
    held = stage.hold()
    assert held.asked == [] and not held.settled.amended
    assert (held.settled.appeared, held.settled.unstored, held.settled.omissions) == (0, (), ())
    assert held.agrees()


def test_what_came_and_went_before_restic_saw_it_leaves_a_manifest_that_agrees(stage: Stage) -> None:
    stage.race.run(
        f"cd {stage.raced}; rm -r two deep/er link; echo new >new; mkdir fresh; echo more >fresh/more; >fresh/third"
    )
    held = stage.hold()
    names = {os.path.relpath(path, os.fsencode(stage.top)) for path in held.entries}
    assert names >= {b"one", b"deep/three", b"new", b"fresh", b"fresh/more"} and not names & {
        b"two",
        b"deep/er",
        b"link",
    }
    assert held.entries[os.fsencode(stage.top) + b"/new"].state == "changed", "nobody but restic has read it"
    assert (held.settled.vanished, held.settled.appeared) == (4, 4)
    assert (held.settled.unstored, held.settled.omissions) == ((), ())
    assert held.settled.amended and held.agrees()


def test_as_many_that_came_as_went_are_seen_too(stage: Stage) -> None:
    if stage.way == "sftp":  # nothing but restic's counts is looked at there: nobody changes the copy
        return
    stage.race.run(f"cd {stage.raced}; rm two; echo new >new")
    held = stage.hold()
    assert (held.settled.vanished, held.settled.appeared) == (1, 1) and held.agrees()


def test_what_was_away_while_restic_read_and_is_back_is_not_in_the_point(stage: Stage) -> None:
    stage.race.run(f"mv {stage.raced}/deep {stage.raced}-away", f"mv {stage.raced}-away {stage.raced}/deep")
    held = stage.hold()
    top = os.fsencode(stage.top)
    assert set(held.settled.unstored) == {
        top + name for name in (b"/deep", b"/deep/er", b"/deep/three", b"/deep/er/four")
    }
    assert held.entries[top + b"/deep/three"].state == "unreadable", "no drill is to look for it"
    assert held.settled.omissions == () and held.settled.appeared == 0
    assert held.agrees()


def test_a_declared_path_that_went_away_meanwhile_is_missing(stage: Stage) -> None:
    other = stage.top.parent / "other"
    (other / "b").mkdir(parents=True)
    for number in range(3):
        (other / "b" / str(number)).write_text("x")
    place = stage.raced.replace(str(stage.top), str(other))
    stage.race.run(f"rm -r {place}/b")
    held = stage.hold(other)
    (omission,) = held.settled.omissions
    assert omission.partial and omission.names == (str(other),)
    assert omission.what == f"{other} went away while it was captured: none of its 3 file(s) is in the point"


def test_what_no_text_can_name_is_told_apart_by_its_number(stage: Stage) -> None:
    stage.race.run(f"cd {stage.raced}; rm *name one")
    held = stage.hold()
    left = {os.path.basename(path) for path in held.entries}
    assert not left & {ODD[0], ODD[3], b"one"} and left >= {ODD[1], ODD[2], b"two"}
    assert held.agrees()


def test_our_own_manifest_beside_a_whole_host_is_nothing_that_came(tmp_path: Path) -> None:
    odd = [Entry(os.fsencode("/etc/😀"), "dir", 4096), Entry(b"/etc/link", "link", 5, link_target=b"hosts")]
    entries = [Entry(b"/", "dir", 4096), Entry(b"/etc", "dir", 4096), Entry(b"/etc/hosts", "file", 5), *odd]
    nodes = [
        {"path": "/dr-manifest", "type": "file", "size": 9},
        {"path": "/etc", "type": "dir"},
        {"path": "/etc/hosts", "type": "file", "size": 5},
        {"path": "/etc/😀", "type": "dir"},
        {"path": "/etc/link", "type": "symlink", "linktarget": "hosts"},
    ]
    kept = Kept(1, 2, lambda: nodes, beside=True)
    assert counts_agree(entries, ["/"], [kept])
    found = held_against(entries, [kept], tmp_path, held={"/": [1, 5]})
    assert not found.alters and (found.gone, found.omissions) == (0, ())
    theirs = Kept(2, 2, lambda: nodes)
    assert len(held_against(entries, [theirs], tmp_path).more) == 1, "the control: a file of the host's"


def held_against(
    entries: list[Entry], kept: list[Kept], aside: Path, *, tops: tuple[str, ...] = ("/",), **more: Any
) -> Reconciled:
    lines = sorted(map(manifest.line_of, entries))
    return reconcile(lambda: lines, tops, kept, lstat=os.lstat, aside=aside / "stored", **{"held": {}, **more})


@pytest.mark.parametrize("seed", range(20))
def test_what_differs_is_told_of_any_tree_whatever_its_names(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sorted_lines, "_PIECE", 5)
    chance = random.Random(seed)
    names = ["a", "a.b", "a b", 'a"', "ü", "\\", "\udc80", "\udc81", "\ufffd", "\U0001f600", "\n", "~"]
    paths = {"/" + "/".join(chance.choices(names, k=chance.randint(1, 3))) for _ in range(60)} - {"/s"}
    here = [Entry(os.fsencode(path), "file", len(path)) for path in sorted(paths)]
    gone, came = (set(chance.sample(range(len(here)), k=chance.randint(0, 9))) for _ in range(2))
    said = [{"path": e.path.decode("utf-8", "surrogateescape"), "type": "file", "size": e.size} for e in here]
    for node in said:
        node["path"] = re.sub("[\udc80-\udcff]", "\ufffd", str(node["path"]))
    kept = Kept(0, 0, lambda: [node for number, node in enumerate(said) if number not in gone])
    listed = [entry for number, entry in enumerate(here) if number not in came]
    found = held_against(listed, [kept], tmp_path, tops=("/",))
    after = {e.path: e for e in map(manifest.entry_of, found.amended(sorted(map(manifest.line_of, listed))))}
    alike = Counter(str(node["path"]) for node in said)
    plain = {number for number, node in enumerate(said) if alike[str(node["path"])] == 1}
    for number in plain:
        path = here[number].path
        if number in gone:
            assert path not in after, "nothing is there, and no snapshot has it"
        elif "\ufffd" not in str(said[number]["path"]):
            assert after[path].state == ("changed" if number in came else "ok")
        elif number not in came:
            assert after[path].state == "ok"
    assert os.listdir(tmp_path) == []
