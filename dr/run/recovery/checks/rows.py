"""The check `rows`: every table has the rows that were counted in the snapshot that was dumped."""

from __future__ import annotations

from dr.plan.check_kinds import RowsCheck
from dr.run.recovery.checks.context import CheckContext, CheckOutcome, verdict
from dr.run.recovery.checks.databases import NAMED, before_and_after
from dr.run.recovery.checks.driver import CheckDriver


class RowsDriver(CheckDriver[RowsCheck]):
    """Counts the rows of a restored database."""

    declares = RowsCheck

    def expected(self) -> str:
        """See `CheckDriver`."""
        return "every table with the rows counted at capture"

    def run(self, context: CheckContext) -> CheckOutcome:
        """See `CheckDriver`."""
        before, after = before_and_after(context.sources[self.body.source])
        differ = {name: after.rows.get(name) for name, count in before.rows.items() if after.rows.get(name) != count}
        expected = f"{sum(before.rows.values()):,} rows in {len(before.rows):,} tables, as counted at capture"
        observed = f"{sum(after.rows.get(name, 0) for name in before.rows):,} rows"
        observed += f" in {len(before.rows.keys() & after.rows.keys()):,} tables"
        if differ:
            told = [f"{name} has {_count(differ[name])}, not {before.rows[name]:,}" for name in sorted(differ)[:NAMED]]
            observed += f"; {len(differ):,} differ: {', '.join(told)}"
        return CheckOutcome(expected, observed, verdict(not differ))


def _count(rows: int | None) -> str:
    return "none" if rows is None else f"{rows:,}"
