"""The disk at an offline target's path marked as its own."""

from __future__ import annotations

from pathlib import Path

from dr.errors import UsageError
from dr.session import Session
from dr.targets.kinds import driver_of


def first_use(session: Session, name: str) -> Path:
    """Mark the disk that is now at an offline target's path as its own; return that path.

    Raises `UsageError` when there is no such target, or it is none that may be absent.
    """
    target = session.declarations.targets.get(name)
    if target is None or not target.offline:
        known = [x for x, each in sorted(session.declarations.targets.items()) if each.offline]
        hint = f"those are: {', '.join(known)}" if known else "write `offline: true` in its file"
        raise UsageError(f"{name!r} is not a target whose disk may be taken away", "dr target adopt", hint=hint)
    return driver_of(target).first_use()
