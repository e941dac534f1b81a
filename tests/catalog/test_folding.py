"""Folding: old and ordinary records take a tenth of the room, and whoever reads sees no difference."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dr.catalog import chunks, folding
from dr.catalog.store import Catalog
from dr.evidence.change import Change
from dr.evidence.fact import Fact
from dr.evidence.look import Look
from dr.evidence.record import BackupRun, Drill, ObjectivesThen, Proof, SourceCapture, TargetState
from dr.tools.state_dir import StateDir
from tests.catalog.adoption import adopt

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
SYSTEMS = ("finance", "sis")
END = BEGIN + timedelta(days=80)
FAR = END + timedelta(days=300)


def _backup(system: str, name: str, at: datetime, dice: random.Random, gone: tuple[str, ...]) -> BackupRun:
    outcome = dice.choices(("ok", "degraded", "failed"), (20, 1, 1))[0]
    stored = {} if outcome == "failed" else {"data": name}
    return BackupRun(
        run_id=name, system=system, outcome=outcome, started=at, finished=at + timedelta(minutes=dice.uniform(1, 50)),  # type: ignore[arg-type]
        consistency_time=at, complete=outcome == "ok", sources=(SourceCapture(
            source="data", kind="files", outcome=outcome, snapshot_id=stored.get("data"), bytes=dice.randrange(10**9),  # type: ignore[arg-type]
            seconds=dice.uniform(0, 9), change=Change(files=9, before=9, changed=dice.randrange(9)), error="ünreadable",
        ),),
        targets=(TargetState(target="disk", outcome="ok", snapshots=stored),),
        looks=(Look(target="disk", at=at, expired=gone),), suspect="much was changed" if dice.random() < 0.01 else None,
    )  # fmt: skip


def _drill(system: str, name: str, at: datetime, point: str) -> Drill:
    return Drill(
        drill_id=name, system=system, scenario="system-loss", real=False, outcome="ok", t_loss=at, started=at,
        finished=at, objectives=ObjectivesThen(rto_seconds=60, rpo_seconds=60), run_id=point, target="disk", proof_level=4,
    )  # fmt: skip


def history(seed: int = 1, days: int = 80) -> Iterator[Fact]:
    """Eighty days of two systems: a backup every eight hours, of which the last nine are kept, proofs and drills."""
    dice, held = random.Random(seed), {system: [] for system in SYSTEMS}  # type: ignore[var-annotated]
    for number in range(days * 3):
        at = BEGIN + timedelta(hours=8 * number)
        for system in SYSTEMS:
            name, points = f"{system}-{number}", held[system]
            gone, held[system] = tuple(points[:-9]), [*points[-9:], name]
            yield _backup(system, name, at, dice, gone)
            if number % 9 == 0:
                yield Proof(run_id=f"v-{name}", system=system, target="disk", started=at, finished=at, outcome="ok",
                            level_asked=2, level_reached=2, points=tuple(held[system]))  # fmt: skip
            if number % 50 == 7:
                yield _drill(system, f"d-{name}", at, name)


def _lower(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("FEWEST", 16), ("MOST", 60), ("IN_CHUNK", 7)):
        monkeypatch.setattr(folding, name, value)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    _lower(monkeypatch)


def _open(folder: Path) -> Catalog:
    catalog = Catalog.open(StateDir(folder))
    catalog._connections._connection().execute("pragma synchronous = off")
    return catalog


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of the whole history, of which nothing is folded."""
    folder = tmp_path_factory.mktemp("whole")
    with _open(folder) as catalog:
        for fact in history():
            catalog.record(fact)
    return folder


def _fold(whole: Path, into: Path, least: int) -> Path:
    """Copy a catalog and fold it as far as it may be."""
    shutil.copytree(whole, into)
    with pytest.MonkeyPatch.context() as patch, _open(into) as catalog:
        _lower(patch)
        assert catalog.fold(now=FAR, seconds=60) > least
    return into


@pytest.fixture(scope="module")
def folded_once(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, folded: not to be changed."""
    return _fold(whole, tmp_path_factory.mktemp("folded") / "once", 300)


@pytest.fixture
def folded(folded_once: Path, tmp_path: Path) -> Path:
    """The same, folded as far as it may be."""
    return Path(shutil.copytree(folded_once, tmp_path / "folded"))


@pytest.fixture(scope="module")
def a_month(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Catalogs of the first month alone: nothing folded, and folded. Not to be changed."""
    place = tmp_path_factory.mktemp("month")
    with _open(place / "whole") as catalog:
        for fact in history(days=30):
            catalog.record(fact)
    return place / "whole", _fold(place / "whole", place / "folded", 100)


def _all_that_is_told(catalog: Catalog, now: datetime) -> dict[str, Any]:
    """What anybody may ask of the record."""
    since, month = BEGIN + timedelta(days=20, hours=3), now - timedelta(days=30)
    standings = catalog.standings(SYSTEMS, now=now, since=month)
    return {
        "audit": catalog.audit(),
        "records": list(catalog.records()),
        "head": catalog.head(),
        "backups": catalog.facts(("backup",), systems=["sis"]),
        "both": catalog.facts(("backup", "drill"), since=since),
        "one": catalog.facts(("backup",), ref="sis-5"),
        "unsent": catalog.unsent("finance", "disk"),
        "attempts": catalog.attempts(SYSTEMS, now=now),
        "standings": standings,
        "exposures": [catalog.standings(SYSTEMS, now=now, since=BEGIN + timedelta(days=day)) for day in (0, 9, 40)],
        "places": catalog.place_states(SYSTEMS, now=now),
        "points": [point for point in catalog.points() if point.copies],
        "known": [catalog.is_known(name) for name in ("sis-5", "sis-239", "d-sis-7", "nobody")],
        "runs": catalog.known_of(record.ref for record in catalog.records()),
        "history": catalog.change_history("sis", ["data"], now=now),
        "frozen": [catalog.retention_frozen(system) for system in SYSTEMS],
    }


def test_whoever_reads_sees_no_difference(whole: Path, folded: Path) -> None:
    with _open(whole) as before, _open(folded) as after:
        for now in (END, FAR):
            told, expected = _all_that_is_told(after, now), _all_that_is_told(before, now)
            assert told.keys() == expected.keys() and [key for key in told if told[key] != expected[key]] == []
        assert expected["known"] == [True, True, True, False] and len(expected["one"]) == 1


def test_a_catalog_folded_day_by_day_tells_what_one_tells_that_never_was(whole: Path, tmp_path: Path) -> None:
    with _open(tmp_path) as catalog, _open(whole) as never:
        for number, fact in enumerate(history()):
            catalog.record(fact)
            if number % 40 == 0:
                catalog.fold(now=fact.finished)
        assert _raw(tmp_path, "select count(*) from folded")[0][0] > 100
        assert _all_that_is_told(catalog, END) == _all_that_is_told(never, END)


def test_what_is_out_of_the_ordinary_stays_open_and_so_does_the_last_of_each(folded: Path) -> None:
    rows = _raw(
        folded, "select kind, json_extract(body, '$.outcome'), json_extract(body, '$.suspect'), ref from evidence"
    )
    assert {row[0] for row in rows} == {"backup", "drill", "verify"}
    with _open(folded) as catalog:
        odd = [
            r.ref for r in catalog.records() if r.kind == "drill" or r.body["outcome"] != "ok" or r.body.get("suspect")
        ]
    assert set(odd) <= {row[3] for row in rows}
    assert {"sis-239", "finance-239", "v-sis-234"} <= {row[3] for row in rows}, "the last of each"


def test_nothing_younger_than_the_age_is_folded(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "c")
    with _open(tmp_path / "c") as catalog:
        catalog.fold(now=END, seconds=60)
        assert catalog.fold(now=END, seconds=60) == 0, "once is enough"
    (newest,) = _raw(tmp_path / "c", "select max(finished) from folded")[0]
    assert newest / 1e6 <= (END - folding.AGE).timestamp()


def test_a_clock_that_went_ahead_for_a_while_does_not_stop_the_folding(tmp_path: Path) -> None:
    ahead = timedelta(days=4000)
    with _open(tmp_path) as catalog:
        for number, fact in enumerate(history()):
            if isinstance(fact, BackupRun) and 100 < number < 300:
                fact = replace(fact, started=fact.started + ahead, finished=fact.finished + ahead)
            catalog.record(fact)
        catalog.fold(now=FAR, seconds=60)
        assert catalog.audit().outcome == "ok"
    assert _raw(tmp_path, "select count(*) from folded where seq > 300")[0][0] > 100
    assert _raw(tmp_path, "select count(*) from folded where seq between 150 and 250")[0][0] < 30, "those look young"


def test_it_takes_a_fraction_of_the_room(whole: Path, folded: Path) -> None:
    def used(folder: Path) -> int:
        pages, free, size = (
            _raw(folder, f"pragma {name}")[0][0] for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    assert used(folded) < 0.6 * used(whole), "though a fifth of this history is out of the ordinary"


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("update folded set digest = x'00' where seq = 100", 100),
        ("update folded set finished = finished + 1 where seq = 100", 100),
        ("update folded set finished = 'never' where seq = 100", 100),
        ("update folded set system = 'other' where seq = 100", 100),
        ("update folded set kind = 'drill' where seq = 100", 100),
        ("update folded set nth = nth + 1 where seq = 100", 100),
        ("update folded set chunk = 9999 where seq = 100", 100),
        ("update folded set prev = 'x' where seq = 100", 100),
        ("update folded set ref_key = 7 where seq = 100", 100),
        ("update folded set consistency = consistency + 1 where seq = 100", 100),
        ("delete from folded where seq = 100", 100),
        ("delete from folded", None),
        ("delete from chunks", None),
        ("update chunks set bodies = x'0102' where id = (select chunk from folded where seq = 100)", None),
        (
            "update chunks set bodies = substr(bodies, 1, 99) where id = (select chunk from folded where seq = 100)",
            None,
        ),
    ],
)
def test_what_was_tampered_with_among_the_folded_is_named_and_put_back_from_targets(
    a_month: tuple[Path, Path], tmp_path: Path, statement: str, found: int | None
) -> None:
    whole, folded = a_month[0], Path(shutil.copytree(a_month[1], tmp_path / "folded"))
    (seq,) = _raw(folded, "select seq from folded where consistency is not null and seq >= 90 limit 1")[0]
    _raw(folded, statement.replace("100", str(seq)))
    with _open(folded) as catalog, _open(whole) as never:
        bad = catalog.audit().first_bad
        assert bad is not None and (found is None or bad[0] == seq), bad
        adopt(catalog, never.records())
        assert catalog.audit().first_bad is None and list(catalog.records()) == list(never.records())


def test_a_body_that_was_edited_and_compressed_again_is_named(folded: Path) -> None:
    row = _raw(folded, "select f.seq, f.nth, f.chunk, c.bodies from folded f join chunks c on c.id = f.chunk limit 1")[
        0
    ]
    lines = chunks.unpack(row[3])
    lines[row[1]] = lines[row[1]].replace('"bytes_added":0', '"bytes_added":1')
    with sqlite3.connect(folded / "catalog.sqlite") as db:
        db.execute("update chunks set bodies = ? where id = ?", (chunks.pack(lines), row[2]))
    with _open(folded) as catalog:
        bad = catalog.audit().first_bad
    assert bad is not None and bad[0] == row[0] and "edited" in bad[1]


def test_what_was_folded_with_zlib_before_is_read_beside_what_is_folded_now(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(whole, tmp_path / "c")
    with _open(tmp_path / "c") as catalog:
        with monkeypatch.context() as before:
            before.setattr(chunks, "pack", lambda lines: zlib.compress("\n".join(lines).encode(), 6))
            assert catalog.fold(now=BEGIN + folding.AGE + timedelta(days=40), seconds=60) > 100
        (number,) = _raw(tmp_path / "c", "select count(*) from chunks")[0]
        assert catalog.fold(now=FAR, seconds=60) > 100
        begins = _raw(tmp_path / "c", f"select hex(substr(bodies, 1, 2)) = 'FD37' from chunks where id > {number - 2}")
        assert begins[:4] == [(0,), (0,), (1,), (1,)], "both are there"
        with _open(whole) as never:
            assert _all_that_is_told(catalog, FAR) == _all_that_is_told(never, FAR)


def test_what_changes_while_a_batch_is_packed_is_not_folded_as_it_was(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(whole, tmp_path / "c")
    pack, calls = chunks.pack, itertools.count()

    def meanwhile(lines: Iterable[str]) -> bytes:
        call, known = next(calls), list(lines)
        if call == 0:
            with _open(tmp_path / "c") as another, monkeypatch.context() as once:
                once.setattr(folding, "MOST", 20)
                assert 0 < another.fold(now=FAR, seconds=0) < 20, "another folds a batch of the same"
        elif call == 14:  # in a later batch than the first, which is read again
            ref = known[0].partition("\t")[0]
            _raw(tmp_path / "c", f"update runs set outcome = 'failed' where run_id = '{ref}'")
            bad.extend(_raw(tmp_path / "c", f"select seq from runs where run_id = '{ref}'")[0])
        return pack(known)

    bad: list[int] = []
    monkeypatch.setattr(chunks, "pack", meanwhile)
    with _open(tmp_path / "c") as catalog, _open(whole) as never:
        assert catalog.fold(now=FAR, seconds=60) > 300
        assert list(catalog.records()) == list(never.records())
        assert catalog.audit().first_bad == (bad[0], "edited: the index of runs says 'failed', the record says 'ok'")
    assert _raw(tmp_path / "c", f"select count(*) from evidence where seq = {bad[0]}") == [(1,)], "no longer ordinary"


def test_a_record_that_is_not_as_it_was_sealed_is_never_folded(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "c")
    _raw(tmp_path / "c", "update evidence set body = replace(body, '\"bytes\":', '\"bytes\": 1') where seq = 30")
    with _open(tmp_path / "c") as catalog:
        catalog.fold(now=FAR, seconds=60)
        assert (catalog.audit().first_bad or (0,))[0] == 30
    assert _raw(tmp_path / "c", "select count(*) from evidence where seq = 30") == [(1,)]


def test_a_failed_run_cannot_be_passed_off_as_one_that_was_folded(folded: Path) -> None:
    """Who moves a record of a failure among those that went well would have it counted as one of them."""
    seq, ref, body = _raw(
        folded,
        'select seq, ref, body from evidence where kind = \'backup\' and body like \'%"outcome":"failed","plan%\'',
    )[0]
    with sqlite3.connect(folded / "catalog.sqlite") as db:
        at, digest = db.execute("select at, digest from evidence where seq = ?", (seq,)).fetchone()
        chunk = db.execute("insert into chunks (bodies) values (?)", (chunks.pack([f"{ref}\t{body}"]),)).lastrowid
        finished = round(datetime.fromisoformat(at).timestamp() * 10**6)
        values = (
            seq,
            "sis" if ref.startswith("sis") else "finance",
            folding.ref_key(ref),
            finished,
            chunk,
            bytes.fromhex(digest),
        )
        db.execute("insert into folded values (?, 'backup', ?, ?, ?, null, ?, 0, ?, null)", values)
        db.execute("delete from evidence where seq = ?", (seq,))
        db.execute("delete from runs where run_id = ?", (ref,))
    with _open(folded) as catalog:
        bad = catalog.audit().first_bad
    assert bad == (seq, "edited: it was folded as one that went well, and the record says otherwise")


def test_what_an_earlier_release_stored_in_another_text_is_folded_as_it_was_hashed(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "c")
    with sqlite3.connect(tmp_path / "c" / "catalog.sqlite") as db:
        for seq, body in db.execute("select seq, body from evidence").fetchall():
            values = dict(reversed(json.loads(body).items()))
            db.execute("update evidence set body = ? where seq = ?", (json.dumps(values), seq))
    with _open(tmp_path / "c") as catalog, _open(whole) as never:
        assert catalog.audit().outcome == "ok"
        assert catalog.fold(now=FAR, seconds=60) > 300
        assert list(catalog.records()) == list(never.records()) and catalog.audit() == never.audit()


def test_a_rebuild_from_the_targets_takes_folded_records_and_fills_the_gaps_of_a_folded_chain(
    folded: Path, tmp_path: Path
) -> None:
    with _open(folded) as catalog:
        records = list(catalog.records())
    some = [record for record in records if not 200 <= record.seq < 260]
    with _open(tmp_path / "again") as again:
        adopt(again, some)
        again.fold(now=FAR, seconds=60)
        assert again.audit().outcome == "ok" and len(list(again.records())) == len(some)
        assert adopt(again, records) == 60 and adopt(again, records) == 0
        assert list(again.records()) == records and again.audit().outcome == "ok"
        again.record(replace(next(f for f in history() if f.system == "sis"), run_id="after"))  # type: ignore[union-attr, type-var, call-arg]
        assert again.audit().outcome == "ok"


_FOLD = """
import sys
from datetime import datetime
from pathlib import Path
from dr.catalog import chunks, folding
from dr.catalog.store import Catalog
from dr.tools.state_dir import StateDir
folding.FEWEST, folding.MOST, folding.IN_CHUNK = 4, 12, 3
def telling(name):
    act = getattr(folding, name)
    def tell(*given):
        act(*given)
        print(name, flush=True)
    setattr(folding, name, tell)
for name in ("_put", "_take_away", "_drop_gone"):
    telling(name)
with Catalog.open(StateDir(Path(sys.argv[1]))) as catalog:
    catalog.fold(now=datetime.fromisoformat(sys.argv[2]), seconds=60)
"""


def test_killed_at_any_moment_the_chain_is_whole_and_the_next_run_goes_on(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "c")
    with _open(whole) as never:
        records = list(never.records())
    for steps in (1, 3, 5, 6, 14):  # within a batch, at its end, and some batches later
        argv = [sys.executable, "-c", _FOLD, str(tmp_path / "c"), FAR.isoformat()]
        child = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        told = [child.stdout.readline() for _ in range(steps)]
        child.send_signal(signal.SIGKILL)
        child.communicate()
        assert all(told), "it was amid its work"
        with _open(tmp_path / "c") as catalog:
            assert catalog.audit().outcome == "ok" and list(catalog.records()) == records
    with _open(tmp_path / "c") as catalog:
        catalog.fold(now=FAR, seconds=60)
        assert catalog.audit().outcome == "ok" and list(catalog.records()) == records


def _raw(folder: Path, statement: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(folder / "catalog.sqlite") as db:
        return db.execute(statement).fetchall()
