"""The check `sql`: a query's value, held against what is expected, or against its value at capture."""

from __future__ import annotations

from datetime import datetime

from dr.plan.check_kinds import CAPTURED, SqlCheck
from dr.plan.expect import describe, holds
from dr.run.recovery.checks.context import CheckContext, CheckOutcome, verdict
from dr.run.recovery.checks.databases import captured
from dr.run.recovery.checks.driver import CheckDriver
from dr.sources.database_inventory import key_of


class SqlDriver(CheckDriver[SqlCheck]):
    """Asks a restored database."""

    declares = SqlCheck

    def expected(self) -> str:
        """See `CheckDriver`."""
        return describe(self.body.expect)

    def run(self, context: CheckContext) -> CheckOutcome:
        """See `CheckDriver`."""
        body, restored = self.body, context.sources[self.body.source]
        if restored.declared is None:
            return CheckOutcome(self.expected(), "the plan has no database of that name", "failed")
        value = restored.instance.probe(body.query, body.database)
        observed = "no value" if value is None else str(value)
        if body.expect != CAPTURED:
            return CheckOutcome(self.expected(), observed, verdict(holds(body.expect, value)))
        answers, key = captured(restored).answers, key_of(body.database, body.query)
        if key not in answers:
            why = "the point holds no answer: the query is newer than it"
            return CheckOutcome("the value at capture", why, "failed")
        before = answers[key]
        same = (None if value is None else str(value)) == before
        return CheckOutcome(f"= {'no value' if before is None else before} (at capture)", observed, verdict(same))

    def newest(self, context: CheckContext) -> datetime | None:
        """Return the newest record of the database that was asked."""
        return context.newest.get(self.body.source)
