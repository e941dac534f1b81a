"""What one run reads: within its budget, the suspicious first; and that nothing is called proven which was not read.

Whole lives of a repository, seeded: objects on a real disk come, go and spoil while a simulated clock runs.
"""

from __future__ import annotations

import hashlib
import os
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dr.evidence.coverage import Coverage
from dr.evidence.record import Proof
from dr.evidence.stored_object import HeldObjects, StoredObject, micros, moment
from dr.run.replication.retention.forget import _read_since
from dr.run.verification.comparison import ListingComparison
from dr.run.verification.inventory import Inventory, listed
from dr.run.verification.memory import Expected, Named, Seen, VerifyMemory
from dr.run.verification.object_hashes import hash_all
from dr.run.verification.rotation import ReadingRule, coverage_of, next_share, oldest_decrypted, share_of, to_read
from dr.run.verification.stored_bytes import read_part
from dr.tools.disk import DiskStore
from dr.tools.store import Stored

DAY = 86_400
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
RULE = ReadingRule(whole_within=10 * DAY, budget=40_000, interval=DAY)


@dataclass
class Life:
    """A repository on a disk, what is remembered of it, and what really happened to it."""

    root: Path
    rng: random.Random
    rule: ReadingRule = RULE
    now: datetime = NOON
    memory: VerifyMemory = field(default_factory=VerifyMemory)
    whole_at: dict[str, datetime] = field(default_factory=dict)  # when the bytes of each were last read, whole
    spoilt: dict[str, datetime] = field(default_factory=dict)
    stored: Inventory = field(default_factory=Inventory)

    def __post_init__(self) -> None:
        (self.root / "config").write_bytes(b"config")

    def add(self) -> str:
        data = self.rng.randbytes(self.rng.randrange(1, 2_000))
        name = hashlib.sha256(data).hexdigest()
        path = self.root / "data" / name[:2] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self._at(path, self.now)
        return f"data/{name[:2]}/{name}"

    def _at(self, path: Path, moment: datetime) -> None:
        os.utime(path, ns=(0, micros(moment) * 1_000))

    def prune(self, name: str) -> None:
        (self.root / name).unlink()
        self.spoilt.pop(name, None)

    def spoil(self, name: str, how: str) -> None:
        path = self.root / name
        before, data = path.stat().st_mtime_ns, bytearray(path.read_bytes())
        data[self.rng.randrange(len(data))] ^= 1
        path.write_bytes(data[:-1] if how == "cut" else data)
        os.utime(path, ns=(0, before)) if how == "rot" else self._at(path, self.now)
        self.spoilt.setdefault(name, self.now)

    def names(self) -> list[str]:
        return sorted(item.name for item in DiskStore(self.root).list("data/"))

    def verify(self) -> tuple[set[str], Coverage]:
        """One run: what it found damaged, and what it covers."""
        store, began = DiskStore(self.root), micros(self.now)
        self.stored = listed(store)
        against = ListingComparison(self.stored, self.memory.objects, began)
        read_part(store, against, self.rule, now=began)
        expected = Expected(gone=lambda name: name not in self.stored)
        bad = {item.object for item in against.damage(expected, config_hash=self.memory.config_hash)}
        packs = {item.name.rpartition("/")[2]: item.size for item in self.stored}
        seen = Seen(
            self.stored, self.memory.objects, expected, bad=bad, now=began, named=Named.of(packs.items(), frozenset())
        )
        coverage = coverage_of(against, self.rule, began, began=began, bad=bad)
        self.whole_at |= {
            item.name: self.now for item in self.stored if self.stored.is_read(item) and item.name not in bad
        }
        self.memory = VerifyMemory(HeldObjects(dict(seen.in_order())))
        return bad, coverage


@pytest.fixture
def life(tmp_path: Path) -> Life:
    (tmp_path / "disk").mkdir()
    return Life(tmp_path / "disk", random.Random(7))


@pytest.mark.parametrize("seed", range(6))
def test_nothing_older_than_the_bound_is_called_proven_and_damage_is_found_within_it(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    life = Life(tmp_path, rng)
    for _ in range(60):
        life.add()
    proven = 0
    for _ in range(45):
        life.now += timedelta(seconds=DAY * rng.choice((0.5, 0.9, 1, 1, 1, 1, 2.5)))
        for _ in range(rng.randrange(4)):
            life.add()
        for name in rng.sample(life.names(), rng.randrange(3)):
            life.prune(name)
        touched = dict[str, str]()
        if rng.random() < 0.3:
            name = rng.choice(life.names())
            touched[name] = rng.choice(("rot", "rot", "time", "cut"))
            life.spoil(name, touched[name])
        found, coverage = life.verify()
        assert found <= life.spoilt.keys(), "what is whole is never called damaged"
        seen_at_once = {name for name, how in touched.items() if how != "rot"}
        assert seen_at_once <= found, "what is listed in another way is found in the next run"
        if coverage.holds(life.now) and not found:
            proven += 1
            ages = [life.now - life.whole_at[item.name] for item in life.stored]
            assert max(ages) <= timedelta(seconds=RULE.whole_within)
            hidden = [life.now - at for at in life.spoilt.values()]
            assert all(age <= timedelta(seconds=RULE.whole_within) for age in hidden)
        for name in found:  # repaired: the same bytes again cannot be made, so it goes
            life.prune(name)
        late = [name for name, at in life.spoilt.items() if life.now - at > timedelta(days=10)]
        assert not late or not coverage.holds(life.now), "damage is found within the bound, or nothing is called proven"
    assert proven > 20, "the bound is kept most of the time"


def test_in_the_steady_state_a_run_reads_its_part_and_what_is_new(life: Life) -> None:
    life.rule = ReadingRule(whole_within=30 * DAY, budget=100_000, interval=DAY)
    for _ in range(400):
        life.add()
    life.rule, rule = life.rule.whole(), life.rule
    assert life.verify()[1].read_objects == 401
    life.rule, read, fresh = rule, 0, 0
    for _ in range(30):
        life.now += timedelta(days=1)
        fresh += (life.root / life.add()).stat().st_size
        found, coverage = life.verify()
        assert not found and coverage.holds(life.now)
        read += coverage.read_bytes
    assert read / 30 <= (coverage.bytes / 29 + fresh / 30) * 1.1 < coverage.bytes * 0.06
    assert min(life.whole_at.values()) >= NOON + timedelta(days=1), "each was read once more in these thirty days"


def test_a_run_reads_no_more_than_its_budget_and_at_least_one_object(life: Life) -> None:
    for _ in range(50):
        life.add()
    life.rule = ReadingRule(budget=5_000, interval=DAY)
    _, coverage = life.verify()
    assert 0 < coverage.read_bytes <= 5_000 and coverage.oldest_read is None
    assert coverage.unread_objects == 51 - coverage.read_objects
    life.rule = ReadingRule(budget=1, interval=DAY)
    assert life.verify()[1].read_objects == 1
    stored = listed(DiskStore(life.root))
    hash_all(DiskStore(life.root), stored, go_on=lambda: False)
    assert stored.read_objects == 1, "no time is left, and it gets on all the same"


def test_a_memory_that_was_edited_lets_no_damage_through_for_longer_than_the_bound(life: Life) -> None:
    for _ in range(60):
        life.add()
    life.verify()
    name = life.names()[0]
    life.spoil(name, "rot")
    ahead, here = micros(NOON + timedelta(days=3_000)), micros(NOON)
    as_if = {each: item._replace(read=ahead, decrypted=ahead) for each, item in life.memory.objects.in_order()}
    life.memory = VerifyMemory(HeldObjects(as_if))
    life.now += timedelta(days=1)
    found = set[str]()
    for _ in range(3):  # a time to come counts for nothing
        found |= life.verify()[0]
    assert name in found
    now = micros(life.now)
    life.memory = VerifyMemory(HeldObjects({each: item._replace(read=now) for each, item in as_if.items()}))
    days = 0
    while name not in life.verify()[0]:  # and one that was made up, no longer than a real one
        life.now, days = life.now + timedelta(days=1), days + 1
    assert days <= 10 and here < micros(life.now)


def test_a_memory_that_was_lost_proves_nothing_until_all_was_read_again(life: Life) -> None:
    for _ in range(80):
        life.add()
    while not life.verify()[1].holds(life.now):
        pass
    life.memory = VerifyMemory()
    life.rule = ReadingRule(whole_within=10 * DAY, budget=30_000, interval=DAY)
    _, coverage = life.verify()
    assert coverage.oldest_read is None and coverage.unread_objects
    while not coverage.holds(life.now):
        _, coverage = life.verify()
    assert coverage.unread_objects == 0


def test_what_is_damaged_stays_so_until_it_was_read_whole(life: Life) -> None:
    for _ in range(60):
        life.add()
    life.verify()
    life.now += timedelta(hours=1)
    name = life.names()[5]
    life.spoil(name, "time")
    life.rule = ReadingRule(budget=2_500, interval=DAY)
    for _ in range(4):
        life.now += timedelta(days=1)
        assert life.verify()[0] == {name}


@pytest.mark.parametrize("seed", range(6))
def test_so_many_runs_as_there_are_shares_decrypt_every_pack_while_packs_come_and_go(seed: int) -> None:
    rng, shares, now = random.Random(seed), rng_shares(seed), 1_000
    packs: dict[str, StoredObject] = {}
    history: list[set[str]] = []
    done: list[set[str]] = []

    def pack() -> str:
        digits = rng.randbytes(32).hex()
        return f"data/{digits[:2]}/{digits}"

    packs |= {pack(): StoredObject(since=now) for _ in range(40)}
    for _ in range(8 * shares):
        now += 1
        packs |= {pack(): StoredObject(since=now) for _ in range(rng.randrange(3))}
        for name in rng.sample(sorted(packs), rng.randrange(3)):
            del packs[name]
        share = next_share(packs.items(), shares, now)
        read = {name for name in packs if share_of(name, shares) == share}
        packs |= {name: packs[name]._replace(decrypted=now) for name in read}
        history.append(set(packs))
        done.append(read)
    for start in range(len(history) - shares + 1):
        span = range(start, start + shares)
        always = set.intersection(*(history[run] for run in span))
        assert always <= set.union(*(done[run] for run in span))
    oldest = oldest_decrypted(packs.values(), now)
    assert oldest is None or oldest > now - 2 * shares


def rng_shares(seed: int) -> int:
    return (1, 10, 10, 17, 30, 256)[seed]


def test_what_is_read_first_is_what_changed_then_what_was_never_read() -> None:
    def at(number: int) -> str:
        return f"data/00/{number:064x}"

    names = [*map(at, range(30)), last := "snapshots/" + "ff" * 32]
    there = Inventory(Stored(name, 10, moment(5_000_000)) for name in names)
    read = {at(n): StoredObject(10, 5_000_000, since=0, read=100 + n) for n in range(30)}
    read[at(20)] = read[at(20)]._replace(modified=4_000_000)
    read[at(21)] = read[at(21)]._replace(version="another")
    read[at(22)] = read[at(22)]._replace(size=9)
    del read[at(25)]
    rule = ReadingRule(whole_within=30 * DAY, budget=80, interval=DAY)
    now = micros(moment(0) + timedelta(days=1))
    chosen = to_read(ListingComparison(there, HeldObjects(read), now), rule, now)
    assert [there.at(row).name for row in chosen] == [at(20), at(21), at(22), last, at(25), at(0), at(1)]


@pytest.mark.parametrize(("days", "left"), [(1, None), (-1, "1 of 10 shares were decrypted"), (None, "1 of 10 shares")])
def test_a_replica_counts_as_decrypted_when_every_pack_there_was(days: int | None, left: str | None) -> None:
    seen = Coverage(
        objects=9, bytes=9, read_objects=1, read_bytes=1, oldest_read=NOON, whole_within_seconds=9,
        oldest_decrypted=NOON + timedelta(days=days) if days else None,
    )  # fmt: skip
    proof = Proof(
        run_id="v", system="sis", target="vault", started=NOON + timedelta(days=2), finished=NOON + timedelta(days=2),
        outcome="ok", level_asked=3, level_reached=3, share="3/10", coverage=seen,
    )  # fmt: skip
    found = _read_since([proof], NOON)
    assert found is None if left is None else (found or "").startswith(left)
