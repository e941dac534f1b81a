"""The chain of evidence held against what lies beside the repositories: whoever changes the catalog cannot change both.

A catalog that was written again from its first record to its last is whole by itself; what was sent to the targets
before that still says what was on record then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from dr.errors import AbsentError, DrError, InterruptedRunError, NoRepositoryError
from dr.evidence.seal import Sealed
from dr.evidence.witness import StrangeRecord, Witness
from dr.plan.declarations import Loaded
from dr.plan.target import Target
from dr.session import Session
from dr.targets.kinds import driver_of
from dr.tools.store import contents


def witnesses(session: Session, items: Sequence[Loaded]) -> Iterator[Witness]:
    """Yield what each target of these systems keeps of their records, each read there now, held against the catalog."""
    for loaded in items:
        system = loaded.plan.system
        held = session.catalog.record_digests(system)
        for name in loaded.plan.places:
            try:
                yield _witness(session, system, session.declarations.targets[name], held)
            except InterruptedRunError:
                raise
            except DrError as error:
                yield Witness(system=system, target=name, error=error)


def _witness(session: Session, system: str, target: Target, held: Mapping[str, str]) -> Witness:
    store = driver_of(target, session.state).open().store
    try:
        store.reachable()
    except AbsentError:
        if not target.offline:
            raise
        return Witness(system=system, target=target.target, detached=True)
    known = session.catalog.repositories(system).get(target.target)
    if known and known.id and not store.child(system).exists("config"):
        raise NoRepositoryError(
            "no repository is there, and one is on record: what lay beside it was not read",
            f"{system} on {target.target}",
            hint="mount its disk, or correct its path, bucket or prefix",
        )
    agreed, strange, altered = set[str](), list[StrangeRecord](), list[str]()
    for name, text in contents(store.child(f"_evidence/{system}")):
        record = _sealed(name, text)
        if record is None:
            altered.append(name)
        elif held.get(name) == record.digest:
            agreed.add(name)
        else:
            strange.append(StrangeRecord(name=name, kind=record.kind, run_id=record.ref, at=record.at))
    lost = session.catalog.sent_names(system, target.target) - agreed
    return Witness(
        system=system,
        target=target.target,
        records=len(agreed),
        strange=tuple(strange),
        altered=tuple(sorted(altered)),
        lost=tuple(sorted(lost)),
        unsent=len(held.keys() - agreed - lost),
    )


def _sealed(name: str, text: bytes) -> Sealed | None:
    """Return a record; None where it is not as it was sealed, or has another's name."""
    record = Sealed.from_json(text)
    return record if record and record.name == name and record.fault() is None else None
