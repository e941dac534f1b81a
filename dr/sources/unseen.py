"""Accounts that a capture may not see: one rule for every kind of database server.

A plan that names databases asks for what is in them: without the accounts around them the point is complete, and its
run is degraded, and so is every drill and recovery of it. With `all: true` the plan asks for the whole server, of
which accounts are a part; and accounts that own what is in the databases are needed to bring it back. Then the point
is not complete.
"""

from __future__ import annotations

from collections.abc import Sequence

from dr.evidence.record import Omission


def unseen(what: str, hint: str, *, names: tuple[str, ...], everything: bool, owners: Sequence[str] = ()) -> Omission:
    """Return what to tell of accounts, or passwords of theirs, that cannot be seen.

    `everything`: the plan says `all: true`. `owners` are those of them that own what is captured.
    """
    needed = f"; {', '.join(owners)} own views or code that is" if owners else ""
    return Omission(what=what + needed, hint=hint, names=names, partial=everything or bool(owners))
