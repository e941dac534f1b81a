"""What the records say last of copies: which are damaged, missing, or destroyed with their keys.

Followed while the records pass by, as `dr.catalog.derive` takes them; most say nothing of it, and are not parsed. What
the records leave open is named as that: what an interrupted backup saw at a target is in none of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import Any, TypeAlias

from dr.catalog.values import micros
from dr.evidence.seal import Stored
from dr.late_dataclass import dataclass

_Body: TypeAlias = Mapping[str, Any]
#: A run and a target.
CopyKey: TypeAlias = tuple[str, str]
#: A system and a target.
Place: TypeAlias = tuple[str, str]
_SAYS = re.compile(r'"(?:lost|gone|harmed|expired|late_copies|left_behind|damaged_points|renewed)":\s*\[\s*[^\]\s]')
_LOOKED = re.compile(r'"looks":\s*\[\s*\{')
_CUT_SHORT = re.compile(r'"outcome":\s*"(?:failed|aborted)"')
_LOOKING = ("backup", "verify", "drill", "recovery", "replicate")
#: From this level on a proof has hashed each stored object of a copy.
_HASHED = 2


@dataclass
class RecordedCopies:
    """What the records that have passed by say, of whatever the index holds.

    `damaged` tells whether it is in restic's index alone; `missing` of each place which runs, and when that was seen;
    `destroyed` the number of the record, and at which of these places copies were `brought` since. Of the `open` copies
    nobody knows. `looked`: of systems whose last backup was cut short, and may have noted what it saw, the targets that
    were looked at since. `left`: the runs that left something behind, which is a point by that alone.
    `late` copies, and those on `replicas`, need not have the snapshots that their runs stored there.
    """

    damaged: dict[CopyKey, bool] = field(default_factory=dict)
    missing: dict[Place, dict[str, int]] = field(default_factory=dict)
    destroyed: dict[Place, int] = field(default_factory=dict)
    brought: set[Place] = field(default_factory=set)
    open: set[CopyKey] = field(default_factory=set)
    looked: dict[str, set[str]] = field(default_factory=dict)
    left: set[str] = field(default_factory=set)
    late: set[CopyKey] = field(default_factory=set)
    replicas: set[Place] = field(default_factory=set)
    _odd: set[str] = field(default_factory=set)
    _damaged_of: dict[CopyKey, str] = field(default_factory=dict)

    def take(self, record: Stored) -> None:
        """Follow one more record. Raises `ValueError` and the like for one that is not as it was sealed."""
        text = record.text
        may_be = record.kind == "backup" and ("failed" in text or "aborted" in text)  # quick, of those that went well
        if may_be and not _LOOKED.search(text) and _CUT_SHORT.search(text):
            self.looked[record.system] = set()
            self._odd.add(record.system)
        if self._matters(record):
            self._take(record, json.loads(record.text))

    def is_certain(self, place: Place) -> bool:
        """Whether the records alone tell what was last seen at a place."""
        system, target = place
        return system not in self.looked or target in self.looked[system]

    def _matters(self, record: Stored) -> bool:
        of_odd = record.system in self._odd and record.kind in _LOOKING
        return of_odd or record.kind in ("keys", "beginning") or _SAYS.search(record.text) is not None

    def _take(self, record: Stored, body: _Body) -> None:
        system, looks = record.system, body.get("looks") or ()
        for look in looks:
            self._take_look(system, look)
        if record.kind == "backup":
            self._take_backup(system, record.ref, body)
        elif record.kind == "verify":
            self._take_proof(system, body)
        elif record.kind == "replicate":
            self._take_replication((system, str(body["target"])), body)
        elif record.kind == "keys" and body["what"] == "destruction":
            self._take_destruction(record, [str(each["target"]) for each in body["targets"] if each["outcome"] == "ok"])
        elif record.kind == "beginning":
            self._drop((system, str(body["target"])), body["points"])
        elif record.kind == "expire":
            self._drop((system, str(body["target"])), [each["run_id"] for each in body["expired"]])
        self.left |= {str(each["run_id"]) for each in body.get("left_behind") or ()}
        for late in body.get("late_copies") or ():
            self._take_late(system, str(late["run_id"]), str(late["target"]))

    def _take_look(self, system: str, look: _Body) -> None:
        place, at = (system, str(look["target"])), micros(datetime.fromisoformat(look["at"]))
        lacking = dict.fromkeys([*look.get("lost", ()), *look.get("gone", ())], at)
        before = self.missing.pop(place, {})
        if look.get("whole", True):
            before = {}
            self.looked.get(system, set()).add(place[1])
        if after := before | lacking:
            self.missing[place] = after
            self._odd.add(system)
        self._harm(place, look.get("harmed", ()), look.get("doubtful", ()))
        self._drop(place, look.get("expired", ()))

    def _harm(self, place: Place, points: Iterable[str], doubtful: Sequence[str]) -> None:
        system, target = place
        for run_id in points:
            self.damaged[run_id, target] = run_id in doubtful
            self._damaged_of[run_id, target] = system
            self._odd.add(system)

    def _drop(self, place: Place, points: Iterable[str]) -> None:
        for run_id in points:
            self.damaged.pop((run_id, place[1]), None)
            self.missing.get(place, {}).pop(run_id, None)

    def _take_backup(self, system: str, run_id: str, body: _Body) -> None:
        for state in body.get("targets") or ():
            if state.get("snapshots"):
                self._drop((system, str(state["target"])), [run_id])
        for look in body.get("looks") or ():
            self._harm((system, str(look["target"])), look.get("harmed", ()), look.get("doubtful", ()))

    def _take_proof(self, system: str, body: _Body) -> None:
        target = str(body["target"])
        if int(body["level_reached"]) >= _HASHED:
            for run_id in body["points"]:
                self.damaged.pop((run_id, target), None)
        self._harm((system, target), body.get("damaged_points", ()), body.get("doubtful_points", ()))
        self._drop((system, target), body.get("expired", ()))

    def _take_replication(self, place: Place, body: _Body) -> None:
        """A replica holds the points that are named, and no others."""
        self.replicas.add(place)
        there = body.get("points")
        if there is None or body.get("by", "objects") != "objects":
            return
        gone = [run_id for run_id, target in self._damaged_at(place) if run_id not in there]
        self._drop(place, gone)
        self.open |= {(run_id, place[1]) for run_id in self.missing.pop(place, {})}  # there again, or of no source now
        self.brought.add(place)

    def _damaged_at(self, place: Place) -> list[CopyKey]:
        return [key for key in self.damaged if (self._damaged_of[key], key[1]) == place]

    def _take_destruction(self, record: Stored, targets: Iterable[str]) -> None:
        for target in targets:
            place = record.system, target
            self.destroyed[place] = record.seq
            self.brought.discard(place)
            self._odd.add(record.system)
            for key in self._damaged_at(place):
                del self.damaged[key]

    def _take_late(self, system: str, run_id: str, target: str) -> None:
        self.late.add((run_id, target))
        if (run_id, target) in self.damaged:
            self.open.add((run_id, target))  # whether by other snapshots is not followed
        self.missing.get((system, target), {}).pop(run_id, None)
        self.brought.add((system, target))
