"""The plan's checks, run on restored data: what was expected, what was observed, whether it held.

A check that cannot be made has failed. Texts name counts and values, never files: names of files go to a
local list (`CheckContext.names`). Nothing here follows a restored link, which may point at the live system.
`DRIVERS` has what each kind does; the kinds themselves are declared in `dr.plan.check_kinds`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from typing import Any

from dr.errors import DrError, InterruptedRunError
from dr.evidence.record import CheckResult
from dr.plan.check import Check
from dr.plan.check_kinds import KINDS, CheckBody
from dr.run.recovery.checks.command import CommandDriver
from dr.run.recovery.checks.context import CheckContext, CheckOutcome
from dr.run.recovery.checks.databases import unloaded
from dr.run.recovery.checks.driver import CheckDriver
from dr.run.recovery.checks.file import FileDriver
from dr.run.recovery.checks.http import HttpDriver
from dr.run.recovery.checks.manifest import ManifestDriver
from dr.run.recovery.checks.rows import RowsDriver
from dr.run.recovery.checks.schema import SchemaDriver
from dr.run.recovery.checks.sql import SqlDriver

_LONGEST = 300
#: What each kind of check does.
DRIVERS: dict[type[CheckBody], type[CheckDriver[Any]]] = {
    each.declares: each
    for each in (ManifestDriver, RowsDriver, SchemaDriver, SqlDriver, FileDriver, CommandDriver, HttpDriver)
}


def run_check(context: CheckContext, check: Check) -> Iterator[CheckResult]:
    """Run one check and yield its results: of some kinds one for each source, where none is named."""
    bodies = [check.body]
    if check.source is None and check.body.each_source:
        bodies = [check.body.model_copy(update={"source": name}) for name in context.sources]
    for body in bodies:
        yield _timed(context, DRIVERS[type(body)](body), mandatory=check.mandatory)


def in_order(checks: Sequence[Check]) -> list[Check]:
    """Return checks with those that only look before those that may change what they look at."""
    order = list(KINDS)
    return sorted(checks, key=lambda check: (check.body.turn, order.index(check.kind)))


def _timed(context: CheckContext, driver: CheckDriver[Any], *, mandatory: bool) -> CheckResult:
    began = time.monotonic()
    seen = _seen(context, driver)
    return CheckResult(
        check=driver.body.kind,
        source=driver.body.about,
        mandatory=mandatory,
        outcome=seen.outcome,
        expected=_tidy(seen.expected),
        observed=_tidy(seen.observed),
        seconds=round(time.monotonic() - began, 3),
        finished=context.now(),
        newest=driver.newest(context),
    )


def _seen(context: CheckContext, driver: CheckDriver[Any]) -> CheckOutcome:
    """Return what a check came to; what stands in its way is a failure."""
    if absent := _absent(context, driver.body):
        return absent
    if (source := driver.body.about) and driver.body.answered_by and unloaded(context.sources[source]):
        return CheckOutcome(driver.expected(), "not checked: the dump was not loaded into a server", "skipped")
    try:
        return driver.run(context)
    except InterruptedRunError:
        raise
    except DrError as error:
        return CheckOutcome(driver.expected(), f"could not be checked: {error}", "failed")
    except (OSError, re.error) as error:
        reason = error.strerror if isinstance(error, OSError) else f"the pattern is not usable: {error}"
        return CheckOutcome(driver.expected(), f"could not be checked: {reason}", "failed")


def _absent(context: CheckContext, body: CheckBody) -> CheckOutcome | None:
    """Return what a check comes to whose source was not restored; None where it was, or none is named."""
    source = body.about
    if source is None or source in context.sources:
        return None
    wanted = f"source {source} restored"
    if context.partial:
        return CheckOutcome(wanted, f"not checked: this drill did not restore {source}", "skipped")
    return CheckOutcome(wanted, f"the recovery point does not hold {source}", "failed")


def _tidy(text: str) -> str:
    """One printable line of at most 300 characters."""
    line = "".join(c if c.isprintable() else " " for c in text[: _LONGEST + 1])
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
