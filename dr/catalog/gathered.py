"""Records read from several places, each once, and which of them belong to one chain: there may be a million of them.

They lie on disk, in a file of SQLite whose name is taken away as soon as it is open: it goes with the process, however
that ends. Held is what SQLite keeps of it, two megabytes, and the records of one number at a time.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self, TypeAlias

from dr.errors import CatalogError
from dr.evidence.seal import Sealed, fault_of, is_readable

#: Number, digest of the record before, own digest.
Link = tuple[int, str, str]
Named: TypeAlias = Callable[[str, str], bool]

#: `links` are what was read; those without a number are not as they were sealed. `chain` is what is on record, and what
#: is taken onto it, by its `id`; `pieces` are linked records without a gap, from the first number to the last. Of what
#: is on record `doubted` are the numbers of what is not as it was sealed, and `wanted` the digests that are told of it.
#: `seen` is what was whole at each place.
_TABLES = """
    create table links (
        id integer primary key, digest blob not null unique, seq integer, prev blob, at text, ref blob not null,
        kind text);
    create table texts (id integer primary key, text blob not null);
    create table chain (seq integer primary key, prev blob not null, digest blob not null, id integer);
    create table pieces (first integer not null, last integer not null, at text not null, digest blob not null);
    create table kept (first integer primary key, last integer not null);
    create table named (ref blob, kind text, primary key (ref, kind)) without rowid;
    create table doubted (seq integer primary key);
    create table seen (place text, name text, primary key (place, name)) without rowid;
    create table wanted (digest blob primary key) without rowid;
"""
#: Made once all is read.
_INDEXES = """
    create index links_seq on links (seq, id) where seq is not null;
    create index links_ref on links (ref);
"""
_SOUND = "select seq, id, digest, prev, at from links where seq is not null order by seq"
_WANTED = "exists (select 1 from wanted w where w.digest = links.digest) desc"
_LONGEST = "select first, last, digest from pieces order by last - first desc, at desc, digest desc"
#: Whether the last piece kept that begins before a number ends behind another.
_MET = "select last >= ? from kept where first <= ? order by first desc limit 1"
_TAKEN = "select text from chain join texts using (id) order by seq"
_STRANGE = "not exists (select 1 from chain c where c.digest = l.digest)"


class Gathered:
    """Records by their digests; of two that bear one digest that counts which is as it was sealed. A context.

    Raises `CatalogError` where the disk takes no more.
    """

    def __init__(self, folder: Path) -> None:
        self._where = folder
        self._named: Named = lambda ref, kind: False
        with self._errors():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with TemporaryDirectory(dir=folder) as made:
                self._db = sqlite3.connect(Path(made, "records"), isolation_level=None)
                self._db.execute("pragma journal_mode = off")  # nobody opens it again
                self._db.execute("pragma synchronous = off")
                self._db.execute("begin")
                for statement in _TABLES.split(";"):
                    self._db.execute(statement)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            what, hint = "the records that were found cannot be laid down", "free some space there, then try again"
            raise CatalogError(what, str(self._where), str(error), hint=hint) from error

    @contextmanager
    def whole(self) -> Iterator[None]:
        """What is added within counts only where all of it could be read."""
        (before,) = self._db.execute("select coalesce(max(id), 0) from links").fetchone()
        try:
            yield
        except BaseException:
            with self._errors():
                for table in ("links", "texts"):
                    self._db.execute(f"delete from {table} where id > ?", (before,))  # noqa: S608 - constants
            raise

    def add(self, text: bytes, *, where: str = "") -> str:
        """Take a record as it lies at a target (JSON), and return its name there; it is `seen` at that place.

        Of what is none, or not as it was sealed, or of a kind that nobody here knows, the name is empty. What is none
        is left out: the chain shows the gap.
        """
        record = Sealed.from_json(text)
        if record is None:
            return ""
        digest = _bytes(record.digest)
        with self._errors():
            known = self._db.execute("select id, seq from links where digest = ?", (digest,)).fetchone()
            if known and known[1] is not None:
                return self._seen(record, where) if fault_of(record) is None else ""
            sound = is_readable(record)
            link = (record.seq, _bytes(record.prev), record.at) if sound else (None, None, None)
            if known:
                self._db.execute("delete from texts where id = ?", known[:1])
            row = self._db.execute(
                "insert or replace into links (digest, seq, prev, at, ref, kind) values (?, ?, ?, ?, ?, ?)",
                (digest, *link, _bytes(record.ref), record.kind if sound else None),
            )
            if link[0] is not None:
                self._db.execute("insert into texts values (?, ?)", (row.lastrowid, zlib.compress(text, 1)))
            return self._seen(record, where) if sound else ""

    def _seen(self, record: Sealed, where: str) -> str:
        if where:
            self._db.execute("insert or ignore into seen values (?, ?)", (where, record.name))
        return record.name

    def seen(self, where: str) -> set[str]:
        """Return the names of the records that were found whole at a place."""
        with self._errors():
            return {str(name) for (name,) in self._db.execute("select name from seen where place = ?", (where,))}

    def fitting(
        self,
        there: Iterable[Link],
        named: Named = lambda ref, kind: False,
        *,
        doubted: Iterable[int] = (),
        wanted: Iterable[str] = (),
    ) -> Iterator[Sealed]:
        """Yield the records that belong onto a chain, by number; of it those are `there`. To be asked once.

        `named` says of a run or act, and a kind, whether its record is there: no second one is taken.

        Of several chains where nothing is there, else what links to that: in its gaps, before its first and after its
        last. For a record of it that is `doubted` only that is taken whose digest is `wanted`, or told by what follows.
        """
        self._named = named
        with self._errors():
            for statement in _INDEXES.split(";"):
                self._db.execute(statement)
            known = ((seq, _bytes(prev), _bytes(digest)) for seq, prev, digest in there)
            self._db.executemany("insert or replace into chain values (?, ?, ?, null)", known)
            self._db.executemany("insert or ignore into doubted values (?)", ((seq,) for seq in doubted))
            self._db.executemany("insert or ignore into wanted values (?)", ((_bytes(each),) for each in wanted))
            if self._db.execute("select 1 from chain union all select 1 from doubted limit 1").fetchone():
                self._link()
            else:
                self._keep_longest()
            self._db.execute("create index chain_digest on chain (digest)")
            rows = self._db.execute(_TAKEN)
        while (row := self._next(rows)) is not None:
            record = Sealed.from_json(zlib.decompress(row[0]))
            assert record is not None  # noqa: S101 - it was one when it was added
            yield record

    def _next(self, rows: sqlite3.Cursor) -> tuple[bytes] | None:
        with self._errors():
            row: tuple[bytes] | None = rows.fetchone()
            return row

    def strangers(self) -> int:
        """Return how many records belong to no chain that is kept. To be asked once `fitting` is through."""
        with self._errors():
            return int(self._db.execute(f"select count(*) from links l where {_STRANGE}").fetchone()[0])  # noqa: S608

    def strange(self, refs: Iterable[str]) -> set[str]:
        """Return of which of these runs and acts a record is one of the `strangers`."""
        asked = f"select 1 from links l where ref = ? and {_STRANGE} limit 1"  # noqa: S608 - constants
        with self._errors():
            return {ref for ref in refs if self._db.execute(asked, (_bytes(ref),)).fetchone()}

    # -- which belong to the chain ------------------------------------------------------------------

    def _link(self) -> None:
        """Take what links to what is there, first downwards from each gap's end, then upwards."""
        for order in ("desc", "asc"):
            for seq, number, digest, prev, _ in self._db.execute(f"{_SOUND} {order}, {_WANTED}, id"):
                near = self._db.execute("select seq, prev, digest from chain where seq between ? and ?", _around(seq))
                known = {each: (before, own) for each, before, own in near}
                after, before = known.get(seq + 1), known.get(seq - 1)
                if seq in known or not (after or self._is_wanted(digest) or (before and not self._is_doubted(seq))):
                    continue
                if (after is None or after[0] == digest) and (before is None or before[1] == prev):
                    self._take(seq, prev, digest, number)

    def _is_wanted(self, digest: bytes) -> bool:
        return self._db.execute("select 1 from wanted where digest = ?", (digest,)).fetchone() is not None

    def _is_doubted(self, seq: int) -> bool:
        return self._db.execute("select 1 from doubted where seq = ?", (seq,)).fetchone() is not None

    def _keep_longest(self) -> None:
        """Take the records of one chain; it may have gaps.

        There are several chains when a catalog was lost and begun anew, or set back to an older state: two records then
        have one number. The longest linked piece is kept, then the next that neither overlaps nor touches one kept.
        """
        self._find_pieces()
        for first, last, end in self._db.execute(_LONGEST):
            met = self._db.execute(_MET, (first - 1, last + 1)).fetchone()
            if met and met[0]:
                continue
            self._db.execute("insert into kept values (?, ?)", (first, last))
            digest = end
            for seq in range(last, first - 1, -1):
                number, prev = self._db.execute("select id, prev from links where digest = ?", (digest,)).fetchone()
                self._take(seq, prev, digest, number)
                digest = prev

    def _take(self, seq: int, prev: bytes, digest: bytes, number: int) -> None:
        ref, kind = self._db.execute("select ref, kind from links where id = ?", (number,)).fetchone()
        first = self._db.execute("insert or ignore into named values (?, ?)", (ref, kind)).rowcount
        if first and not self._named(ref.decode(), kind):
            self._db.execute("insert into chain values (?, ?, ?, ?)", (seq, prev, digest, number))

    def _find_pieces(self) -> None:
        """Note each end that nothing follows, and where what leads to it began."""
        behind, last = dict[bytes, tuple[int, str]](), 0
        for seq, level in groupby(self._db.execute(f"{_SOUND}, id"), key=itemgetter(0)):
            if seq != last + 1:
                self._note_ends(behind, last)
                behind = {}
            here, followed = dict[bytes, tuple[int, str]](), set[bytes]()
            for _, _, digest, prev, at in level:
                here[digest] = (behind[prev][0] if prev in behind else seq), at
                followed.add(prev)
            self._note_ends({digest: each for digest, each in behind.items() if digest not in followed}, last)
            behind, last = here, seq
        self._note_ends(behind, last)

    def _note_ends(self, ends: dict[bytes, tuple[int, str]], last: int) -> None:
        rows = ((first, last, at, digest) for digest, (first, at) in ends.items())
        self._db.executemany("insert into pieces values (?, ?, ?, ?)", rows)


def _around(seq: int) -> tuple[int, int]:
    return seq - 1, seq + 1


def _bytes(text: str) -> bytes:
    """Return a text as bytes: what a stranger wrote may be none that SQLite takes."""
    return text.encode("utf-8", "surrogatepass")
