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
        expected = f"{_rows_in(sum(before.rows.values()), len(before.rows))}, as counted at capture"
        found = sum(after.rows.get(name, 0) for name in before.rows)
        observed = _rows_in(found, len(before.rows.keys() & after.rows.keys()))
        if differ:
            told = [f"{name} has {_count(differ[name])}, not {before.rows[name]:,}" for name in sorted(differ)[:NAMED]]
            observed += f"; {len(differ):,} differ{'s' if len(differ) == 1 else ''}: {', '.join(told)}"
        return CheckOutcome(expected, observed, verdict(not differ))


def _rows_in(rows: int, tables: int) -> str:
    return f"{rows:,} {'row' if rows == 1 else 'rows'} in {tables:,} {'table' if tables == 1 else 'tables'}"


def _count(rows: int | None) -> str:
    return "none" if rows is None else f"{rows:,}"
