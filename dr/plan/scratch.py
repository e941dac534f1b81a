"""Whether a target may be the scratch of a ransomware drill, where everything is deleted and overwritten."""

from __future__ import annotations

from collections.abc import Mapping

from dr.plan.plan import Plan
from dr.plan.target import Target


def why_unsafe(name: str, plans: Mapping[str, Plan], targets: Mapping[str, Target]) -> str:
    """Return why a target must not be attacked in a drill; nothing when it may be.

    It must be a bucket in which nothing else that is declared lies. Buckets are told by their names alone: one service
    may be reached by several addresses, and one bucket too few costs less than one too many.
    """
    if name not in targets:
        return f"there is no usable target {name!r}"
    place = targets[name].declared
    if not place.may_keep_versions:
        noun = f"{'an' if place.noun[0] in 'aeiou' else 'a'} {place.noun}"
        return f"the target {name!r} is {noun}: only a bucket that keeps versions can be attacked and recovered"
    for system, plan in sorted(plans.items()):
        if name in {*plan.targets, *plan.replicas}:
            return f"the target {name!r} holds copies of the system {system!r}"
    for other, target in sorted(targets.items()):
        if other != name and target.kind == place.key and target.declared.container == place.container:
            return f"the target {name!r} lies in the bucket of the target {other!r}"
    return ""
