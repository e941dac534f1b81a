"""All that may be sealed onto the chain: each kind of record, and how a fact is called there."""

from __future__ import annotations

from typing import Any, Literal, cast

from dr.evidence.acts import (
    Expiration,
    HoldEvent,
    KeyEvent,
    KitAct,
    Mounting,
    NewBeginning,
    Pruning,
    Rebuild,
    Repair,
    Rewind,
    Trust,
)
from dr.evidence.record import BackupRun, Drill, Proof, Replication

RecordKind = Literal[
    "backup",
    "replicate",
    "verify",
    "drill",
    "recovery",
    "rebuild",
    "keys",
    "hold",
    "rewind",
    "trust",
    "kit",
    "repair",
    "beginning",
    "expire",
    "prune",
    "mount",
]
_Act = KeyEvent | HoldEvent | Rewind | Trust | KitAct | Repair | NewBeginning | Expiration | Pruning | Mounting
Fact = BackupRun | Replication | Proof | Drill | Rebuild | _Act
KINDS: dict[str, type[Any]] = {
    "backup": BackupRun, "replicate": Replication, "verify": Proof, "drill": Drill, "recovery": Drill,
    "rebuild": Rebuild, "keys": KeyEvent, "hold": HoldEvent, "rewind": Rewind, "trust": Trust, "kit": KitAct,
    "repair": Repair, "beginning": NewBeginning, "expire": Expiration, "prune": Pruning, "mount": Mounting,
}  # fmt: skip
_KIND_OF = {each: cast("RecordKind", kind) for kind, each in KINDS.items() if kind != "recovery"}


def identity(fact: Fact) -> tuple[RecordKind, str, str]:
    """Return a fact's kind, the id of the run it came of, and its system ("" when it is of none, or of several)."""
    if isinstance(fact, Drill):
        return ("recovery" if fact.real else "drill"), fact.drill_id, fact.system
    system = "" if isinstance(fact, Rebuild | KitAct) else fact.system
    return _KIND_OF[type(fact)], fact.run_id, system
