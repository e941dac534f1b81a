"""What is not as it should be with the keys of a system, by the state and the record alone."""

from __future__ import annotations

from dr.evidence.acts import KeyEvent
from dr.plan.load import Loaded
from dr.run.keys.recipient import recipient_of
from dr.run.workspace.key_record import KeyRecord, record_path
from dr.session import Session


def removed_keys(session: Session, system: str) -> set[str]:
    """Return the ids of all keys of a system that are on record as removed."""
    facts = [record.fact for record in session.catalog.facts(("keys",), systems=[system])]
    changes = [change for fact in facts if isinstance(fact, KeyEvent) for change in fact.targets]
    return {key for change in changes for key in change.removed}


def key_problems(session: Session, loaded: Loaded) -> list[str]:
    """Return what is not as it should be with the keys of a system that has points. Reads the state alone."""
    if recipient_of(session.state, make=False) is None:
        return []
    problems = []
    for name in loaded.plan.targets:
        known = KeyRecord.read(record_path(session.state, loaded.plan.system, name))
        if known is None or not known.escrow:
            problems.append(f"no escrow key on {name} yet: no recovery kit could open it")
            continue
        if known.stale:
            problems.append(f"old keys still open the repository on {name}: its credentials may not delete them")
        if known.strangers:
            problems.append(f"keys that this program did not make open the repository on {name}: see `dr keys list`")
    return problems
