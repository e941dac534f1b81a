"""The catalog: several threads and processes, tampering, damage, and the way back."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import random
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dr.catalog.aborted import INTERRUPTED
from dr.catalog.migrations import STEPS
from dr.catalog.store import Catalog
from dr.catalog.values import AdoptedPoint, Locked
from dr.errors import CatalogError
from dr.evidence.acts import NewBeginning
from dr.evidence.look import LateCopy, Look
from dr.evidence.record import BackupRun, Drill, ObjectivesThen, Proof, SourceCapture, TargetState
from dr.operations.makers import adopted
from dr.plan.units import format_bytes
from dr.run.points.discover import points_from
from dr.tools.restic_events import Snapshot, snapshot_of
from dr.tools.state_dir import StateDir
from tests.catalog.adoption import adopt

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def run(
    name: str, *, system: str = "sis", hours: float = 0, outcome: str = "ok", targets: tuple[str, ...] = ("t",)
) -> BackupRun:
    at = NOON + timedelta(hours=hours)
    return BackupRun(
        run_id=name, system=system, outcome=outcome, started=at, finished=at + timedelta(minutes=5),  # type: ignore[arg-type]
        consistency_time=at, complete=outcome != "failed", targets=tuple(
            TargetState(target=t, outcome="ok", snapshots={"a": f"{name}-{t}"}) for t in targets),
        sources=(SourceCapture(source="a", kind="files", outcome="ok" if outcome != "failed" else "failed", snapshot_id="x", bytes=9),),
    )  # fmt: skip


def proof(*, level: int = 3, points: tuple[str, ...] = (), damaged: tuple[str, ...] = ()) -> Proof:
    return Proof(
        run_id=f"verify-{os.urandom(4).hex()}", system="sis", target="t", started=NOON, finished=NOON,
        outcome="failed" if damaged else "ok", level_asked=3, level_reached=level, points=points, damaged_points=damaged,
    )  # fmt: skip


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    with Catalog.open(StateDir(tmp_path)) as made:
        yield made


def _raw(catalog_dir: Path, *statements: str) -> None:
    database = sqlite3.connect(catalog_dir / "catalog.sqlite")
    with database:
        for statement in statements:
            database.execute(statement)
    database.close()


def test_points_are_newest_first_and_only_whole_ones_count(catalog: Catalog) -> None:
    catalog.record(run("old"))
    catalog.record(run("new", hours=4))
    catalog.record(run("bad", hours=8, outcome="failed"))
    assert [(p.run_id, p.complete) for p in catalog.points(["sis"])] == [("bad", False), ("new", True), ("old", True)]
    standing = catalog.standings(["sis"], now=NOON + timedelta(hours=9), since=NOON - timedelta(days=1))["sis"]
    assert standing.consistency_time == NOON + timedelta(hours=4)
    assert standing.exposure_seconds == 5 * 3600, "from the last whole point to now"
    assert standing.backup is not None and standing.backup.outcome == "failed"


def test_exposure_is_from_one_capture_to_the_finish_of_the_next(catalog: Catalog) -> None:
    for hours in (0, 6, 8):
        catalog.record(run(f"r{hours}", hours=hours))
    standing = catalog.standings(["sis"], now=NOON + timedelta(hours=8.5), since=NOON)["sis"]
    assert standing.exposure_seconds == 6 * 3600 + 300


def test_until_when_points_are_locked_is_kept_and_what_ran_out_is_counted(catalog: Catalog) -> None:
    for name in ("a", "b"):
        catalog.record(run(name, targets=("t", "u")))
    day = timedelta(days=1)
    ends = {"a-t": (NOON + 10 * day, NOON + 20 * day)}
    catalog.protect("sis", [Locked("t", "compliance", lambda ids: ends.get(*ids))])
    (a,) = [point for point in catalog.points() if point.run_id == "a"]
    assert [(c.lock_mode, c.protected_until, c.locked_until) for c in sorted(a.copies, key=lambda c: c.target)] == [
        ("compliance", NOON + 10 * day, NOON + 20 * day), ("", None, None),
    ]  # fmt: skip

    def unlocked(after: timedelta) -> int:
        return catalog.standings(["sis"], now=NOON + after, since=NOON)["sis"].unlocked_points

    assert (unlocked(9 * day), unlocked(11 * day)) == (0, 1)
    catalog.record(run("c", hours=1))
    assert unlocked(11 * day) == 1, "what never had a lock has not lost one"
    catalog.protect("sis", [Locked("t", "compliance", lambda ids: None)])
    assert unlocked(11 * day) == 0


def test_damage_turns_off_the_proof_of_exactly_the_points_named(catalog: Catalog) -> None:
    for name in ("a", "b"):
        catalog.record(run(name))
    catalog.record(proof(points=("a", "b")))
    assert {p.run_id: p.proof_level for p in catalog.points()} == {"a": 3, "b": 3}
    catalog.record(proof(level=0, points=("b",), damaged=("a",)))
    assert {p.run_id: (p.proof_level, p.complete) for p in catalog.points()} == {"a": (0, False), "b": (3, True)}
    catalog.record(proof(points=("a", "b")))
    assert {p.run_id: p.complete for p in catalog.points()} == {"a": True, "b": True}


def test_a_drill_raises_the_proof_of_the_copy_it_used(catalog: Catalog) -> None:
    catalog.record(run("a", targets=("t", "u")))
    drill = Drill(
        drill_id="d", system="sis", scenario="system-loss", real=False, outcome="ok", t_loss=NOON, started=NOON,
        finished=NOON, objectives=ObjectivesThen(rto_seconds=1, rpo_seconds=1), run_id="a", target="u", proof_level=5,
    )  # fmt: skip
    catalog.record(drill)
    assert {c.target: c.proof_level for c in catalog.points()[0].copies} == {"t": 0, "u": 5}


def test_a_target_that_missed_points_is_known(catalog: Catalog) -> None:
    catalog.record(run("a"))
    catalog.record(run("b", hours=1, targets=("t", "u")))
    assert [p.run_id for p in catalog.missing_on("sis", "u")] == ["a"]
    late = LateCopy(run_id="a", target="u", snapshots={"a": "later"}, manifests={})
    catalog.record(dataclasses.replace(run("c", hours=2, targets=()), late_copies=(late,)))
    assert catalog.missing_on("sis", "u") == []
    catalog.looked("sis", [Look(target="u", at=NOON, lost=("a",), noticed=("a",))])
    assert catalog.missing_on("sis", "u") == [], "what was lost there is not brought again until a person looked"
    catalog.record(
        NewBeginning(
            run_id="begin", system="sis", target="u", found="nothing", because="a new disk", points=("a", "b"),
            started=NOON, finished=NOON,
        )
    )  # fmt: skip
    assert [p.run_id for p in catalog.missing_on("sis", "u")] == ["b", "a"]
    known = catalog.repositories("sis")
    assert known["u"].begun and not known["u"].held and known["t"].held


def test_what_a_look_did_not_find_counts_for_nothing_until_it_is_found_again(catalog: Catalog) -> None:
    catalog.record(run("a"))
    catalog.record(run("b", hours=1))
    catalog.record(proof(points=("a", "b")))
    later = NOON + timedelta(hours=2)
    catalog.looked("sis", [Look(target="t", at=later, lost=("b",), noticed=("b",), repository="id", config="hash")])
    assert [(p.run_id, p.complete, p.proof_level) for p in catalog.points()] == [("b", False, 0), ("a", True, 3)]
    standing = catalog.standings(["sis"], now=later, since=NOON)["sis"]
    assert standing.consistency_time == NOON and [(x.target, x.points) for x in standing.lost] == [("t", 1)]
    assert catalog.points()[1].copies[0].seen == later and catalog.repositories("sis")["t"].id == "id"
    catalog.looked("sis", [Look(target="t", at=later, found=("b",))])
    assert [(p.run_id, p.complete, p.proof_level) for p in catalog.points()] == [("b", True, 0), ("a", True, 3)]


def test_a_run_whose_process_died_is_recorded_as_aborted_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from datetime import *; from dr.catalog.store import Catalog\n"
        "from dr.tools.state_dir import StateDir\n"
        "Catalog.open(StateDir(Path(sys.argv[1]))).open_run(run_id='r', verb='backup', system='sis',"
        " started=datetime.now(UTC), plan_digest='d', plan_text='text')"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True)
    with Catalog.open(StateDir(tmp_path)) as catalog:
        assert [r.run_id for r in catalog.close_abandoned(None, now=NOON)] == ["r"]
        assert catalog.close_abandoned(None, now=NOON) == []
        (record,) = catalog.records()
        assert (record.body["outcome"], record.body["error"]) == ("aborted", INTERRUPTED)
        assert catalog.plan_text("d") == "text"
        catalog.open_run(run_id="mine", verb="backup", system="sis", started=NOON, plan_digest="d", plan_text="")
        catalog.open_run(run_id="drill", verb="drill", system="sis", started=NOON, plan_digest="d", plan_text="")
        assert catalog.close_abandoned(None, now=NOON) == [], "this process lives"
        catalog.close_own(now=NOON)
        assert [run.run_id for run in catalog.open_runs()] == ["drill"], "nobody has looked at its sandbox yet"


def test_a_drill_that_died_counts_for_its_scenario(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from datetime import *; from dr.catalog.store import Catalog\n"
        "from dr.tools.state_dir import StateDir\n"
        "Catalog.open(StateDir(Path(sys.argv[1]))).open_run(run_id='d', verb='drill', scenario='ransomware', system='sis',"
        f" started=datetime.fromisoformat('{NOON.isoformat()}'), plan_digest='d', plan_text='text')"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True)
    with Catalog.open(StateDir(tmp_path)) as catalog:
        catalog.close_abandoned(None, now=NOON)
        (record,) = catalog.records()
        assert (record.body["outcome"], record.body["scenario"]) == ("aborted", "ransomware")
        made = catalog.attempts(["sis"], now=NOON)
        assert made["sis", "drill:ransomware"] == made["sis", "drill"] and made["sis", "drill"].begun == NOON
        assert made["sis", "drill"].settled is None, "it was interrupted"


def test_of_drills_in_a_catalog_of_before_the_scenario_is_known(tmp_path: Path) -> None:
    drill = Drill(
        drill_id="d", system="sis", scenario="target-loss", real=False, outcome="ok", t_loss=NOON, started=NOON,
        finished=NOON, objectives=ObjectivesThen(rto_seconds=1, rpo_seconds=1), sandbox="destroyed",
    )  # fmt: skip
    with Catalog.open(StateDir(tmp_path / "new")) as catalog:
        catalog.record(drill)
        made = catalog.attempts(["sis"], now=NOON)
    new = sqlite3.connect(tmp_path / "new" / "catalog.sqlite")
    (tmp_path / "old").mkdir()
    old = sqlite3.connect(tmp_path / "old" / "catalog.sqlite")
    with old:
        for statement in ";".join(STEPS[:5]).split(";"):
            old.execute(statement)
        old.execute("pragma user_version = 5")
        for table in ("evidence", "runs"):
            names = [row[1] for row in old.execute(f"pragma table_info({table})")]
            rows = new.execute(f"select {', '.join(names)} from {table}").fetchall()
            old.executemany(f"insert into {table} values ({', '.join('?' * len(names))})", rows)
    new.close()
    old.close()
    with Catalog.open(StateDir(tmp_path / "old")) as catalog:
        assert catalog.attempts(["sis"], now=NOON) == made
        assert made["sis", "drill:target-loss"].worked == NOON


def _write(place: Path, number: int) -> None:
    with Catalog.open(StateDir(place)) as catalog:
        for count in range(10):
            catalog.record(run(f"p{number}-{count}", hours=count))


def test_many_threads_and_processes_make_one_chain(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        pool.starmap(_write, [(tmp_path, number) for number in range(3)])
    with Catalog.open(StateDir(tmp_path)) as catalog:
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda n: catalog.record(run(f"t{n}")), range(20)))
        result = catalog.audit()
        assert (result.records, result.first_bad) == (50, None)


@pytest.mark.parametrize(
    ("statement", "number"),
    [
        ("update evidence set body = replace(body, '\"ok\"', '\"failed\"') where seq = 2", 2),
        ("update evidence set digest = 'x' where seq = 3", 3),
        ("delete from evidence where seq = 2", 2),
        ("delete from evidence where seq = 4", 4),
        ("delete from evidence", 1),
        ("update meta set value = 'x' where key = 'head_digest'", 4),
        ("update evidence set body = 'no json' where seq = 1", 1),
        ("update runs set outcome = 'failed' where run_id = 'r3'", 3),
        ("delete from runs where run_id = 'r1'", 1),
    ],
)
def test_what_was_tampered_with_is_named(tmp_path: Path, statement: str, number: int) -> None:
    with Catalog.open(StateDir(tmp_path)) as catalog:
        for count in range(1, 5):
            catalog.record(run(f"r{count}"))
        assert catalog.audit().first_bad is None
    _raw(tmp_path, statement)
    with Catalog.open(StateDir(tmp_path)) as catalog:
        bad = catalog.audit().first_bad
    assert bad is not None and bad[0] == number


def test_two_records_that_changed_places_are_found(tmp_path: Path) -> None:
    with Catalog.open(StateDir(tmp_path)) as catalog:
        for count in range(1, 5):
            catalog.record(run(f"r{count}"))
    _raw(
        tmp_path,
        "update evidence set seq = 99 where seq = 2", "update evidence set seq = 2 where seq = 3",
        "update evidence set seq = 3 where seq = 99",
    )  # fmt: skip
    with Catalog.open(StateDir(tmp_path)) as catalog:
        assert catalog.audit().first_bad is not None


def test_what_a_target_lacks_is_given_out_a_few_records_at_a_time(catalog: Catalog) -> None:
    """After a rebuild that may be all there are."""
    records = [catalog.record(run(f"r{count}", system="sis" if count % 3 else "other")) for count in range(1, 9)]
    mine, sent = [record for record in records if record.system == "sis"], []
    while some := catalog.unsent("sis", "t", most=2):
        assert len(some) <= 2
        sent += some
        catalog.mark_sent("sis", "t", some[-1].seq)
    assert sent == mine


def test_the_chain_goes_on_after_a_rebuild_with_a_known_gap(tmp_path: Path) -> None:
    with Catalog.open(StateDir(tmp_path / "a")) as catalog:
        records = [catalog.record(run(f"r{count}")) for count in range(1, 6)]
    with Catalog.open(StateDir(tmp_path / "b")) as again:
        assert adopt(again, [r for r in records if r.seq != 3]) == 4
        again.record(run("next"))
        assert again.audit().first_bad is None
        assert again.head()[0] == 6
        assert adopt(again, records) == 1, "the gap is filled"
        assert again.audit().first_bad is None
        assert adopt(again, records) == 0
    _raw(tmp_path / "b", "delete from evidence where seq = 4")
    with Catalog.open(StateDir(tmp_path / "b")) as tampered:
        assert tampered.audit().first_bad is not None


@given(st.sets(st.integers(1, 8), max_size=7), st.randoms(use_true_random=False))
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_a_rebuild_in_part_is_completed_by_the_next_in_whatever_order_records_are_found(
    tmp_path: Path, lost: set[int], dice: random.Random
) -> None:
    place = tmp_path / os.urandom(4).hex()
    with Catalog.open(StateDir(place / "a")) as catalog:
        records = [catalog.record(run(f"r{count}", hours=count)) for count in range(1, 9)]
        whole = catalog.points()
    some = [record for record in records if record.seq not in lost]
    with Catalog.open(StateDir(place / "b")) as again:
        adopt(again, dice.sample(some, len(some)))
        assert again.audit().first_bad is None
        adopt(again, dice.sample(records, len(records)))
        assert [record.seq for record in again.records()] == list(range(1, 9))
        assert again.audit().first_bad is None and again.head() == (8, records[-1].digest)
        assert again.points() == whole


def test_a_gap_is_filled_with_nothing_that_does_not_link(tmp_path: Path) -> None:
    with Catalog.open(StateDir(tmp_path / "a")) as catalog:
        records = [catalog.record(run(f"r{count}")) for count in range(1, 4)]
    with Catalog.open(StateDir(tmp_path / "other")) as catalog:
        strangers = [catalog.record(run(f"s{count}")) for count in range(1, 6)]
    with Catalog.open(StateDir(tmp_path / "b")) as again:
        adopt(again, [records[0], records[2]])
        assert adopt(again, strangers) == 0
        assert again.audit().first_bad is None and len(list(again.records())) == 2


def test_what_an_older_record_found_late_says_does_not_outweigh_a_newer_one(tmp_path: Path) -> None:
    with Catalog.open(StateDir(tmp_path / "a")) as catalog:
        facts = (run("a"), proof(damaged=("a",)), proof(points=("a",)))
        first, bad, good = [catalog.record(fact) for fact in facts]
    with Catalog.open(StateDir(tmp_path / "b")) as again:
        adopt(again, [first, good])
        assert adopt(again, [bad]) == 1
        assert [(copy.damaged, copy.proof_level) for copy in again.points()[0].copies] == [(False, 3)]


def test_a_forged_record_is_not_adopted(tmp_path: Path, catalog: Catalog) -> None:
    good = catalog.record(run("r1"))
    forged = dataclasses.replace(good, body={**good.body, "outcome": "failed"})
    with Catalog.open(StateDir(tmp_path / "b")) as again:
        assert adopt(again, [forged]) == 0


def test_points_known_from_tags_alone_are_kept_and_what_is_gone_is_dropped(catalog: Catalog) -> None:
    found = AdoptedPoint(
        run_id="r", consistency_time=NOON, finished=NOON, complete=True, kinds={"a": "files"}, snapshots={"a": "x"}, manifests={},
    )  # fmt: skip
    for _ in range(2):
        catalog.adopt_points("sis", "t", [found], at=NOON)
    assert [(p.run_id, p.complete, p.kinds) for p in catalog.points()] == [("r", True, {"a": "files"})]
    catalog.adopt_points("sis", "t", [], at=NOON)
    assert [p.complete for p in catalog.points()] == [False]


def test_a_point_whose_size_nobody_knows_has_none_until_a_copy_tells_it(catalog: Catalog) -> None:
    def snapshot(run_id: str, **summary: int) -> Snapshot:
        tags = [f"dr-{pair}" for pair in ("system=sis", f"run={run_id}", "source=a", "sources=1", "part=data")]
        told = {"summary": summary} if summary else {}
        return snapshot_of({"id": run_id, "time": NOON.isoformat(), "tags": ["dr", *tags, "dr-beside=7"], **told})

    def found(target: str, *snapshots: Snapshot) -> None:
        points = points_from(snapshots, system="sis", target=target)
        catalog.adopt_points("sis", target, [adopted(point) for point in points], at=NOON)

    def sizes() -> dict[str, int | None]:
        return {point.run_id: point.bytes for point in catalog.points()}

    found("t", snapshot("empty", total_bytes_processed=7), snapshot("old"), snapshot("new", total_bytes_processed=107))
    assert sizes() == {"empty": 0, "old": None, "new": 100}
    found("u", snapshot("old", total_bytes_processed=57), snapshot("new"))
    assert sizes() == {"empty": 0, "old": 50, "new": 100}
    assert format_bytes(None) == "unknown"


@pytest.mark.parametrize("content", [b"no database at all" * 500, b"SQLite format 3\0" + os.urandom(5000)])
def test_a_damaged_file_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "catalog.sqlite").write_bytes(content)
    with pytest.raises(CatalogError) as caught:
        Catalog.open(StateDir(tmp_path)).points()
    assert "rebuild" in caught.value.hint


def test_a_second_run_of_one_id_is_refused_and_not_taken_for_damage(catalog: Catalog) -> None:
    begin = partial(
        catalog.open_run, run_id="r", verb="backup", system="sis", started=NOON, plan_digest="d", plan_text=""
    )
    begin()
    with pytest.raises(CatalogError, match="does not take this entry") as caught:
        begin()
    assert "damaged" not in str(caught.value) and "rebuild" not in caught.value.hint


def test_a_newer_catalog_is_not_touched(tmp_path: Path) -> None:
    Catalog.open(StateDir(tmp_path)).close()
    _raw(tmp_path, "pragma user_version = 99")
    with pytest.raises(CatalogError, match="newer release"):
        Catalog.open(StateDir(tmp_path))


def test_a_full_disk_is_a_clear_error_and_loses_nothing(tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=640k", "tmpfs", place], check=True)
    try:
        with Catalog.open(StateDir(place)) as catalog:
            count = 0
            with pytest.raises(CatalogError) as caught:
                for count in range(2000):
                    catalog.record(run(f"r{count}"))
            assert "its disk is full" in str(caught.value) and "free some space" in caught.value.hint and count > 5
        (place / "catalog.sqlite-shm").unlink(missing_ok=True)
        database = sqlite3.connect(f"file:{place}/catalog.sqlite?mode=ro", uri=True)
        assert database.execute("select count(*) from evidence").fetchone()[0] == count
        database.close()
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def test_text_that_python_cannot_read_is_a_clear_error_too(tmp_path: Path) -> None:
    with Catalog.open(StateDir(tmp_path)) as catalog:
        catalog.record(run("r"))
    _raw(tmp_path, "update points set kinds = cast(x'ff' as text)")
    with Catalog.open(StateDir(tmp_path)) as catalog, pytest.raises(CatalogError, match="reading the catalog failed"):
        catalog.points()


def test_the_file_is_private(tmp_path: Path) -> None:
    Catalog.open(StateDir(tmp_path)).close()
    assert (tmp_path / "catalog.sqlite").stat().st_mode & 0o077 == 0


_LAST_CLOSER = """
import sys
from pathlib import Path
from dr.catalog.store import Catalog
from dr.tools.state_dir import StateDir
Catalog.open(StateDir(Path(sys.argv[1]))).close()
"""


@pytest.mark.parametrize("doing", ["opening the catalog again", "hashing its files", "capturing its files"])
def test_no_other_process_can_throw_away_what_this_one_writes(tmp_path: Path, doing: str) -> None:
    """POSIX drops a process's locks on a file when it closes it anywhere; then another may drop the log in use."""
    from dr.tools.digest import NotAFileError, open_unseen, read_and_close, sha256_file

    first = Catalog.open(StateDir(tmp_path))
    _begin(first, "one")
    if doing == "opening the catalog again":
        second = Catalog.open(StateDir(tmp_path))
        second.close()
    else:
        for path in tmp_path.glob("catalog.sqlite*"):
            with pytest.raises(NotAFileError):
                if doing == "hashing its files":
                    sha256_file(path)
                else:
                    read_and_close(open_unseen(os.fsencode(path)), path.stat().st_size, lambda opened: opened)
    subprocess.run([sys.executable, "-c", _LAST_CLOSER, str(tmp_path)], check=True)
    _begin(first, "two")
    assert (tmp_path / "catalog.sqlite-wal").exists(), "the log that is in use is there"
    with Catalog.open(StateDir(tmp_path)) as other:
        assert {run.run_id for run in other.open_runs(None)} == {"one", "two"}


def _begin(catalog: Catalog, run_id: str) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    catalog.open_run(run_id=run_id, verb="backup", system="s", started=now, plan_digest="0" * 64, plan_text="")


def test_a_point_whose_only_copy_is_lost_or_damaged_is_no_longer_the_newest(catalog: Catalog) -> None:
    catalog.record(run("old"))
    catalog.record(run("new", hours=4))
    now, since = NOON + timedelta(hours=5), NOON - timedelta(days=1)

    def standing() -> tuple[datetime | None, float | None]:
        found = catalog.standings(["sis"], now=now, since=since)["sis"]
        return found.consistency_time, found.exposure_seconds

    assert standing() == (NOON + timedelta(hours=4), 4 * 3600 + 300)
    catalog.record(proof(damaged=("new",)))
    assert standing() == (NOON, 5 * 3600), "what cannot be used is as old as what can"
    catalog.adopt_points("sis", "t", [], at=NOON)
    assert standing() == (None, 5 * 3600), "nothing is left anywhere: all since the first try would be lost"


def test_exposure_begins_with_the_first_try_or_when_the_plan_was_first_seen(catalog: Catalog) -> None:
    def exposure(hours: float) -> float | None:
        now = NOON + timedelta(hours=hours)
        return catalog.standings(["sis"], now=now, since=now - timedelta(days=1))["sis"].exposure_seconds

    assert exposure(0) is None
    catalog.record(run("bad", hours=2, outcome="failed"))
    assert exposure(30) == 28 * 3600
    catalog.notice(["sis"], now=NOON + timedelta(hours=1))
    catalog.notice(["sis"], now=NOON + timedelta(hours=9))
    assert exposure(30) == 29 * 3600, "seen once, it stays seen since then"
    catalog.record(run("good", hours=31))
    assert exposure(32) == 30 * 3600 + 300, "until the first point was finished"
    assert exposure(70) == 39 * 3600, "what ended before the period is past"


def test_a_plan_that_a_wrong_clock_saw_in_the_future_is_seen_again(catalog: Catalog) -> None:
    catalog.notice(["sis"], now=NOON + timedelta(days=4000))
    catalog.notice(["sis"], now=NOON)
    now = NOON + timedelta(hours=1)
    assert catalog.standings(["sis"], now=now, since=NOON)["sis"].known_since == NOON


def test_the_board_is_shown_although_the_last_record_cannot_be_read(tmp_path: Path) -> None:
    with Catalog.open(StateDir(tmp_path)) as catalog:
        catalog.record(run("a"))
    for body in ("{", "[1]", ""):
        _raw(tmp_path, f"update evidence set body = '{body}'")
        with Catalog.open(StateDir(tmp_path)) as catalog:
            backup = catalog.standings(["sis"], now=NOON + timedelta(hours=1), since=NOON)["sis"].backup
        assert backup is not None and backup.outcome == "ok" and "dr audit" in str(backup.error)


def test_a_lesser_proof_makes_a_greater_one_no_newer(catalog: Catalog) -> None:
    catalog.record(run("a"))
    for hours, level, expected in ((1, 3, 1), (2, 1, 1), (3, 2, 3), (4, 3, 4), (5, 1, 4)):
        at = NOON + timedelta(hours=hours)
        catalog.record(dataclasses.replace(proof(level=level, points=("a",)), started=at, finished=at))
        (copy,) = catalog.points()[0].copies
        assert (copy.proof_level, copy.proven_at) == (3, NOON + timedelta(hours=expected))
