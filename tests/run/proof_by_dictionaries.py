"""The keyless proof as it can be written where all fits in memory: every object in dictionaries, by name.

What the proof of streams is held against: the same findings, the same level, the same memory, whatever comes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dr.errors import DamageError
from dr.evidence.coverage import Coverage
from dr.evidence.record import Damage
from dr.evidence.stored_object import StoredObject, micros, moment
from dr.run.verification.findings import Findings
from dr.run.verification.rotation import ReadingRule, share_of
from dr.tools.restic_events import Checked, Index
from dr.tools.store import Stored, is_object

_PARTS = ("data/", "index/", "keys/", "snapshots/")
Objects = Mapping[str, StoredObject]


@dataclass
class Listing:
    """What is stored, by name."""

    sizes: dict[str, int] = field(default_factory=dict)
    modified: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    locks: list[Stored] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, items: Iterable[Stored]) -> Listing:
        found = cls()
        for item in items:
            if item.name.startswith("locks/"):
                found.locks.append(item)
            elif item.name == "config" or item.name.startswith(_PARTS):
                found.modified[item.name] = item.modified.timestamp()
                if not is_object(item.name):
                    found.left.append(item.name)
                else:
                    found.sizes[item.name] = item.size
                    found.versions[item.name] = item.version
        return found

    def as_listed(self, name: str) -> tuple[int, int, str]:
        return self.sizes[name], round(self.modified[name] * 1e6), self.versions[name]


def prove(
    place: Any,
    found: Findings,
    stored: Listing,
    checked: Checked | None,
    before: tuple[Objects, str],
    *,
    rule: ReadingRule,
    clock: Callable[[], Any],
    level: int,
) -> tuple[Objects, str]:
    """Return what is known then, and the hash of `config`."""
    previous, config_hash = before
    now, gone = micros(clock()), list[str]()
    for name in _to_read(stored, previous, rule, now):
        try:
            stored.hashes[name], stored.lengths[name] = place.store.sha256(name)
        except DamageError:
            gone.append(name)
    found.objects, found.bytes = len(stored.hashes), sum(stored.lengths.values())
    needed = _unpruned(found, stored, checked, previous)
    truncated = checked.truncated.items() if checked else ()
    expected = needed | {f"data/{pack[:2]}/{pack}": want for pack, (_, want) in truncated}
    bad = _damage(stored, expected, gone, config_hash)
    bad += list(_resized(stored, previous, but={item.object for item in bad}))
    names = {item.object for item in bad}
    found.damage = sorted([x for x in found.damage if x.object not in names] + bad, key=lambda item: item.object)
    sound = not found.damage and not found.problems
    index = _index(place, found, stored, previous)
    if index:
        found.damage += [item for item in _unreferenced(stored, index.packs) if item.object not in names]
    objects = {name: _as_known(stored, name, previous.get(name), name in names, now) for name in stored.sizes}
    lost = (name for name in needed if name not in objects and name in previous)
    objects |= {name: previous[name]._replace(read=None, decrypted=None) for name in lost}
    found.coverage = _coverage(stored, objects, rule, now, names)
    if not sound:
        return objects, config_hash
    if found.coverage.holds(clock()) or rule.reads_all(found.coverage.bytes):
        found.level = 2
    assert index
    objects = _with_index(objects, index)
    if level >= 3 and found.level == 2:
        objects = _decrypt(found, objects, stored, rule, now)
    return objects, config_hash or stored.hashes.get("config", "")


def _decrypt(
    found: Findings, objects: Objects, stored: Listing, rule: ReadingRule, now: int
) -> dict[str, StoredObject]:
    shares, waits = rule.shares(sum(stored.sizes.values())), dict[int, tuple[int, bool]]()
    packs = {n: x for n, x in objects.items() if x.indexed is not None and n.startswith("data/") and n in stored.sizes}
    for name, item in packs.items():
        share, mine = share_of(name, shares), (item.since if item.since <= now else 0, False)
        if item.decrypted is not None and item.decrypted <= now:
            mine = (item.decrypted, True)
        waits[share] = min(mine, waits.get(share, mine))
    share = min(waits, key=lambda share: (waits[share], share), default=1)
    found.share, found.level = f"{share}/{shares}", 3
    done = {n: x._replace(decrypted=now) if share_of(n, shares) == share else x for n, x in packs.items()}
    times = [x.decrypted if x.decrypted is not None and x.decrypted <= now else -1 for x in done.values()]
    if found.coverage and times and min(times) >= 0:
        found.coverage = replace(found.coverage, oldest_decrypted=moment(min(times)))
    return {**objects, **done}


def _is_read(there: Listing, name: str, known: StoredObject, now: int) -> bool:
    return known.read is not None and known.read <= now and known[:3] == there.as_listed(name)


def _to_read(there: Listing, known: Objects, rule: ReadingRule, now: int) -> list[str]:
    if rule.reads_all(sum(there.sizes.values())):
        return list(there.sizes)
    chosen, read = list[str](), 0
    for name in _in_turn(there, known, rule, now):
        read += there.sizes[name]
        if chosen and rule.budget is not None and read > rule.budget:
            break
        chosen.append(name)
    return chosen


def _in_turn(there: Listing, known: Objects, rule: ReadingRule, now: int) -> Iterator[str]:
    changed, new, waiting = [], [], []
    for name in there.sizes:
        item = known.get(name)
        if item is not None and _is_read(there, name, item, now):
            waiting.append((item.read or 0, _id(name), name))
        elif item is not None and (item.read is not None or item.modified is None):
            changed.append(name)
        else:
            new.append((name.startswith("data/"), item is None, name))
    yield from sorted(changed)
    yield from (name for _, _, name in sorted(new))
    waiting.sort()
    left = sum(there.sizes.values()) / max(1, rule.runs - 1)
    soon = now - (rule.whole_within - 1.5 * (rule.interval or 0)) * 1e6
    for at, _, name in waiting:
        if at > soon and left <= 0:
            return
        yield name
        left -= there.sizes[name]


def _coverage(there: Listing, known: Objects, rule: ReadingRule, now: int, bad: Collection[str]) -> Coverage:
    times, unread, harmed = list[int](), list[str](), False
    for name in there.sizes:
        item = known.get(name, StoredObject())
        if item.read is not None and _is_read(there, name, item, now):
            times.append(item.read)
        elif name in bad:
            harmed = True
        else:
            unread.append(name)
    return Coverage(
        objects=len(there.sizes),
        bytes=sum(there.sizes.values()),
        read_objects=len(there.hashes),
        read_bytes=sum(there.lengths.values()),
        oldest_read=moment(min(times)) if times and not (unread or harmed) else None,
        whole_within_seconds=rule.whole_within,
        unread_objects=len(unread),
        unread_bytes=sum(there.sizes[name] for name in unread),
    )


def _damage(found: Listing, before: Mapping[str, int], gone: Iterable[str], config_hash: str) -> list[Damage]:
    damage = [Damage(object=name, problem="missing") for name in before if name not in found.sizes]
    damage += [Damage(object=name, problem="missing") for name in gone]
    for name, digest in found.hashes.items():
        if digest != (config_hash or digest if name == "config" else _id(name)):
            length = found.lengths[name]
            short = (name in before and length < before[name]) or length == 0
            damage.append(Damage(object=name, problem="truncated" if short else "corrupt"))
    if "config" not in found.sizes and "config" not in before:
        damage.append(Damage(object="config", problem="missing"))
    return damage


def _resized(stored: Listing, previous: Objects, *, but: Collection[str]) -> Iterator[Damage]:
    for name, size in stored.sizes.items():
        was = previous.get(name)
        if was is None or was.read is None or was.size == size or name in stored.hashes or name in but:
            continue
        yield Damage(object=name, problem="truncated" if size < (was.size or 0) else "corrupt")


def _unreferenced(found: Listing, packs: Collection[str]) -> list[Damage]:
    began = min((lock.modified.timestamp() for lock in found.locks), default=float("inf"))
    strays = [name for name in found.sizes if name.startswith("data/") and _id(name) not in packs]
    names = sorted((*strays, *found.left))
    return [Damage(object=name, problem="unreferenced") for name in names if found.modified[name] < began]


def _needed(objects: Objects) -> dict[str, int]:
    return {
        name: item.size
        for name, item in objects.items()
        if item.size is not None and (item.indexed is not None or not name.startswith("data/"))
    }


def _unpruned(found: Findings, stored: Listing, checked: Checked | None, previous: Objects) -> dict[str, int]:
    needed = _needed(previous)
    gone = {name for name in needed if name.startswith("snapshots/") and name not in found.on_record}
    if checked and checked.clean:
        gone |= {name for name in needed if name.startswith(("index/", "data/")) and name not in stored.sizes}
    return {name: size for name, size in needed.items() if name not in gone}


def _index(place: Any, found: Findings, stored: Listing, previous: Objects) -> Index | None:
    there = {_id(name) for name in stored.sizes if name.startswith("index/")}
    named = {name: item.indexed for name, item in previous.items() if item.indexed is not None}
    known = Index(
        {_id(name): size for name, size in named.items() if name.startswith("data/")},
        tuple(sorted(_id(name) for name in named if name.startswith("index/"))),
    )
    if there == set(known.indexes):
        return known
    if found.problems or any(item.object.startswith(("index/", "keys/", "config")) for item in found.damage):
        return None
    grown = set(known.indexes) <= there
    index: Index = place.repository.indexed(there - set(known.indexes) if grown else there)
    return Index({**(known.packs if grown else {}), **index.packs}, tuple(sorted(there)))


def _with_index(objects: Objects, index: Index) -> dict[str, StoredObject]:
    named = {f"data/{pack[:2]}/{pack}": size for pack, size in index.packs.items()}
    named |= {f"index/{each}": 1 for each in index.indexes}
    known = {name: item._replace(indexed=named.get(name)) for name, item in objects.items()}
    return known | {name: StoredObject(indexed=size) for name, size in named.items() if name not in known}


def _as_known(stored: Listing, name: str, was: StoredObject | None, bad: bool, now: int) -> StoredObject:
    size, modified, version = stored.as_listed(name)
    if was is None or was.size is None:
        was = (was or StoredObject())._replace(size=size, modified=modified, version=version, since=now)
    if bad:
        return was._replace(modified=None, read=None, decrypted=None)
    if name in stored.hashes:
        same = _is_read(stored, name, was, now)
        decrypted = was.decrypted if same and was.decrypted is not None and was.decrypted <= now else None
        return was._replace(size=size, modified=modified, version=version, read=now, decrypted=decrypted)
    return was


def _id(name: str) -> str:
    return name.rpartition("/")[2]
