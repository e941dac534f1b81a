"""The index of points and copies: what the records do not bear out is named, and put right; what they do is not."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dr.catalog.store import Catalog
from dr.catalog.values import AdoptedPoint
from dr.evidence.acts import Expiration, ExpiredPoint, KeyChange, KeyEvent, NewBeginning
from dr.evidence.fact import Fact
from dr.evidence.look import LateCopy, LeftBehind, Look
from dr.evidence.record import BackupRun, Replication
from dr.tools.state_dir import StateDir
from tests.catalog.test_store import NOON, proof, run

_COLUMNS = "run_id, target, complete, damaged, doubtful, destroyed, missing, proof_level, snapshots"


def destroyed(target: str, *, hours: float) -> KeyEvent:
    at = NOON + timedelta(hours=hours)
    changes = (KeyChange(target=target, outcome="ok"),)
    return KeyEvent(run_id=f"keys-{hours}", system="sis", what="destruction", outcome="ok", started=at, finished=at,
                    targets=changes)  # fmt: skip


def looking(made: BackupRun, *looks: Look) -> BackupRun:
    """A backup that listed its targets."""
    return dataclasses.replace(made, looks=looks)


def seen(hours: float, target: str = "t", *, lost: Sequence[str] = (), harmed: Sequence[str] = ()) -> Look:
    return Look(target=target, at=NOON + timedelta(hours=hours), lost=tuple(lost), harmed=tuple(harmed))


#: One whole, one damaged, one lost, one incomplete, one damaged and proven again, one that was lost and is there again,
#: and one whose keys were destroyed at one of two targets.
STORY: tuple[Fact, ...] = (
    run("old", hours=-9, targets=("t", "v")),
    destroyed("v", hours=-8),
    run("whole"),
    run("damaged", hours=1),
    run("lost", hours=2),
    run("part", hours=3, outcome="failed"),
    run("healed", hours=4),
    proof(level=0, points=("whole",), damaged=("damaged", "healed")),
    proof(level=2, points=("whole", "healed")),
    looking(run("found", hours=5), seen(5, lost=("lost",))),
    looking(run("last", hours=6, targets=("t", "u")), seen(6, lost=("lost", "found"))),
    looking(run("now", hours=7), seen(7, lost=("lost",))),
)


@pytest.fixture
def told(tmp_path: Path) -> Catalog:
    with Catalog.open(StateDir(tmp_path)) as catalog:
        for fact in STORY:
            catalog.record(fact)
        yield catalog


def index(folder: Path) -> list[tuple[object, ...]]:
    """What the index says of points and copies."""
    with sqlite3.connect(folder / "catalog.sqlite") as db:
        copies = db.execute(f"select {_COLUMNS} from copies order by run_id, target").fetchall()
        return copies + db.execute("select * from points order by run_id").fetchall()


@pytest.mark.parametrize(
    ("statement", "told_of"),
    [
        ("update copies set damaged = 0 where run_id = 'damaged'", "damaged"),
        ("update copies set doubtful = 1 where run_id = 'damaged'", "damaged"),
        ("update copies set damaged = 1 where run_id = 'whole'", "damaged"),
        ("update copies set damaged = 1 where run_id = 'healed'", "damaged"),
        ("update copies set missing = 0 where run_id = 'lost'", "missing"),
        ("update copies set missing = 1 where run_id = 'found'", "missing"),
        ("update copies set complete = 1 where run_id = 'part'", "whole"),
        ("update copies set complete = 0 where run_id = 'last' and target = 'u'", "whole"),
        ("update copies set destroyed = 0, complete = 1 where run_id = 'old'", "destroyed"),
        ("update copies set destroyed = 1 where run_id = 'old'", "destroyed"),
        ("update points set complete = 1", "complete"),
        ("update points set complete = 0 where run_id = 'whole'", "complete"),
        ("update points set consistency = consistency + 1 where run_id = 'last'", "consistency"),
        ("update points set system = 'fin' where run_id = 'last'", "system"),
        ("update points set finished = 1, outcome = 'degraded', bytes = 3 where run_id = 'last'", "finished, outcome"),
        ("update points set kinds = '[]' where run_id = 'last'", "kinds"),
        ("update points set complete = 'x' where run_id = 'last'", "complete"),
        ("update copies set snapshots = '{}' where run_id = 'whole'", "of other snapshots"),
        (
            "insert into points select 'made', system, consistency, finished, outcome, 1, bytes, kinds from points limit 1",
            "a point made",
        ),
    ],
)
def test_what_the_records_do_not_bear_out_is_named_and_put_right(
    told: Catalog, tmp_path: Path, statement: str, told_of: str
) -> None:
    before = index(tmp_path)
    assert told.audit().first_bad is None
    with sqlite3.connect(tmp_path / "catalog.sqlite") as db:
        db.execute(statement)
    db.close()
    bad = told.audit().first_bad
    assert bad and "the index of points says" in bad[1] and told_of in bad[1]
    told.put_index_right()
    assert told.audit().first_bad is None and index(tmp_path) == before


def test_a_point_that_no_record_tells_of_is_no_fault_where_it_was_found_at_a_target_or_left_behind(
    told: Catalog, tmp_path: Path
) -> None:
    there = AdoptedPoint(
        run_id="found-alone", consistency_time=NOON, finished=NOON, complete=True, kinds={"a": "files"},
        snapshots={"a": "x"}, manifests={},
    )  # fmt: skip
    told.adopt_points("sis", "t", [there], at=NOON, whole=False)
    left = LeftBehind(
        run_id="left-alone", target="t", consistency_time=NOON, finished=NOON, kinds={"a": "files"},
        snapshots={"a": "y"}, manifests={},
    )  # fmt: skip
    told.record(dataclasses.replace(run("after", hours=8), left_behind=(left,)))
    repaired = dataclasses.replace(there, run_id="whole", snapshots={"a": "shortened"})
    told.adopt_points("sis", "t", [repaired], at=NOON, whole=False)
    assert {"found-alone", "left-alone"} <= {point.run_id for point in told.points()}
    before = index(tmp_path)
    assert told.audit().first_bad is None
    told.put_index_right()
    assert index(tmp_path) == before


def test_what_an_interrupted_backup_noted_is_no_fault(told: Catalog) -> None:
    told.looked("sis", [seen(8, lost=("last",))])
    assert told.audit().first_bad, "nobody is at work"
    told.open_run(run_id="cut", verb="backup", system="sis", started=NOON, plan_digest="", plan_text="")
    assert told.audit().first_bad is None
    cut = dataclasses.replace(run("cut", hours=8, outcome="aborted", targets=()), consistency_time=None)
    told.record(cut)
    assert told.audit().first_bad is None
    told.record(looking(run("next", hours=9), seen(9, lost=("last",))))
    assert told.audit().first_bad is None


_NAMES = ("a", "b", "c")
_SOME = st.sets(st.sampled_from(_NAMES)).map(lambda names: tuple(sorted(names)))
_TARGET = st.sampled_from("tu")


@st.composite
def facts(draw: st.DrawFn) -> list[Fact]:
    """What may be put on record of three points on two targets, in any order."""
    made: list[Fact] = [
        run(name, targets=("t", "u"), outcome=draw(st.sampled_from(("ok", "failed")))) for name in _NAMES
    ]
    for number in range(draw(st.integers(1, 7))):
        target, names, hours = draw(_TARGET), draw(_SOME), float(number + 1)
        look = dataclasses.replace(
            seen(hours, target, lost=names, harmed=draw(_SOME)), whole=draw(st.booleans()), expired=draw(_SOME)
        )
        at = {"started": NOON + timedelta(hours=hours), "finished": NOON + timedelta(hours=hours)}
        late = LateCopy(
            run_id=draw(st.sampled_from(_NAMES)), target=target, snapshots={"a": f"l{number}"}, manifests={}
        )
        proven = proof(level=draw(st.integers(0, 3)), points=draw(_SOME), damaged=names)
        gone = tuple(ExpiredPoint(run_id=name, consistency_time=NOON, rule="") for name in names)
        made.append(
            draw(
                st.sampled_from(
                    [
                        looking(run(f"r{number}", hours=hours, targets=(target,)), look),
                        dataclasses.replace(run(f"s{number}", targets=("t",)), late_copies=(late,)),
                        dataclasses.replace(proven, target=target, run_id=f"v{number}", looks=draw(st.just((look,)))),
                        dataclasses.replace(proven, target=target, run_id=f"w{number}"),
                        Replication(run_id=f"p{number}", system="sis", source="t", target="u", outcome="ok", points=names,
                                    **at),
                        destroyed("u", hours=hours),
                        NewBeginning(run_id=f"n{number}", system="sis", target=target, found="nothing", because="",
                                     points=names, **at),
                        Expiration(run_id=f"e{number}", system="sis", target=target, outcome="ok", expired=gone, **at),
                    ]
                )
            )
        )  # fmt: skip
    return made


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=facts())
def test_what_follows_from_the_records_is_never_named(
    tmp_path_factory: pytest.TempPathFactory, made: list[Fact]
) -> None:
    with Catalog.open(StateDir(tmp_path_factory.mktemp("told"))) as catalog:
        for fact in made:
            catalog.record(fact)
        assert catalog.audit().first_bad is None
