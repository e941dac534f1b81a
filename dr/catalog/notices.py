"""Who was told of what: so that each is told once, over restarts, and once more when all is well again.

One row a channel and problem: `wrong` (to be told), `told`, or `well` (its end to be told). What is about to be sent is
claimed first, under an id that the message bears, and noted as told only after the channel took it. Whoever is killed
between leaves a claim: the next sends the same message under the same id. So no notice is lost, and one is sent twice
only where the sender died after the channel took it and before that was noted; both then bear one id.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from sqlite3 import Row
from typing import Any, Literal

from dr.catalog.connection import Connections
from dr.catalog.values import micros, moment
from dr.evidence.notice import Notice
from dr.evidence.seal import encode
from dr.late_dataclass import dataclass

State = Literal["wrong", "told", "well"]


@dataclass(frozen=True, kw_only=True)
class Told:
    """A notice of a channel, and how far it is. `claim` is the id of the message that it may be in already."""

    channel: str
    notice: Notice
    state: State
    claim: str = ""


@dataclass(frozen=True, kw_only=True)
class ChannelState:
    """How a channel fares: since when it fails, why, and when it is tried again; when summaries were last sent."""

    name: str
    failing: datetime | None = None
    error: str = ""
    tries: int = 0
    next_try: datetime | None = None
    digest: datetime | None = None
    report: datetime | None = None


class Notices:
    """What was told, in the catalog. One process at a time changes it: the holder of the lock `notify`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def all(self) -> list[Told]:
        """Return every notice that is open or to be told."""
        with self._connections.reading() as db:
            return [
                _told(row) for row in db.execute("select * from notices order by channel, system, problem, subject")
            ]

    def reconcile(
        self, channel: str, found: Iterable[Notice], *, judged: Callable[[Notice], bool | None], wants_well: bool
    ) -> None:
        """Bring a channel's notices up to what is wrong now; `found` holds what it wants to know.

        `judged` says of one that is not found any more whether it is over; None: what it was of is gone, and nobody
        asks any more.
        """
        new = {notice.identity: notice for notice in found}
        with self._connections.writing() as db:
            for old in [_told(row) for row in db.execute("select * from notices where channel = ?", (channel,))]:
                notice = new.pop(old.notice.identity, None)
                if notice is not None and (old.claim or notice == old.notice):
                    if old.state == "well" and not old.claim:
                        self._put(db, replace(old, state="told", notice=replace(old.notice, well=False)))
                elif notice is not None:
                    state: State = "told" if old.state == "well" else old.state
                    since = old.notice.since or notice.since
                    self._put(db, replace(old, state=state, notice=replace(notice, since=since)))
                elif not old.claim and old.state != "well":
                    over = judged(old.notice)
                    if over is None or (over and (old.state == "wrong" or not wants_well)):
                        self._drop(db, old)
                    elif over:
                        self._put(db, replace(old, state="well", notice=replace(old.notice, well=True)))
            for notice in new.values():
                self._put(db, Told(channel=channel, notice=notice, state="wrong"))

    def claims(self, channel: str, new_id: Callable[[], str]) -> Iterator[tuple[str, list[Notice]]]:
        """Yield what a channel is to be sent, each message with its id: first what a killed sender left."""
        with self._connections.writing() as db:
            query = "select * from notices where channel = ? and state != 'told'"
            waiting = [_told(row) for row in db.execute(query, (channel,))]
            fresh, claim = [each for each in waiting if not each.claim], new_id()
            for each in fresh:
                self._put(db, replace(each, claim=claim))
        left = sorted({each.claim for each in waiting if each.claim})
        for known in left:
            yield known, [each.notice for each in waiting if each.claim == known]
        if fresh:
            yield claim, [each.notice for each in fresh]

    def confirm(self, channel: str, claim: str) -> None:
        """Note that a channel took a message."""
        with self._connections.writing() as db:
            given = (channel, claim)
            db.execute("delete from notices where channel = ? and claim = ? and state = 'well'", given)
            db.execute("update notices set state = 'told', claim = '' where channel = ? and claim = ?", given)

    def release(self, channel: str, claim: str) -> None:
        """Take a claim back: the channel took nothing."""
        with self._connections.writing() as db:
            db.execute("update notices set claim = '' where channel = ? and claim = ?", (channel, claim))

    def forget(self, channels: Iterable[str]) -> None:
        """Drop all that is kept of channels but these."""
        kept = json.dumps(list(channels))
        with self._connections.writing() as db:
            for table, column in (("notices", "channel"), ("channels", "name")):
                query = f"delete from {table} where {column} not in (select value from json_each(?))"  # noqa: S608
                db.execute(query, (kept,))

    # -- channels -----------------------------------------------------------------------------------

    def channels(self) -> dict[str, ChannelState]:
        """Return how each channel that was ever used fares."""
        with self._connections.reading() as db:
            return {row["name"]: _channel(row) for row in db.execute("select * from channels")}

    def keep(self, state: ChannelState) -> None:
        """Keep how a channel fares."""
        times = [micros(x) if x else None for x in (state.failing, state.next_try, state.digest, state.report)]
        failing, next_try, digest, report = times
        with self._connections.writing() as db:
            row = (state.name, failing, state.error, state.tries, next_try, digest, report)
            db.execute("insert or replace into channels values (?, ?, ?, ?, ?, ?, ?)", row)

    @staticmethod
    def _put(db: Any, told: Told) -> None:
        body = json.dumps(encode(told.notice), sort_keys=True)
        row = (told.channel, *told.notice.identity, told.state, told.claim, body)
        db.execute("insert or replace into notices values (?, ?, ?, ?, ?, ?, ?)", row)

    @staticmethod
    def _drop(db: Any, told: Told) -> None:
        query = "delete from notices where channel = ? and problem = ? and system = ? and subject = ?"
        db.execute(query, (told.channel, *told.notice.identity))


def _told(row: Row) -> Told:
    body: Mapping[str, Any] = json.loads(row["body"])
    since = datetime.fromisoformat(body["since"]) if body.get("since") else None
    notice = Notice(**{**body, "since": since})
    return Told(channel=row["channel"], notice=notice, state=row["state"], claim=row["claim"])


def _channel(row: Row) -> ChannelState:
    names = ("failing", "next_try", "digest", "report")
    times = {name: moment(row[name]) if row[name] is not None else None for name in names}
    return ChannelState(name=row["name"], error=row["error"], tries=row["tries"], **times)
