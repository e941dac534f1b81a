"""The report on one drill, on some systems, or on all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from dr.errors import UsageError
from dr.evidence.record import BackupRun, Proof
from dr.evidence.seal import Sealed, fault_of
from dr.plan.load import Loaded
from dr.queries.status import board
from dr.report.acts import KINDS as ACTS
from dr.report.figures import Material, Report, build
from dr.session import Session


def report(
    session: Session,
    items: Sequence[Loaded],
    *,
    drill: str | None = None,
    since: datetime | None = None,
) -> Report:
    """Return the report on one drill, on some systems, or on all. Raises `UsageError` for an unknown drill."""
    catalog, now = session.catalog, session.clock()
    names = [loaded.plan.system for loaded in items]
    if drill:
        found = _as_sealed(catalog.facts(("drill", "recovery"), ref=drill))
        if not found:
            raise UsageError(f"there is no drill {drill!r}", "--drill", hint="`dr report --format json` lists them")
        names = [found[0].system]
    records = _as_sealed(catalog.facts(("drill", "recovery"), systems=names, since=since))
    audit = catalog.audit()
    rows = [entry.row for entry in board(session, [x for x in items if x.plan.system in names])]
    plans = {loaded.plan.system: loaded.plan for loaded in items if loaded.plan.system in names}
    backups = [r.fact for r in _as_sealed(catalog.facts(("backup",), systems=names, since=since))]
    proofs = [r.fact for r in _as_sealed(catalog.facts(("verify",), systems=names, since=since))]
    acts = [] if drill else _as_sealed(catalog.facts(ACTS, systems=[*names, ""], since=since))
    return build(
        Material(
            title=_title(plans.values() if len(plans) == 1 else (), names, drill),
            generated=now,
            since=since,
            plans=plans,
            records=records,
            rows=rows,
            head=catalog.head(),
            focus=drill,
            backups=[fact for fact in backups if isinstance(fact, BackupRun)],
            proofs=[fact for fact in proofs if isinstance(fact, Proof)],
            audit="whole" if audit.first_bad is None else f"record {audit.first_bad[0]} was {audit.first_bad[1]}",
            points={point.run_id: point for point in catalog.points(names)},
            versions=session.versions_here,
            acts=acts,
        )
    )


def _as_sealed(records: Sequence[Sealed]) -> list[Sealed]:
    """Leave out what is not as it was sealed: a report passes on no figure that somebody may have edited."""
    return [record for record in records if fault_of(record) is None]


def _title(plans: object, names: Sequence[str], drill: str | None) -> str:
    titles = [plan.title for plan in plans if plan.title]  # type: ignore[attr-defined]
    name = titles[0] if titles else names[0] if len(names) == 1 else "All systems"
    return f"{name}: {drill}" if drill else str(name)
