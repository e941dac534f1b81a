"""Single tables out of a point: restored with their databases into a sandbox, as for a drill, and read out of there.

They come back as files, or beside the live ones under a new name; a live table is never written to. Rows are counted
at the restored table and again in what was written: the SQL is loaded once more where nothing else is, the CSV is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace

from dr.errors import DrError, InterruptedRunError
from dr.evidence.record import CheckResult
from dr.evidence.table_back import TableBack
from dr.plan.units import counted
from dr.run.recovery.foresee_tables import holds_no_source, refuse_unfit
from dr.run.recovery.state import Recovery
from dr.run.recovery.table_files import TableFile, prepare
from dr.sources.condition import stays_in_table
from dr.sources.tables import Script, Table, Tables, find, records_in, unknown
from dr.tools import activity

CHECK = "table"


def choose(recovery: Recovery) -> None:
    """Find the tables among what was recorded at capture: only their sources and databases are restored then.

    Where a source has no such record it is restored too, and asked. Raises `DrError` for a table that is not there,
    `UsageError` where what is to be written is there already: all of it before anything is loaded.
    """
    request, system = recovery.request, recovery.toolbox.plan.system
    able = {name: each for name, each in recovery.instances.items() if request.source in (None, name)}
    if not able:
        raise holds_no_source(recovery.chosen.point)
    listed = {name: each.foreseen_tables() for name, each in able.items()}
    known = {name: tables for name, tables in listed.items() if tables is not None}
    choice = find(request.tables, known, system)
    if choice.missing and len(known) == len(listed):
        raise unknown(choice.missing, (each for tables in known.values() for each in tables), system)
    for source, tables in choice.found.items():
        refuse_unfit(recovery.toolbox, request, source, tables)
    # A condition may ask other tables of its server, and other databases, too.
    alone = stays_in_table(request.where)
    needed = {name: frozenset[str]() for name in listed if name not in known}
    for source, tables in choice.found.items():
        needed[source] = frozenset(each.names[0] for each in tables) if alone else frozenset()
        recovery.alone[source] = _by_database(tables) if alone else {}
    recovery.wanted = needed


def _by_database(tables: Iterable[Table]) -> dict[str, frozenset[tuple[str, ...]]]:
    found: dict[str, frozenset[tuple[str, ...]]] = {}
    for each in tables:
        found[each.names[0]] = found.get(each.names[0], frozenset()) | {each.names[1:]}
    return found


def bring_tables(recovery: Recovery) -> None:
    """Read the tables out of the sandbox, once what they are in was started. What goes wrong is raised, or a check.

    A database of which something else did not come back is no reason against a table that is as it was at capture.
    """
    trouble, recovery.error = recovery.error, None
    opened = {name: item.instance.tables() for name, item in recovery.restored.items()}
    for name, item in recovery.restored.items():
        for note in item.instance.notes:
            recovery.journal.note(f"{name}: {note}")
    listed = {name: each.listed() for name, each in opened.items()}
    choice = find(recovery.request.tables, listed, recovery.toolbox.plan.system)
    if choice.missing:
        everything = (each for tables in listed.values() for each in tables)
        if trouble:
            raise DrError(trouble, hint="use another point, or bring its dumps back as files with --dumps")
        raise unknown(choice.missing, everything, recovery.toolbox.plan.system)
    for source, tables in choice.found.items():
        refuse_unfit(recovery.toolbox, recovery.request, source, tables)
    as_captured = [
        bring(recovery, source, opened[source], table, doubted=bool(trouble))
        for source, tables in choice.found.items()
        for table in tables
    ]
    if trouble and all(as_captured):
        recovery.journal.note(f"not all of its database came back: {trouble}", outcome="degraded")
    else:
        recovery.error = trouble


def bring(recovery: Recovery, source: str, tables: Tables, table: Table, *, doubted: bool = False) -> bool:
    """Bring one table back; return whether it was seen to be as it was at capture.

    `doubted`: something of its database did not come back. Then a table is left that cannot be held against what was
    counted at capture, and so is a condition, which may ask for what is missing.
    """
    request, wanted = recovery.request, table.at_capture
    if doubted and (wanted is None or request.where):
        return False
    all_rows = tables.count(table)
    if wanted is not None:
        _judge(
            recovery, source, wanted == all_rows, f"{counted(wanted, 'row')} of {table.name}, as at capture",
            f"{counted(all_rows, 'row')} in the restored table",
        )  # fmt: skip
        if wanted != all_rows:
            return False
    rows = tables.count(table, request.where) if request.where else all_rows
    with activity.step("", source=source):
        act = _load_beside if request.beside else _write
        back = act(recovery, tables, table, TableBack(
            source=source, table=table.name, rows=rows, rows_at_capture=wanted, filtered=bool(request.where),
            beside=request.beside,
        ))  # fmt: skip
    recovery.tables += [back] if back else []
    return wanted is not None


def _load_beside(recovery: Recovery, tables: Tables, table: Table, back: TableBack) -> TableBack:
    request = recovery.request
    live = recovery.toolbox.source(back.source).beside()
    script = tables.sql(table, request.where, called=live.meanwhile(request.beside))
    there = live.load(table, request.beside, script.chunks, back.rows)
    kept = _tell(recovery, table, script, back)
    place = ".".join((*table.names[:-1], request.beside))
    recovery.journal.note(f"{table.name}: {counted(there, 'row')} loaded beside it as {request.beside}", timed=True)
    _judge(recovery, back.source, there == back.rows, f"{counted(back.rows, 'row')} in {place}", f"{there:,} there")
    return kept


def _write(recovery: Recovery, tables: Tables, table: Table, back: TableBack) -> TableBack | None:
    """Write both files, look at each again, and give them their names when all is well; None when it is not."""
    request, to, before = recovery.request, recovery.request.to, len(recovery.checks)
    assert to is not None  # noqa: S101 - refused by the command line
    with ExitStack() as stack:
        prepare(to)
        sql, csv = (stack.enter_context(TableFile(to, table.name, ending)) for ending in (".sql", ".csv"))
        script = tables.sql(table, request.where)
        sql.write(script.chunks)
        csv.write(tables.csv(table, request.where))
        back = _tell(recovery, table, script, back)
        sql_digest, csv_digest = hashlib.sha256(), hashlib.sha256()
        held = records_in(_hashed(csv.read(), csv_digest))
        _judge(recovery, back.source, held == back.rows, f"{counted(back.rows, 'row')} in the CSV of {table.name}",
               f"{held:,} read in it")  # fmt: skip
        _judge_sql(recovery, back, lambda: tables.loads(table, sql.read()))
        if any(check.outcome == "failed" and check.mandatory for check in recovery.checks[before:]):
            return None
        for _ in _hashed(sql.read(), sql_digest):  # all of it, also where a server refused a part
            pass
        for file in (sql, csv):
            file.publish(over=request.force)
        recovery.journal.note(f"{table.name}: {counted(back.rows, 'row')} written as SQL and CSV", timed=True)
    return replace(back, sql_sha256=sql_digest.hexdigest(), csv_sha256=csv_digest.hexdigest())


def _judge_sql(recovery: Recovery, back: TableBack, load: Callable[[], int]) -> None:
    """Load the SQL once more. What it needs of its own database is no fault of it; other rows than there were are."""
    expected = f"{counted(back.rows, 'row')} in the SQL of {back.table}, loaded into an empty database"
    try:
        there = load()
    except InterruptedRunError:
        raise
    except DrError as error:
        _judge(recovery, back.source, False, expected, f"it was refused: {error.cause or error.what}", mandatory=False)
        return
    _judge(recovery, back.source, there == back.rows, expected, f"{there:,} there")


def _tell(recovery: Recovery, table: Table, script: Script, back: TableBack) -> TableBack:
    """Say what of the table does not come along, and what it needs."""
    left = [*script.left_out, *(f"needs what is not in it: {each}" for each in script.needs)]
    for each in left:
        recovery.journal.note(f"{table.name}: {each}")
    return replace(back, left_out=tuple(left))


def _judge(
    recovery: Recovery, source: str, holds: bool, expected: str, observed: str, *, mandatory: bool = True
) -> None:
    recovery.checks.append(
        CheckResult(
            check=CHECK, source=source, mandatory=mandatory, outcome="ok" if holds else "failed", expected=expected,
            observed=observed, finished=recovery.journal.now(),
        )
    )  # fmt: skip


def _hashed(chunks: Iterable[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    for chunk in chunks:
        digest.update(chunk)
        yield chunk
