"""Adopting records as it is done; and as it can be written where all fit in memory, which that is held against."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from dr.catalog.gathered import Gathered
from dr.catalog.store import Catalog
from dr.evidence.seal import Sealed, is_readable


def adopt(catalog: Catalog, records: Iterable[Sealed]) -> int:
    """Let a catalog take records that were found."""
    with TemporaryDirectory() as folder, Gathered(Path(folder)) as gathered:
        for record in records:
            gathered.add(record.to_json())
        return catalog.adopt(gathered).records


def by_dictionaries(found: Iterable[Sealed], there: Mapping[int, tuple[str, str]]) -> list[Sealed]:
    """Return the records that belong onto a chain, by number, of which the digest before and the own are `there`."""
    good: dict[str, Sealed] = {}
    for record in found:
        if is_readable(record):
            good.setdefault(record.digest, record)
    chosen = _fitting(list(good.values()), there) if there else one_chain(good.values())
    return sorted(chosen, key=lambda record: record.seq)


def _fitting(found: list[Sealed], there: Mapping[int, tuple[str, str]]) -> list[Sealed]:
    known, taken = dict(there), []
    for falling in (True, False):
        for record in sorted(found, key=lambda item: item.seq, reverse=falling):
            after, before = known.get(record.seq + 1), known.get(record.seq - 1)
            if record.seq in known or not (after or before):
                continue
            if (after is None or after[0] == record.digest) and (before is None or before[1] == record.prev):
                known[record.seq] = (record.prev, record.digest)
                taken.append(record)
    return taken


def one_chain(records: Iterable[Sealed]) -> list[Sealed]:
    """The longest linked piece, then the next that neither overlaps nor touches one kept."""
    by_digest = {record.digest: record for record in records}
    ordered = sorted(by_digest.values(), key=lambda record: record.seq)
    before = {
        r.digest: by_digest[r.prev] for r in ordered if r.prev in by_digest and by_digest[r.prev].seq == r.seq - 1
    }
    length: dict[str, int] = {}
    for record in ordered:
        length[record.digest] = length.get(record.prev, 0) + 1 if record.digest in before else 1
    last = {record.digest for record in ordered} - {record.digest for record in before.values()}
    kept: dict[int, Sealed] = {}
    for digest in sorted(last, key=lambda name: (length[name], by_digest[name].at, name), reverse=True):
        end, size = by_digest[digest], length[digest]
        if kept.keys().isdisjoint(range(end.seq - size, end.seq + 2)):
            while size:
                kept[end.seq], size = end, size - 1
                end = before.get(end.digest, end)
    return [kept[number] for number in sorted(kept)]
