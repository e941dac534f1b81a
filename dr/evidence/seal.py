"""The seal: canonical JSON (RFC 8785), its SHA-256, and the chain in which each record holds the last.

Tamper-evident, not tamper-proof: who holds the catalog and every target could rewrite all of it.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import types
import typing
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol, TypeAlias, cast

from dr.evidence.canonical import canonical, quoted
from dr.evidence.fact import KINDS, Fact, RecordKind, identity
from dr.late_dataclass import dataclass

GENESIS = "0" * 64
#: Numbers of records are smaller.
NUMBERS = 1 << 53
#: From one number to another, both with it.
NumberSpan: TypeAlias = tuple[int, int]


def name_of(seq: int, digest: str) -> str:
    """Return the name that a record has on a target, by its number and digest."""
    return f"{seq:08d}-{digest[:12]}.json"


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """One record of evidence. `digest` is over all else in it; `prev` is the digest of the one before."""

    seq: int
    kind: RecordKind
    ref: str
    system: str
    at: str
    prev: str
    body: Mapping[str, Any]
    digest: str

    @property
    def name(self) -> str:
        """The name of its object on a target."""
        return name_of(self.seq, self.digest)

    @property
    def fact(self) -> Fact:
        """The fact it holds."""
        return decode(self.kind, self.body)

    def to_json(self) -> bytes:
        """Return it as one canonical JSON document."""
        return canonical(_parts(self)).encode()

    def fault(self) -> str | None:
        """Return what is wrong with it by itself; None when it is as it was sealed."""
        return fault_of(self)

    @classmethod
    def from_json(cls, data: bytes) -> Sealed | None:
        """Return a record read from a target; None when the document is none."""
        try:
            record = cls(**json.loads(data))
        except (ValueError, TypeError, RecursionError):
            return None
        texts = (record.kind, record.ref, record.system, record.at, record.prev, record.digest)
        sound = type(record.seq) is int and all(isinstance(text, str) for text in texts)
        return record if sound and isinstance(record.body, dict) else None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One record as it is stored: its `text` is that of its body, which nobody needs to parse to see that it is whole.

    The columns are what they were read as: of a catalog that was tampered with they may be anything.
    """

    seq: int
    kind: str
    ref: str
    system: str
    at: str
    prev: str
    digest: str
    text: str

    def fault(self) -> str | None:
        """Return what is wrong with it by itself; None when it is as it was sealed.

        What is stored is what was hashed. Only where it is not is it parsed: an earlier release stored another text of
        the same values.
        """
        try:
            if _digest_of_text(self) == self.digest:
                return None
        except (TypeError, ValueError):
            pass
        return fault_of(self.sealed())

    def sealed(self) -> Sealed:
        """Return it with its body; one whose text is not JSON any more is returned as damaged."""
        try:
            body: Any = json.loads(self.text)
        except (ValueError, TypeError, RecursionError):
            body = {"damaged": str(self.text)}
        kind = cast("RecordKind", self.kind)
        return Sealed(
            seq=self.seq, kind=kind, ref=self.ref, system=self.system, at=self.at, prev=self.prev, digest=self.digest,
            body=body,
        )  # fmt: skip


def _digest_of_text(record: Stored) -> str:
    """Return the digest of a record whose text is canonical: the keys of the whole in their order, around it."""
    before = f'{{"at":{quoted(record.at)},"body":'
    after = f',"kind":{quoted(record.kind)},"prev":{quoted(record.prev)},"ref":{quoted(record.ref)}'
    end = f',"seq":{record.seq:d},"system":{quoted(record.system)}}}'
    return hashlib.sha256(f"{before}{record.text}{after}{end}".encode()).hexdigest()


class Link(Protocol):
    """A record as a link of the chain."""

    @property
    def seq(self) -> int:
        """Its number."""

    @property
    def prev(self) -> str:
        """The digest of the one before."""

    @property
    def digest(self) -> str:
        """Its own."""

    def fault(self) -> str | None:
        """Return what is wrong with it by itself."""


@dataclass(frozen=True, kw_only=True)
class ChainResult:
    """What reading the whole chain showed. `first_bad` is the number of a record and what is wrong.

    `missing` are records that nobody found when the catalog was made again: nothing is known of them.
    """

    records: int
    head: str
    first_bad: tuple[int, str] | None = None
    missing: tuple[NumberSpan, ...] = ()

    @property
    def outcome(self) -> str:
        """`ok` or `failed`."""
        return "failed" if self.first_bad else "ok"

    @property
    def fault(self) -> str:
        """What is wrong, in words; nothing where all is whole. What is of no record bears no number: 0."""
        number, what = self.first_bad or (0, "")
        return f"record {number} was {what}" if number else what.removeprefix("edited: ")


def seal(*, seq: int, prev: str, fact: Fact) -> Sealed:
    """Return the sealed record of a fact, number `seq`, after the record whose digest is `prev`."""
    kind, ref, system = identity(fact)
    parts: dict[str, Any] = {
        "seq": seq, "kind": kind, "ref": ref, "system": system, "at": text_of(fact.finished),
        "prev": prev, "body": encode(fact),
    }  # fmt: skip
    return Sealed(**parts, digest=digest_of(parts))


def digest_of(parts: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) over the canonical form of a record without its digest."""
    return hashlib.sha256(canonical({k: v for k, v in parts.items() if k != "digest"}).encode()).hexdigest()


def _parts(record: Sealed) -> dict[str, Any]:
    return {each.name: getattr(record, each.name) for each in dataclasses.fields(record)}


def fault_of(record: Sealed) -> str | None:
    """Return what is wrong with a record by itself; None when it is as it was sealed."""
    try:
        same = digest_of(_parts(record)) == record.digest
    except (ValueError, TypeError, RecursionError):
        same = False
    return None if same else "edited: its digest is not that of its contents"


def is_readable(record: Sealed) -> bool:
    """Whether a record is as it was sealed, and of a kind that this release knows, with values of their types."""
    if fault_of(record) is not None or not 0 < record.seq < NUMBERS:
        return False
    from dr.evidence.conforms import conforms  # who only reads our own records needs none of it

    fact = known_fact(record)
    return fact is not None and conforms(fact, type(fact))


def known_fact(record: Sealed) -> Fact | None:
    """Return the fact that a record holds; None where this release knows no such fact."""
    try:
        fact = record.fact
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return fact if isinstance(fact, Fact) else None


def verify_chain(
    records: Iterable[Link], *, head: tuple[int, str] | None = None, first: int = 1, gaps: Iterable[NumberSpan] = ()
) -> ChainResult:
    """Read a chain in its stored order and name the first record edited, removed or reordered.

    `head` is the number and digest that the last record must have; `first` the number of the first; `gaps` are numbers
    known to be missing (each span from its first to its last), as after a rebuild in part: what stands around one is
    not held to be linked. Holds one record at a time.
    """
    count, prev, expected = 0, None, first
    missing = dict(gaps)
    for record in records:
        while (last := missing.get(expected, 0)) >= expected:
            prev, expected = None, last + 1
        if problem := _problem(record, expected, prev):
            return ChainResult(records=count, head=prev or GENESIS, first_bad=problem)
        count, prev, expected = count + 1, record.digest, expected + 1
    told = tuple(sorted(missing.items()))
    if head and (last := missing.get(expected, 0)) >= expected:
        prev, expected = head[1], last + 1
    if head and head != (expected - 1, prev or GENESIS):
        problem = (min(expected, head[0]) or 1, "removed, or the head was edited: the chain does not end as it should")
        return ChainResult(records=count, head=prev or GENESIS, first_bad=problem, missing=told)
    return ChainResult(records=count, head=prev or GENESIS, missing=told)


def _problem(record: Link, expected: int, prev: str | None) -> tuple[int, str] | None:
    if record.seq > expected:
        return expected, "removed: its number is missing"
    if record.seq < expected:
        return record.seq, "reordered: it does not stand where its number says"
    if fault := record.fault():
        return record.seq, fault
    if prev is not None and record.prev != prev:
        return record.seq, "reordered or replaced: it does not follow the record before it"
    return None


# -- facts as JSON, and back --------------------------------------------------------------------------


def text_of(moment: datetime) -> str:
    """Return a time as evidence holds it: RFC 3339, UTC, to the microsecond."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def encode(value: Any) -> Any:
    """Return a fact, or a part of one, as JSON values: times as RFC 3339 UTC, tuples as lists."""
    if isinstance(value, datetime):
        return text_of(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")  # lone surrogates have no canonical form
    return value


def decode(kind: str, body: Mapping[str, Any]) -> Fact:
    """Return the fact of a record. Keys of a later release are left out; absent ones have their defaults."""
    return cast("Fact", build(KINDS[kind], body))


def build(kind: Any, value: Any) -> Any:
    """Return the value of a type that `encode` turned into JSON values."""
    origin = typing.get_origin(kind)
    if value is None:
        return None
    if dataclasses.is_dataclass(kind):
        types_of = _hints(cast("Any", kind))
        return cast("Any", kind)(**{k: build(types_of[k], v) for k, v in value.items() if k in types_of})
    if origin in (typing.Union, types.UnionType):
        return build(next(x for x in typing.get_args(kind) if x is not type(None)), value)
    if origin is tuple:
        return tuple(build(typing.get_args(kind)[0], item) for item in value)
    if kind is datetime:
        return datetime.fromisoformat(value)
    return float(value) if kind is float else value


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)
