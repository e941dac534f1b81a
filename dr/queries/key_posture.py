"""What is not as it should be with the keys of a system, by the state and the record alone."""

from __future__ import annotations

from collections.abc import Iterator

from dr.evidence.acts import KeyEvent
from dr.evidence.problem import SystemProblem
from dr.plan.declarations import Loaded
from dr.run.keys.recipient import recipient_of
from dr.run.workspace.key_record import KeyRecord, record_path
from dr.session import Session


def removed_keys(session: Session, system: str) -> set[str]:
    """Return the ids of all keys of a system that are on record as removed."""
    facts = [record.fact for record in session.catalog.facts(("keys",), systems=[system])]
    changes = [change for fact in facts if isinstance(fact, KeyEvent) for change in fact.targets]
    return {key for change in changes for key in change.removed}


def wants_escrow(session: Session) -> bool:
    """Whether passphrases are sealed for somebody here. Reads the state alone."""
    return recipient_of(session.state, make=False) is not None


def key_problems(session: Session, loaded: Loaded) -> Iterator[SystemProblem]:
    """Yield what is not as it should be with the keys of a system that has points, where escrow is wanted.

    Reads the state alone.
    """
    for name in loaded.plan.targets:
        yield from _on_target(
            loaded.plan.system, name, KeyRecord.read(record_path(session.state, loaded.plan.system, name))
        )


def _on_target(system: str, name: str, known: KeyRecord | None) -> Iterator[SystemProblem]:
    if known is None or not known.escrow:
        yield SystemProblem(
            kind="escrow_key_missing",
            system=system,
            severity="degraded",
            subject=name,
            text=f"no escrow key on {name} yet: no recovery kit could open it",
            todo=f"run `dr backup {system}`, which makes it",
        )
        return
    if known.stale:
        yield SystemProblem(
            kind="old_keys",
            system=system,
            severity="warning",
            subject=name,
            text=f"old keys still open the repository on {name}: its credentials may not delete them",
            todo="remove them with credentials that may",
        )
    if known.strangers:
        yield SystemProblem(
            kind="foreign_keys",
            system=system,
            severity="warning",
            subject=name,
            text=f"keys that this program did not make open the repository on {name}: see `dr keys list`",
            todo="see `dr keys list`",
        )
