"""The scratch target of a ransomware drill: named, and safe to attack, or refused before anything is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dr.errors import UsageError
from dr.plan.declarations import Loaded
from dr.session import Session

if TYPE_CHECKING:
    from dr.plan.target import Target


def scratch_of(session: Session, loaded: Loaded, asked: str | None) -> Target:
    """Return the target to attack: the one that was asked for, else the plan's.

    Raises `UsageError` when none is named, or something that is needed may lie there.

    Where a declaration cannot be read, it cannot be told what lies where: then no target is safe.
    """
    from dr.plan.scratch import why_unsafe

    name, known = asked or loaded.plan.drill.scratch, session.declarations
    where = f"{loaded.plan.system}: drill.scratch"
    if name is None:
        hint = "add `scratch:` to the plan, or --scratch, with a target that no plan uses, in a bucket of its own"
        raise UsageError("no scratch target is named to attack", where, hint=hint)
    if unreadable := known.stopping(()):
        what = "a plan or target cannot be read, so what lies on the scratch target cannot be told"
        raise UsageError(what, unreadable[0].where, hint="run `dr validate`, and fix what it says")
    if why := why_unsafe(name, {x.plan.system: x.plan for x in known.plans.values()}, known.targets):
        raise UsageError(why, where, hint="name a target that no plan uses, in a bucket of its own")
    return known.targets[name]
