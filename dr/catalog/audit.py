"""The whole catalog read and held against itself: the chain, and what was derived from it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from sqlite3 import Connection

from dr.catalog import chain, derive, folding, reading
from dr.catalog.borne_out import Claims
from dr.catalog.index_check import IndexCheck
from dr.evidence.seal import ChainResult, Stored


def audit(db: Connection) -> ChainResult:
    """Read the whole chain, and what was derived from it; name the first record that is not as it was."""
    strays, claims, index = folding.Strays(), Claims.of(db), IndexCheck(db)
    result = chain.audit(db, look=strays.look, passing=lambda records: claims.passing(index.passing(records)))
    if result.first_bad:
        return result
    return replace(result, first_bad=strays.first or derive.first_stray(db) or claims.stray(db) or index.first())


def put_right(db: Connection) -> None:
    """Let the index say of points, copies and their proof what the records do, where it says otherwise."""
    claims, index = Claims.of(db), IndexCheck(db)
    deque(claims.passing(index.passing(_sound(db, index))), maxlen=0)
    claims.put_right(db)
    index.put_right()


def _sound(db: Connection, index: IndexCheck) -> Iterator[Stored]:
    """Yield the records that are as they were sealed, and note that others are not."""
    for record in reading.every(db):
        if record.fault() is None:
            yield record
        else:
            index.some_away = True
