"""The figures for monitoring, read from the catalog alone: no target is asked. And the file that Prometheus reads."""

from __future__ import annotations

import secrets
from collections import Counter
from pathlib import Path

import dr
from dr.errors import DrError
from dr.queries.rooms import rooms
from dr.queries.status import PERIOD, board, site_problems
from dr.report.metrics import Family, Measured, families, render
from dr.session import Session


def measured(session: Session, *, restic_names: bool = False) -> list[Family]:
    """Return the metrics of all plans that can be used."""
    items, _ = session.usable()
    now, names = session.clock(), [loaded.plan.system for loaded in items]
    entries = board(session, items)
    holds = [hold for hold in session.catalog.holds() if hold.holds(now)]
    known = Measured(
        now=now,
        version=dr.__version__,
        rows=[entry.row for entry in entries],
        standings=session.catalog.standings(names, now=now, since=now - PERIOD),
        due={entry.row.system: entry.next_due for entry in entries},
        holds=Counter(hold.system for hold in holds),
        runs=session.catalog.run_counts(names),
        traffic=session.catalog.traffic(names),
        targets={name: session.declarations.targets[name] for item in items for name in item.plan.places},
        site=list(site_problems(session)),
        rooms=list(rooms(session)),
    )
    return families(known, restic_names=restic_names)


def write_textfile(session: Session, path: Path, *, restic_names: bool = False) -> None:
    """Write the metrics into a file, whole or not at all: who reads it at any time reads one state.

    Raises `DrError` where it cannot be written; what was there before then stays.
    """
    text = render(measured(session, restic_names=restic_names))
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")  # node_exporter reads what ends with .prom alone
    try:
        beside.write_text(text, "utf-8")
        beside.chmod(0o644)
        beside.replace(path)
    except OSError as error:
        hint = "see its directory and its rights, or name another file (in site.yaml it is metrics.textfile)"
        raise DrError("the metrics cannot be written", str(path), error.strerror or "", hint=hint) from error
    finally:
        beside.unlink(missing_ok=True)
