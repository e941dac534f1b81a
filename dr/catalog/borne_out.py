"""What the index says was proven of copies, held against the records that it was derived from, while those pass by."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import field
from datetime import datetime
from sqlite3 import Connection
from typing import Any

from dr.catalog.index_check import record_of
from dr.catalog.values import micros, moment
from dr.evidence.seal import Stored, text_of
from dr.late_dataclass import dataclass

#: The kinds of records that prove something of copies.
KINDS = ("verify", "drill", "recovery")
_CLAIMS = "select run_id, target, proof_level, proven_at from copies where proof_level > 0"


@dataclass
class _Claim:
    """That a copy was proven to a level at a time: the highest that records name, and whether one has that time."""

    level: int
    at: str
    met: int = 0
    met_at: str = ""
    seen: bool = False


@dataclass
class Claims:
    """What is said of the proof of copies, by run and target, as far as no record has borne it out yet."""

    left: dict[tuple[str, str], _Claim] = field(default_factory=dict)

    @classmethod
    def of(cls, db: Connection) -> Claims:
        """Return all that the index says."""
        return cls(
            {
                (row["run_id"], row["target"]): _claim(row["proof_level"], row["proven_at"])
                for row in db.execute(_CLAIMS)
            }
        )

    def passing(self, records: Iterable[Stored]) -> Iterator[Stored]:
        """Yield records, and look at each that passes by."""
        for record in records:
            if self.left and record.kind in KINDS:
                self._look(record)
            yield record

    def _look(self, record: Stored) -> None:
        try:
            level, target, points = _shown(record.kind, json.loads(record.text))
        except (ValueError, TypeError, AttributeError, KeyError):
            return  # it is not as it was sealed, and is named for that
        for point in points:
            claim = self.left.get((point, target))
            if claim is None:
                continue
            if level >= claim.met:
                claim.met, claim.met_at = level, record.at
            claim.seen = claim.seen or claim.at == record.at
            if claim.seen and claim.met >= claim.level:
                del self.left[point, target]

    def stray(self, db: Connection) -> tuple[int, str] | None:
        """Return of which record's point more is said than was shown, and what; None where all was borne out."""
        for (run_id, target), claim in sorted(self.left.items()):
            told = f"level {claim.level}" if claim.met < claim.level else f"a time, {claim.at}"
            said = f"edited: the index says of its proof on {target} {told}, and no record does"
            return record_of(db, run_id), said
        return None

    def put_right(self, db: Connection) -> None:
        """Let the index say what records do, where it said more."""
        shown = [
            (claim.met, micros(datetime.fromisoformat(claim.met_at)) if claim.met else None, *key)
            for key, claim in self.left.items()
        ]
        db.executemany("update copies set proof_level = ?, proven_at = ? where run_id = ? and target = ?", shown)


def _claim(level: int, at: int | None) -> _Claim:
    try:
        return _Claim(int(level), text_of(moment(at)) if at is not None else "")
    except (TypeError, ValueError, OverflowError):
        return _Claim(9, "")


def _shown(kind: str, body: dict[str, Any]) -> tuple[int, str, list[str]]:
    """Return what a record shows: a level, at which target, of which points. A body of other values raises."""
    if kind == "verify":
        return int(body["level_reached"]), str(body["target"]), list(map(str, body["points"]))
    return int(body["proof_level"]), str(body["target"]), [str(body["run_id"])]
