"""The check `schema`: every object's definition is the one recorded at capture."""

from __future__ import annotations

from dr.plan.check_kinds import SchemaCheck
from dr.run.recovery.checks.context import CheckContext, CheckOutcome, Restored, verdict
from dr.run.recovery.checks.databases import NAMED, before_and_after
from dr.run.recovery.checks.driver import CheckDriver


class SchemaDriver(CheckDriver[SchemaCheck]):
    """Compares the objects of a restored database."""

    declares = SchemaCheck

    def expected(self) -> str:
        """See `CheckDriver`."""
        return "tables, columns, indexes, constraints and extensions as at capture"

    def run(self, context: CheckContext) -> CheckOutcome:
        """See `CheckDriver`."""
        restored = context.sources[self.body.source]
        before, after = before_and_after(restored)
        excused = _excused(restored)
        gone = sorted(before.objects.keys() - after.objects.keys() - excused)
        new = sorted(after.objects.keys() - before.objects.keys())
        both = before.objects.keys() & after.objects.keys() - excused
        other = sorted(name for name in both if before.objects[name] != after.objects[name])
        without = sorted(before.objects.keys() & excused - after.objects.keys())
        same = len(before.objects) - len(without) - len(gone) - len(other)
        groups = (("missing as accepted", without), ("missing", gone), ("changed", other), ("extra", new))
        parts = [f"{len(names):,} {word}: {', '.join(names[:NAMED])}" for word, names in groups if names]
        observed = "; ".join([f"{same:,} the same", *parts])
        return CheckOutcome(
            f"{len(before.objects):,} objects as at capture", observed, verdict(not (gone or new or other))
        )


def _excused(restored: Restored) -> set[str]:
    """Return the objects that may be missing: a person said so, or they were broken at the source already."""
    instance = restored.instance
    return {key for each in instance.refusals if each not in instance.unaccepted for key in each.keys}
