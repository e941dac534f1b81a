"""Checks of restored databases: answers, rows and objects, held against the plan and against the capture."""

from __future__ import annotations

from collections.abc import Mapping

from dr.errors import SourceError
from dr.evidence.record import Outcome
from dr.plan.check import CAPTURED, RowsCheck, SchemaCheck, SqlCheck
from dr.plan.expect import describe, holds
from dr.run.recovery.checks.context import CheckContext, CheckOutcome, Restored
from dr.sources.database_inventory import DatabaseInventory, key_of

ROWS = "every table with the rows counted at capture"
OBJECTS = "tables, columns, indexes, constraints and extensions as at capture"
_NAMED = 3  # of many differences, so many are named
#: Kinds that a drill restores into a server of its own.
SERVED = ("postgres", "mysql")


def not_run(ground: CheckContext) -> str | None:
    """Return why no program is run on what was restored; None when one may be.

    A program that finds no restored server might turn to the live one.
    """
    if ground.partial:
        return "not run: this drill restored samples only"
    if any(unloaded(restored) for restored in ground.sources.values()):
        return "not run: the dumps were not loaded into a server"
    if any(restored.poured and not restored.instance.connection() for restored in ground.sources.values()):
        return "not run: the restored server cannot be reached from here"
    return None


def unloaded(restored: Restored) -> bool:
    """Whether a server's databases lie there as a dump only."""
    return restored.kind in SERVED and not restored.poured


def sql(ground: CheckContext, body: SqlCheck) -> CheckOutcome:
    """Hold a query's value against what is expected, or against its value at capture."""
    restored = ground.sources[body.source]
    if restored.declared is None:
        return CheckOutcome(describe(body.expect), "the plan has no database of that name", "failed")
    value = restored.instance.probe(body.query, body.database)
    observed = "no value" if value is None else str(value)
    if body.expect != CAPTURED:
        return CheckOutcome(describe(body.expect), observed, _verdict(holds(body.expect, value)))
    answers = _captured(restored).answers
    key = key_of(body.database, body.query)
    if key not in answers:
        return CheckOutcome("the value at capture", "the point holds no answer: the query is newer than it", "failed")
    before = answers[key]
    same = (None if value is None else str(value)) == before
    return CheckOutcome(f"= {'no value' if before is None else before} (at capture)", observed, _verdict(same))


def rows(ground: CheckContext, body: RowsCheck) -> CheckOutcome:
    """Hold the rows of every table against those counted in the snapshot that was dumped."""
    before, after = _both(ground.sources[body.source])
    differ = {name: after.rows.get(name) for name, count in before.rows.items() if after.rows.get(name) != count}
    expected = f"{sum(before.rows.values()):,} rows in {len(before.rows):,} tables, as counted at capture"
    observed = f"{sum(after.rows.get(name, 0) for name in before.rows):,} rows"
    observed += f" in {len(before.rows.keys() & after.rows.keys()):,} tables"
    if differ:
        told = [f"{name} has {_or_none(differ[name])}, not {before.rows[name]:,}" for name in sorted(differ)[:_NAMED]]
        observed += f"; {len(differ):,} differ: {', '.join(told)}"
    return CheckOutcome(expected, observed, _verdict(not differ))


def schema(ground: CheckContext, body: SchemaCheck) -> CheckOutcome:
    """Hold every object's definition against the one recorded at capture."""
    before, after = _both(ground.sources[body.source])
    excused = _excused(ground.sources[body.source])
    gone = sorted(before.objects.keys() - after.objects.keys() - excused)
    new = sorted(after.objects.keys() - before.objects.keys())
    both = before.objects.keys() & after.objects.keys() - excused
    other = sorted(name for name in both if before.objects[name] != after.objects[name])
    without = before.objects.keys() & excused - after.objects.keys()
    parts = [f"{len(before.objects) - len(without) - len(gone) - len(other):,} the same"]
    parts += [f"{len(without):,} missing as accepted: {', '.join(sorted(without)[:_NAMED])}"] if without else []
    parts += [f"{len(names):,} {word}: {', '.join(names[:_NAMED])}" for word, names in _kinds(gone, other, new)]
    return CheckOutcome(
        f"{len(before.objects):,} objects as at capture", "; ".join(parts), _verdict(not (gone or new or other))
    )


def _excused(restored: Restored) -> set[str]:
    """Return the objects that may be missing: a person said so, or they were broken at the source already."""
    instance = restored.instance
    return {key for each in instance.refusals if each not in instance.unaccepted for key in each.keys}


def _kinds(gone: list[str], other: list[str], new: list[str]) -> list[tuple[str, list[str]]]:
    return [pair for pair in (("missing", gone), ("changed", other), ("extra", new)) if pair[1]]


def _captured(restored: Restored) -> DatabaseInventory:
    found = restored.instance.captured()
    if found is None:
        raise SourceError("the point holds no record of this database", restored.name, hint="back it up again")
    return found


def _both(restored: Restored) -> tuple[DatabaseInventory, DatabaseInventory]:
    before, after = _captured(restored), restored.instance.facts()
    if after is None:
        raise SourceError(
            f"a {restored.kind} source records no rows and objects", restored.name, hint="use another check"
        )
    return before, after


def _or_none(count: int | None) -> str:
    return "none" if count is None else f"{count:,}"


def _verdict(holds_true: bool) -> Outcome:
    return "ok" if holds_true else "failed"


def connections(sources: Mapping[str, Restored]) -> dict[str, str]:
    """Return the environment by which programs reach the restored services; of several of a kind, the first's."""
    found: dict[str, str] = {}
    for restored in sources.values():
        for name, value in restored.instance.connection().items():
            found.setdefault(name, value)
    return found
