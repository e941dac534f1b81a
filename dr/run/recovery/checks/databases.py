"""Restored databases, for the checks that ask them: whether they are there to be asked, and what the capture found."""

from __future__ import annotations

from dr.errors import SourceError
from dr.plan.source_kinds import in_own_server
from dr.run.recovery.checks.context import Restored
from dr.sources.database_inventory import DatabaseInventory

NAMED = 3  # of many differences, so many are named


def unloaded(restored: Restored) -> bool:
    """Whether a server's databases lie there as a dump only."""
    return in_own_server(restored.kind) and not restored.poured


def captured(restored: Restored) -> DatabaseInventory:
    """Return what the capture recorded of the databases; `SourceError` when it recorded nothing."""
    found = restored.instance.captured()
    if found is None:
        raise SourceError("the point holds no record of this database", restored.name, hint="back it up again")
    return found


def before_and_after(restored: Restored) -> tuple[DatabaseInventory, DatabaseInventory]:
    """Return what the capture recorded, and the same as it is now; `SourceError` when either is not to be had."""
    before, after = captured(restored), restored.instance.facts()
    if after is None:
        raise SourceError(
            f"a {restored.kind} source records no rows and objects", restored.name, hint="use another check"
        )
    return before, after
