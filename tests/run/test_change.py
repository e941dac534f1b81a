"""Real backups of the example data, struck as attackers strike: what is seen, and that ordinary days are not."""

from __future__ import annotations

import copy
import os
import random
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from dr.errors import DEGRADED
from dr.evidence import manifest
from dr.evidence.change import Change, Past
from dr.evidence.manifest import Entry
from dr.evidence.record import BackupRun, SourceCapture
from dr.plan.plan import Plan
from dr.plan.target import Target
from dr.run.backup.backup import run_backup
from dr.run.backup.baseline import baseline, recorded
from dr.run.backup.change import Found, Watch
from dr.run.backup.progress import BackupRequest
from dr.run.backup.sampled_blocks import Blocks
from dr.run.workspace.open_toolbox import open_toolbox
from dr.sources.database_inventory import FILENAME, DatabaseInventory, write
from dr.sources.driver import MANIFEST
from dr.tools.restic_events import Stored
from dr.tools.restic_program import find_restic
from dr.tools.state_dir import StateDir

FIRST = datetime(2026, 9, 1, 2, tzinfo=UTC)
KEY = random.Random(5).randbytes(32)
IVS = random.Random()
EXPORT = """
import sqlite3, sys
for line in sqlite3.connect(sys.argv[1]).iterdump():
    print(line)
"""


@pytest.fixture(autouse=True)
def _the_same_each_time() -> None:
    IVS.seed(6)


def aes(data: bytes) -> bytes:
    made = Cipher(algorithms.AES(KEY), modes.CTR(IVS.randbytes(16))).encryptor()
    return made.update(data) + made.finalize()


@dataclass
class School:
    """The systems of the demo, small: photos and documents, a database, and its export; a day a backup."""

    home: Path
    day: int = 0
    past: dict[str, list[Past]] = field(default_factory=dict)
    chance: random.Random = field(default_factory=lambda: random.Random(1871))

    @property
    def share(self) -> Path:
        return self.home / "share"

    @property
    def db(self) -> Path:
        return self.home / "sis.db"

    def files(self) -> list[Path]:
        return sorted(path for path in self.share.rglob("*") if path.is_file())

    def make(self, *, real: bool) -> None:
        """Make the data; `real` files begin as their names say, those of the demo are random."""
        for number in range(300):
            folder = self.share / f"department {number % 8}" / f"year {2020 + number % 6}"
            folder.mkdir(parents=True, exist_ok=True)
            for name, begin in ((f"{number}.docx", b"PK\x03\x04"), (f"{number}.jpg", b"\xff\xd8\xff\xe0")):
                (folder / name).write_bytes((begin if real else b"") + self.chance.randbytes(1500))
            if real:
                (folder / f"{number}.txt").write_text(f"minutes of meeting {number}, as agreed\n" * 30)
        with closing(sqlite3.connect(self.db)) as database, database:
            database.execute("create table students (id integer primary key, name text)")
            database.execute("create table attendance (id integer primary key, student integer, seen text, note text)")
            names = [(f"Student number {n}",) for n in range(3000)]
            database.executemany("insert into students (name) values (?)", names)
            seen = [(n % 3000, f"2026-09-{n % 28 + 1:02d}", f"present, lesson {n % 7}") for n in range(20_000)]
            database.executemany("insert into attendance (student, seen, note) values (?, ?, ?)", seen)

    def sql(self, *statements: str, rows: Callable[[str], str] | None = None) -> None:
        with closing(sqlite3.connect(self.db)) as database, database:
            if rows:
                database.create_function("hidden", 1, rows)
            for statement in statements:
                database.execute(statement)

    def ordinary_day(self) -> None:
        for path in self.chance.sample(self.files(), 6):
            path.write_bytes(path.read_bytes() + b" edited")
        (self.share / "department 1" / f"new {self.day}.docx").write_bytes(b"PK\x03\x04" + os.urandom(900))
        self.chance.choice(self.files()).unlink()
        self.sql(
            "insert into attendance (student, seen, note) "
            f"select id, '2026-10-{self.day % 28 + 1:02d}', 'present, lesson 1' from students where id % 40 = 1"
        )

    def backup(self, *sources: str) -> BackupRun:
        """Back up as of the next day, all or some sources, and remember what was ordinary."""
        self.day += 1
        now = FIRST + timedelta(days=self.day)
        request = self._request(now)
        done = run_backup(self._toolbox(*sources), request)
        recorded(request.reuse)
        assert done.run.complete, done.run
        assert done.run.outcome == ("degraded" if done.run.suspect else "ok")
        assert done.exit_code == (DEGRADED if done.run.suspect else 0)
        if not done.run.suspect:
            for capture in done.run.sources:
                assert capture.change
                self.past.setdefault(capture.source, []).append(Past(now, capture.change))
        return done.run

    def grow_old(self, days: int = 40) -> None:
        """Let the last day's change have been that of many days before."""
        self.day += days
        for known in self.past.values():
            last = known[-1].change
            known += [Past(FIRST + timedelta(days=self.day - n), last) for n in range(days - 1, -1, -1)]

    def _request(self, now: datetime) -> BackupRequest:
        return BackupRequest(
            run_id=f"run-{self.day}",
            clock=lambda: now,
            reuse=self.home / "state" / "cache" / "manifests",
            history={name: tuple(known) for name, known in self.past.items()},
        )

    def _toolbox(self, *chosen: str) -> Any:
        export = [sys.executable, "-c", EXPORT, str(self.db)]
        sources = {
            "share": {"files": {"paths": [str(self.share)]}},
            "database": {"sqlite": {"path": str(self.db)}},
            "export": {"command": {"run": export, "filename": "sis.sql"}},
        }
        plan = Plan.model_validate({
            "system": "sis",
            "objectives": {"rto": "2h", "rpo": "24h"},
            "sources": {name: sources[name] for name in chosen or sources},
            "targets": ["near"],
        })  # fmt: skip
        near = Target.model_validate({"target": "near", "local": {"path": self.home / "near"}})
        return open_toolbox(
            plan, {"near": near}, digest="0" * 64, state=StateDir(self.home / "state"), plan_dir=self.home,
            restic=find_restic(os.environ), versions={},
        )  # fmt: skip


def begun(home: Path, *sources: str, real: bool) -> School:
    """A school after forty ordinary days."""
    school = School(home)
    school.make(real=real)
    school.backup(*sources)
    school.ordinary_day()
    assert school.backup(*sources).suspect is None
    school.grow_old()
    school.ordinary_day()
    assert school.backup(*sources).suspect is None, "the negative control: an ordinary day more"
    return school


@pytest.fixture(scope="session")
def _begun(tmp_path_factory: pytest.TempPathFactory) -> School:
    school = begun(tmp_path_factory.mktemp("school"), real=True)
    shutil.copytree(school.home, school.home.with_name("school-kept"))
    return school


@pytest.fixture
def school(_begun: School) -> School:
    """The school as it was: its paths must stay, so it is put back in place."""
    shutil.rmtree(_begun.home)
    shutil.copytree(_begun.home.with_name("school-kept"), _begun.home)
    return copy.deepcopy(_begun)


def change_of(run: BackupRun, source: str) -> Change:
    found: SourceCapture = next(capture for capture in run.sources if capture.source == source)
    assert found.change
    return found.change


def in_place(school: School) -> None:
    for path in school.files():
        path.write_bytes(aes(path.read_bytes()))


def renamed(school: School) -> None:
    for path in school.files():
        path.with_name(f"{path.name}.locked").write_bytes(aes(path.read_bytes()))
        path.unlink()


def under_other_names(school: School) -> None:
    for path in school.files():
        path.with_name(os.urandom(8).hex()).write_bytes(aes(path.read_bytes()))
        path.unlink()


def deleted(school: School) -> None:
    for path in school.files()[:-80]:
        path.unlink()


def beginnings_alone(school: School) -> None:
    """Intermittent encryption, as the fastest do it."""
    for path in school.files():
        data = path.read_bytes()
        path.write_bytes(aes(data[:1024]) + data[1024:])


def wiped(school: School) -> None:
    for path in school.files():
        path.write_bytes(bytes(len(path.read_bytes())))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strike", "words"),
    [
        (in_place, "100 % of those sampled look encrypted"),
        (renamed, "a new name that ends in .locked"),
        (under_other_names, "100 % of those sampled look encrypted"),
        (beginnings_alone, "of those sampled look encrypted"),
        (deleted, "files are gone, usually 1"),
        (wiped, "of 900 files changed, usually 6"),
    ],
)
def test_an_attack_on_the_files_makes_the_point_suspect(
    school: School, strike: Callable[[School], None], words: str
) -> None:
    strike(school)
    run = school.backup("share")
    assert words in (run.suspect or "")
    assert run.suspect.startswith("share: ")  # type: ignore[union-attr]


@pytest.mark.slow
def test_the_demos_random_files_are_told_by_how_many_changed(tmp_path: Path) -> None:
    """Their content was random before: there is nothing to see in it."""
    school = begun(tmp_path, "share", real=False)
    in_place(school)
    assert "600 of 600 files changed, usually" in (school.backup("share").suspect or "")


@pytest.mark.slow
def test_a_twentieth_a_day_is_seen_within_three_days(school: School) -> None:
    left, found = school.files(), None
    school.chance.shuffle(left)
    while not found and len(left) > 900 - 4 * 45:
        for path in left[:45]:
            path.write_bytes(aes(path.read_bytes()))
        del left[:45]
        found = school.backup("share").suspect
    assert found and len(left) >= 900 - 3 * 45


def cipher_rows(text: str) -> str:
    return aes(str(text).encode()).hex()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statements", "words"),
    [
        pytest.param(
            ["update attendance set note = hidden(note), seen = hidden(seen)", "update students set name = hidden(name)"],
            "samples of it keep", id="encrypted rows",
        ),
        pytest.param(["delete from attendance"], "where it held", id="an emptied table"),
    ],
)  # fmt: skip
def test_an_attack_on_the_database_is_seen_in_its_dump(school: School, statements: list[str], words: str) -> None:
    school.sql(*statements, rows=cipher_rows)
    suspect = school.backup("database", "export").suspect or ""
    assert words in suspect
    assert "export: " in suspect and "database: " in suspect


@pytest.mark.slow
def test_an_encrypted_database_file_no_longer_begins_as_one(school: School, tmp_path: Path) -> None:
    before = change_of(school.backup("database"), "database")
    assert (before.head, before.before) == ("an SQLite database", 1)
    blocks = Blocks()
    blocks.feed(aes(school.db.read_bytes()))
    assert blocks.measured()["head"] == "encrypted"


@pytest.mark.slow
def test_ordinary_weeks_with_real_backups_raise_no_alarm(school: School) -> None:
    """A term's start, photo day, a department's clean-up, logs rotated, a year moved to the archive, a migration."""
    logs = school.share / "logs"
    for day in range(9):
        school.ordinary_day()
        if day == 1:  # 30 % new files
            for number in range(270):
                (school.share / f"term {number}.docx").write_bytes(b"PK\x03\x04" + os.urandom(600))
        elif day == 2:
            for number in range(900):
                (school.share / f"photo {number}.jpg").write_bytes(b"\xff\xd8\xff\xe0" + os.urandom(600))
        elif day == 3:
            logs.mkdir()
            for number in range(40):
                (logs / f"{number}.log").write_text("a line of a log\n" * 60)
        elif day == 4:
            for number in range(40):
                (logs / f"{number}.log").rename(logs / f"{number}.log.1")
                (logs / f"{number}.log").write_text("another line\n" * 40)
        elif day == 5:
            (school.share / "archive").mkdir()
            for folder in school.share.glob("department */year 2020"):
                folder.rename(school.share / "archive" / f"{folder.parent.name} 2020")
        elif day == 6:
            school.sql(
                "alter table attendance add column lesson integer", "update attendance set lesson = id % 7",
                "create index by_student on attendance (student)",
            )  # fmt: skip
        elif day == 7:
            for path in school.files()[:150]:
                path.unlink()
        run = school.backup(*(["database", "export"] if day in (6, 8) else ["share"]))
        assert run.suspect is None, (day, run.suspect)


@pytest.mark.slow
def test_what_a_killed_run_had_seen_is_seen_by_the_next(school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    """It had captured the struck files, and their manifest is kept for its hashes; but nobody was told."""
    in_place(school)
    with monkeypatch.context() as dying, pytest.raises(KeyboardInterrupt):
        dying.setattr("dr.run.backup.backup.judge", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        school.backup("share")
    reuse = school.home / "state" / "cache" / "manifests"
    assert baseline(reuse, "share") != reuse / "share"
    assert "900 of 900 files changed" in (school.backup("share").suspect or "")
    assert baseline(reuse, "share") == reuse / "share"
    school.ordinary_day()
    assert school.backup("share").suspect is None, "once recorded, it is compared with no more"


def test_no_other_run_is_suspect_where_nothing_was_before(tmp_path: Path) -> None:
    school = School(tmp_path)
    school.make(real=True)
    run = school.backup("share")
    change = change_of(run, "share")
    assert (run.suspect, change.before, change.unsampled) == (None, None, "nothing to compare with")


def test_what_looks_strange_is_listed_for_the_owner_alone(school: School) -> None:
    in_place(school)
    run = school.backup("share")
    listed = school.home / "state" / "details" / f"{run.run_id}.txt"
    assert listed.stat().st_mode & 0o777 == 0o600
    assert len(listed.read_text().splitlines()) == change_of(run, "share").strange == 150
    assert str(listed) in run.notes[-1]


# -- the measuring -------------------------------------------------------------------------------------


def listed(path: Path, files: dict[str, bytes | str]) -> Path:
    """A manifest of files: name to hash."""
    entries = [
        Entry(os.fsencode(name), "file", 5000, digest if isinstance(digest, str) else digest.hex(), 0o100644)
        for name, digest in files.items()
    ]
    header = manifest.header_of(source="a", kind="files", started=FIRST)
    manifest.write(path, header, [Entry(b"/a", "dir"), *entries])
    return path


def test_two_manifests_tell_changed_from_moved_renamed_and_gone(tmp_path: Path) -> None:
    old = listed(tmp_path / "old", {
        "/a/same": "1", "/a/changed": "2", "/a/moved": "3", "/a/letter.docx": "4", "/a/list.xlsx": "5", "/a/gone": "6",
    })  # fmt: skip
    new = listed(tmp_path / "new", {
        "/a/same": "1", "/a/changed": "22", "/b/moved": "3", "/a/letter.docx.enc": "44", "/a/list.enc": "55",
        "/a/new": "7", **{f"/{n}/note.txt": "8" for n in range(3)},
    })  # fmt: skip
    found = Found.between(old, new)
    assert (found.before, found.files, found.moved) == (6, 9, 1)
    assert [(entry.path, named) for entry, named in found.changed] == [
        (b"/a/changed", b"/a/changed"), (b"/a/letter.docx.enc", b"/a/letter.docx"), (b"/a/list.enc", b"/a/list.xlsx"),
    ]  # fmt: skip
    assert [entry.path for entry in found.removed] == [b"/a/gone"]
    assert {entry.path for entry in found.added} == {b"/a/new", b"/0/note.txt", b"/1/note.txt", b"/2/note.txt"}
    assert found.extension() == ("enc", 2)
    assert found.note()[1] == 3


def test_a_manifest_compared_with_itself_has_no_difference(tmp_path: Path) -> None:
    old = listed(tmp_path / "old", {f'/a/quoted " , "file", {n}': str(n) for n in range(50)})
    found = Found.between(old, old)
    assert (found.before, found.files, found.added, found.changed, found.removed) == (50, 50, [], [], [])


def test_other_rights_or_times_alone_are_no_change(tmp_path: Path) -> None:
    old, new = listed(tmp_path / "old", {"/a": "1", "/b": "2"}), tmp_path / "new"
    touched = [entry._replace(mode=0o100600, uid=7, mtime_ns=9) for entry in manifest.read(old)]
    manifest.write(new, manifest.header_of(source="a", kind="files", started=FIRST), touched)
    found = Found.between(old, new)
    assert (found.before, found.files, found.added, found.changed, found.removed) == (2, 2, [], [], [])


def test_a_last_manifest_that_cannot_be_read_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("no manifest\n")
    listed(tmp_path / MANIFEST, {"/a": "1"})
    change = Watch("a", tmp_path / "old", "seed").away(tmp_path, Stored("id", 1, 5000, 100, raw_added=200))
    assert (change.before, change.unsampled) == (None, "nothing to compare with") or change.before is None
    assert (change.raw_added, change.packed_added) == (200, 100)


def test_what_its_host_stored_has_counts_and_says_that_content_was_not_seen(tmp_path: Path) -> None:
    old = listed(tmp_path / "old", {"/a": "1", "/b": "2", "/c": "3"})
    listed(tmp_path / MANIFEST, {"/a": "1", "/b": "22"})
    change = Watch("a", old, "seed").away(tmp_path, Stored("id", 1, 5000, 100, raw_added=200))
    assert (change.before, change.changed, change.removed, change.sampled) == (3, 1, 1, 0)
    assert "does not pass through this machine" in change.unsampled


def test_emptied_tables_are_counted_by_the_facts_of_two_captures(tmp_path: Path) -> None:
    old = listed(tmp_path / "database", {"/dump": "1"})
    listed(tmp_path / MANIFEST, {"/dump": "2"})
    write(tmp_path / f"database.{FILENAME}", DatabaseInventory(rows={"a.b.c": 500, "a.b.d": 70}))
    write(tmp_path / FILENAME, DatabaseInventory(rows={"a.b.c": 0, "a.b.d": 90}))
    change = Watch("database", old, "seed").stream(tmp_path, {})
    assert (change.emptied_rows, change.rows, change.rows_before) == (500, 90, 570)


@pytest.mark.parametrize("size", [0, 10, 20_000, 3_000_000, 20_000_000])
@pytest.mark.parametrize("chunk", [1000, 70_000, 1 << 20])
def test_a_bounded_number_of_blocks_is_kept_of_any_stream(size: int, chunk: int) -> None:
    blocks, watch = os.urandom(size), Watch("a", None, "seed")
    passed = b"".join(watch.passing(blocks[n : n + chunk] for n in range(0, size, chunk)))
    assert passed == blocks
    kept = watch._blocks._kept
    assert len(kept) <= 97
    assert all(block in blocks for block in kept[:5])
    measured = watch._blocks.measured()
    assert measured["size"] == size
    assert size < 100 or measured["packed"] > 0.98


def test_a_change_survives_its_way_through_json() -> None:
    from dr.evidence.seal import encode

    change = Change(files=3, before=2, changed=1, packed=0.25, head="text", extension=".x")
    assert Change.of({**encode(change), "of a later release": 1}) == change
    assert replace(change, added=4).loudness == change.loudness, "who adds loses nothing"


def test_files_of_a_host_with_nothing_but_sshd_are_sampled_in_their_copy(sshd: Any, tmp_path: Path) -> None:
    from dr.plan.source_kinds import FilesSource
    from dr.sources.remote_files import RemoteFiles
    from dr.tools.ssh import SshHost
    from tests.far import login

    there = tmp_path / "there"
    there.mkdir()
    for number in range(12):
        (there / f"{number}.docx").write_bytes(b"PK\x03\x04" + os.urandom(900))
    host = SshHost(login(sshd))
    try:
        doors = RemoteFiles("docs", FilesSource(paths=(str(there),)), host)
        works = [tmp_path / name for name in ("first", "second")]
        for work in works:
            work.mkdir()
        first = doors.capture(works[0], None)
        for path in sorted(there.iterdir())[:5]:
            path.write_bytes(aes(path.read_bytes()))
        second = doors.capture(works[1], None)
        change = Watch("docs", first.cwd / MANIFEST, "seed").tree(second, {})
        calm = Watch("docs", second.cwd / MANIFEST, "seed").tree(second, {})
    finally:
        host.close()
    assert (change.before, change.changed, change.sampled, change.strange) == (12, 5, 5, 5)
    assert (calm.changed, calm.sampled) == (0, 0)
