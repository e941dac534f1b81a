"""A made-up school district, from which reports of every kind are made.

`python -m tests.report.district DIRECTORY` writes them as HTML and Markdown, to be looked at.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from dr.evidence.acts import HoldEvent, KitAct
from dr.evidence.fact import Fact
from dr.evidence.record import (
    BackupRun,
    CheckResult,
    Copy,
    Damage,
    Drill,
    Event,
    ObjectivesThen,
    Point,
    Proof,
    SourceCapture,
    TargetState,
)
from dr.evidence.seal import GENESIS, Sealed, seal
from dr.evidence.system_status import LastDrill, LastRun, SystemStatus
from dr.plan.plan import Plan
from dr.report import html, text
from dr.report.board import Row, row_of
from dr.report.figures import Material, Numbers, Report, build
from dr.report.kept import Ran, exposure_seconds

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
VERSIONS = {"dr": "0.1.0", "restic": "0.18.0", "python": "3.11.7"}
MACHINE = "4 cores, 16 GiB memory, Debian GNU/Linux 12 (bookworm), x86_64"
HEBREW = (
    '\u05de\u05e2\u05e8\u05db\u05ea \u05e0\u05d5\u05db\u05d7\u05d5\u05ea <b>"\u05d4\u05d3\u05e8\u05d5\u05dd"</b> & Co.'
)
HOSTILE = "<script>alert('x')</script> & \"quotes\" | pipe `tick` [link](https://evil.example) *star*"
LONG = "Integrated pupil transportation, catering, attendance and after-school-programme information system of the northern and southern campuses"


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def plan(system: str = "sis", title: str = "Student information system", **more: Any) -> Plan:
    return Plan.model_validate({
        "system": system,
        "title": title,
        "owner": {"role": "Data manager"},
        "classification": "student-records",
        "depends_on": ["directory"],
        "objectives": {"rto": "2h", "rpo": "4h", "mtd": "8h"},
        "sources": {
            "uploads": {"files": {"paths": ["/srv/sis/uploads"]}},
            "database": {"sqlite": {"path": "/srv/sis/sis.db", "newest": "select max(seen) from attendance"}},
        },
        "targets": ["offsite", "vault"],
        **more,
    })  # fmt: skip


def check(kind: str, source: str | None, expected: str, observed: str, outcome: Any = "ok", **more: Any) -> CheckResult:
    return CheckResult(
        **{"mandatory": True, "seconds": 1.5, **more},
        check=kind,
        source=source,
        expected=expected,
        observed=observed,
        outcome=outcome,
    )


CHECKS = (
    check("manifest", "uploads", "41,208 files equal to the capture", "41,208 equal"),
    check("manifest", "database", "1 file equal to the capture", "1 equal"),
    check("file", "uploads", "files that match photos/*.jpg: >= 1000", "4,180 found"),
    check("sql", "database", ">= 4000", "4217"),
    check("sql", "database", "= 0", "0", mandatory=False),
    check("command", None, "exit 0, output matches ^ready", "exit 0, output 'ready: 12 schools'"),
)
PHASES = {"declare": 1.8, "provision": 0.02, "restore": 611.4, "start": 14.2, "verify": 231.0}


def drill(system: str = "sis", at: datetime = NOW, **more: Any) -> Drill:
    """A drill that met its objectives; `more` makes it another."""
    phases = more.get("phases", PHASES)
    marks, seen = [], at
    used = at - timedelta(seconds=5_052)
    for name, what in (
        ("declare", f"point {used:%Y%m%dT%H%M%SZ}-1f20aa of {used:%Y-%m-%d %H:%M:%S} UTC on offsite chosen"),
        ("provision", "sandbox made"),
        ("restore", "restored uploads, database: 41,209 files, 18.4 GB"),
        ("start", "restored data opened"),
        ("verify", "6 of 6 checks passed"),
    ):
        if name in phases:
            seen += timedelta(seconds=phases[name])
            marks.append(Event(at=seen, what=what, seconds=phases[name]))
    base = Drill(
        drill_id=f"drill-{at:%Y%m%dT%H%M%SZ}-0a1b2c",
        system=system,
        scenario="system-loss",
        real=False,
        outcome="ok",
        t_loss=at,
        started=at,
        finished=seen + timedelta(seconds=3),
        objectives=ObjectivesThen(rto_seconds=7_200, rpo_seconds=14_400, mtd_seconds=28_800),
        run_id=f"{at - timedelta(seconds=5_052):%Y%m%dT%H%M%SZ}-1f20aa",
        target="offsite",
        consistency_time=at - timedelta(seconds=5_052),
        phases=phases,
        rta_seconds=round(sum(phases.values()), 3),
        rpa_seconds=5_052.0,
        data_rpa_seconds=5_310.0,
        proof_level=5,
        checks=CHECKS,
        events=(*marks, Event(at=seen, what="sandbox destroyed")),
        files=41_209,
        bytes=18_400_000_000,
        protected_bytes=18_400_000_000,
        sources=("database", "uploads"),
        plan_digest="5d44a1ccb40dddb6cbe61b02d8bcd7c6e9e02801e4e99539af97a999abf1020a",
        versions=VERSIONS,
        machine=MACHINE,
    )
    return replace(base, **more)


def failed_drill(system: str = "sis", at: datetime = NOW, **more: Any) -> Drill:
    """A drill of which a mandatory check failed."""
    checks = (
        *CHECKS[:3],
        check("sql", "database", ">= 4000", "0", "failed"),
        check("command", None, "exit 0", "not run", "skipped"),
    )
    base = drill(system, at, outcome="failed", checks=checks, rta_seconds=None, proof_level=2, **more)
    wrong = Event(at=base.finished, what="3 of 5 checks passed", outcome="failed")
    return replace(base, events=(*base.events[:4], wrong, base.events[-1]))


def undone_drill(system: str = "sis", at: datetime = NOW, **more: Any) -> Drill:
    """A drill that never came to its checks."""
    given = {
        "outcome": "failed", "error": "target offsite: it does not answer (connection refused)", "run_id": None,
        "target": None, "consistency_time": None, "phases": {"declare": 5.1}, "rta_seconds": None, "rpa_seconds": None,
        "data_rpa_seconds": None, "proof_level": 0, "checks": (), "files": 0, "bytes": 0, "protected_bytes": 0,
        "sources": (), "events": (Event(at=at, what="target offsite cannot be used", outcome="failed"),),
    }  # fmt: skip
    return replace(drill(system, at), **{**given, **more})


def aborted_drill(system: str = "sis", at: datetime = NOW) -> Drill:
    """What is recorded of a drill that ended without a word."""
    return Drill(
        drill_id="drill-x", system=system, scenario="system-loss", real=False, outcome="aborted", t_loss=at, started=at,
        finished=at, objectives=ObjectivesThen(rto_seconds=0, rpo_seconds=0), error="it ended without a word",
    )  # fmt: skip


def point(system: str = "sis", at: datetime = NOW, took: float = 240, **more: Any) -> Point:
    """A complete point, consistent at `at`."""
    snapshots = {"uploads": "a1" * 32, "database": "b2" * 32}
    copies = tuple(
        Copy(target=name, complete=True, snapshots=snapshots, proof_level=5 if name == "offsite" else 2, proven_at=NOW)
        for name in ("offsite", "vault")
    )
    base = Point(
        run_id=f"{at:%Y%m%dT%H%M%SZ}-1f20aa",
        system=system,
        consistency_time=at,
        finished=at + timedelta(seconds=took),
        outcome="ok",
        kinds={"uploads": "files", "database": "sqlite"},
        bytes=18_400_000_000,
        copies=copies,
    )
    return replace(base, **more)


def backup(system: str = "sis", at: datetime = NOW, **more: Any) -> BackupRun:
    base = BackupRun(
        run_id=f"{at:%Y%m%dT%H%M%SZ}-1f20aa",
        system=system,
        outcome="ok",
        started=at,
        finished=at + timedelta(seconds=240),
        consistency_time=at,
        complete=True,
        sources=(
            SourceCapture(source="uploads", kind="files", outcome="ok", snapshot_id="a1" * 32, files=41_208),
            SourceCapture(source="database", kind="sqlite", outcome="ok", snapshot_id="b2" * 32, files=1),
        ),
        targets=(TargetState(target="offsite", outcome="ok"), TargetState(target="vault", outcome="ok")),
    )
    return replace(base, **more)


def proof(system: str = "sis", at: datetime = NOW, **more: Any) -> Proof:
    base = Proof(
        run_id=f"verify-{at:%Y%m%dT%H%M%SZ}-1f20aa", system=system, target="offsite", started=at, finished=at,
        outcome="ok", level_asked=3, level_reached=3, objects=1_984, bytes=18_000_000_000, seconds=41.0, share="3/10",
        points=("20261124T050000Z-1f20aa",),
    )  # fmt: skip
    return replace(base, **more)


def damaged_proof(system: str = "sis", at: datetime = NOW) -> Proof:
    damage = (Damage(object="data/3f/3f9a", problem="corrupt"), Damage(object="data/07/0731", problem="missing"))
    points = ("20261124T050000Z-1f20aa",)
    return proof(system, at, outcome="failed", level_reached=1, damage=damage, points=(), damaged_points=points)


def standing(system: str = "sis", **more: Any) -> SystemStatus:
    base = SystemStatus(
        system=system,
        consistency_time=ago(hours=1, minutes=24),
        exposure_seconds=14_100,
        proof_level=5,
        proven_at=ago(hours=2),
        backup=LastRun(outcome="ok", started=ago(hours=1), ref="b"),
        verify=LastRun(outcome="ok", started=ago(hours=6), ref="v"),
        drill=LastDrill(outcome="ok", started=ago(hours=2), ref="d", rta_seconds=858.4, rpa_seconds=5_052),
    )
    return replace(base, **more)


def row(declared: Plan | None = None, *, overdue: Sequence[str] = (), **more: Any) -> Row:
    declared = declared or plan()
    return row_of(declared, standing(declared.system, **more), now=NOW, overdue=dict.fromkeys(overdue, ago(hours=3)))


def chain(facts: Sequence[Fact]) -> list[Sealed]:
    """Seal facts one after the other."""
    records: list[Sealed] = []
    for number, fact in enumerate(facts, 1):
        records.append(seal(seq=number, prev=records[-1].digest if records else GENESIS, fact=fact))
    return records


def material(*facts: Drill, plans: Sequence[Plan] | None = None, **more: Any) -> Material:
    records = chain(facts)
    declared = [plan()] if plans is None else plans
    given = {
        "title": declared[0].title if len(declared) == 1 else "All systems",
        "generated": NOW,
        "since": None,
        "plans": {p.system: p for p in declared},
        "records": records,
        "backups": [],
        "proofs": [],
        "rows": [],
        "head": (len(records), records[-1].digest if records else GENESIS),
        "audit": "whole",
        "versions": VERSIONS,
    }
    return Material(**{**summed_up(**more), **given, **more})


def summed_up(
    backups: Sequence[BackupRun] = (),
    proofs: Sequence[Proof] = (),
    points: Mapping[str, Point] | None = None,
    since: datetime | None = None,
    **_: Any,
) -> dict[str, Any]:
    """What the catalog sums up of the runs that a report is made of."""
    begin, held = since or datetime.min.replace(tzinfo=UTC), list((points or {}).values())
    ran = {}
    for system in dict.fromkeys([run.system for run in backups] + [each.system for each in held]):
        runs = [run for run in backups if run.system == system]
        own = [each for each in held if each.system == system and each.complete]
        empty = {run.run_id for run in runs if run.of_nothing}
        ran[system] = Ran(
            outcomes=Counter(run.outcome for run in runs),
            points=sum(each.finished >= begin for each in own),
            exposure_seconds=exposure_seconds(
                own, since=begin, now=NOW, tried=min((run.started for run in runs), default=None)
            ),
            hollow=bool(own) and {each.run_id for each in own} <= empty,
        )
    bad = [run for run in backups if run.outcome not in ("ok", "skipped")]
    numbers = Numbers(backups=len(backups), proofs=len(proofs), points=len(held), faulty=len(bad))
    return {"ran": ran, "faulty": bad, "numbers": numbers}


def report(*facts: Drill, **more: Any) -> Report:
    return build(material(*facts, **more))


# -- whole reports, to be looked at ------------------------------------------------------------------


def one_drill() -> Report:
    """One good drill with a year of history."""
    dice = random.Random(7)
    past = [
        drill(at=ago(days=30 * n), phases={**PHASES, "restore": 611.4 * dice.uniform(0.7, 1.6)})
        for n in range(11, 0, -1)
    ]
    past[4] = failed_drill(at=ago(days=30 * 7))
    past[7] = drill(at=ago(days=30 * 4), phases={**PHASES, "restore": 8_900.0}, rpa_seconds=16_000.0)
    facts = (*past, drill(at=ago(hours=2)))
    points = [point(at=ago(hours=4 * n + 4.5)) for n in range(60)]
    known = {p.run_id: p for p in [*points, point(at=ago(hours=2, seconds=5_052))]}
    runs = [backup(at=ago(hours=4 * n + 4.5)) for n in range(60, 0, -1)]
    return build(
        material(*facts, rows=[row()], points=known, backups=runs, proofs=[proof(at=ago(days=n)) for n in (3, 2, 1)],
                 focus=facts[-1].drill_id, title=f"Student information system: {facts[-1].drill_id}")
    )  # fmt: skip


def whole_district() -> Report:
    """Five systems in every state, some with names that are hard to print."""
    plans = [
        plan(),
        plan("finance", "Finance", depends_on=[]),
        plan("attendance", HEBREW),
        plan("transport", LONG),
        plan("library", HOSTILE, depends_on=[]),
    ]
    facts = [
        drill(at=ago(days=31)), drill("finance", ago(days=30)),
        drill("attendance", ago(days=20), sample=0.05, proof_level=3, data_rpa_seconds=None),
        failed_drill("finance", ago(days=2)), drill(at=ago(hours=2)),
        undone_drill("transport", ago(hours=1), error=f"target offsite: {HOSTILE}"),
    ]  # fmt: skip
    failed = LastRun(outcome="failed", started=ago(hours=2), ref="b", error="database: the query took longer than 1 h")
    rows = [
        row(plans[0]),
        row(plans[1], drill=LastDrill(outcome="failed", started=ago(days=2), ref="d", error="sql check failed"), proof_level=2),
        row(plans[2], consistency_time=ago(hours=7), exposure_seconds=31_000, backup=failed, damaged_points=2, proof_level=3),
        row(plans[3], overdue=["drill"], drill=LastDrill(outcome="failed", started=ago(hours=1), ref="d", error=HOSTILE)),
        row(plans[4], consistency_time=None, exposure_seconds=None, proof_level=0, proven_at=None, drill=None,
            backup=None, verify=None, interrupted=("backup",)),
    ]  # fmt: skip
    points = [point(p.system, ago(hours=4 * n + 1.4)) for p in plans[:4] for n in range(12)]
    backups = [backup(p.system, ago(hours=4 * n + 1.4)) for n in range(12, 0, -1) for p in plans[:4]]
    down = TargetState(target="vault", outcome="failed", error="it does not answer (connection refused)")
    backups += [
        backup(at=ago(hours=1.4), outcome="degraded", targets=(TargetState(target="offsite", outcome="ok"), down))
    ]
    backups += [backup("attendance", ago(hours=1), outcome="failed", error="database: the query took longer than 1 h")]
    proofs = [proof(at=ago(days=1)), proof("finance", ago(hours=9)), damaged_proof("attendance", ago(hours=3))]
    day = {"started": ago(days=3), "finished": ago(days=3)}
    acts = chain([
        KitAct(run_id="kit-1", act="made", outcome="ok", kit_id="kit-20261121-0a1b2c", threshold=2,
               custodians=("Superintendent", "Business manager", "Director of technology"), **day),
        HoldEvent(run_id="hold-1", hold_id="hold-1", system="library", act="placed", reason=HOSTILE, **day),
    ])  # fmt: skip
    return build(
        material(*facts, plans=plans, rows=rows, points={f"{p.system}{p.run_id}": p for p in points}, backups=backups,
                 proofs=proofs, since=ago(days=90), acts=acts)
    )  # fmt: skip


def nothing_yet() -> Report:
    """Plans, and nothing done."""
    bare = {"drill": None, "backup": None, "verify": None, "consistency_time": None, "exposure_seconds": None}
    return report(rows=[row(**bare, proof_level=0, proven_at=None)])


def one_failed() -> Report:
    last = LastDrill(outcome="failed", started=NOW, ref="d", error="sql check failed")
    return report(failed_drill(at=ago(hours=2)), rows=[row(drill=last)])


def many() -> Report:
    """Two hundred drills, with an objective that was changed on the way."""
    dice = random.Random(3)
    facts = []
    for number in range(200, 0, -1):
        wanted = ObjectivesThen(rto_seconds=14_400 if number > 90 else 7_200, rpo_seconds=14_400, mtd_seconds=None)
        phases = {**PHASES, "restore": 611.4 * dice.lognormvariate(0, 0.7) * (1 + number / 60)}
        made = drill(at=ago(days=number * 7), phases=phases, objectives=wanted, rpa_seconds=dice.uniform(60, 15_000))
        facts.append(replace(failed_drill(at=made.started), objectives=wanted) if dice.random() < 0.05 else made)
    return report(*facts, rows=[row()])


REPORTS = {
    "drill": one_drill, "district": whole_district, "nothing": nothing_yet, "failed": one_failed, "many": many,
}  # fmt: skip


def main(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, make in REPORTS.items():
        made = make()
        (directory / f"{name}.html").write_text(html.render(made), "utf-8")
        (directory / f"{name}.md").write_text(text.render(made), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
