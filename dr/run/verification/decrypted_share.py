"""Level 3: a share of what is stored, decrypted by restic; the shares take turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime

from dr.evidence.record import Damage
from dr.evidence.stored_object import StoredObject, micros, moment
from dr.run.verification.findings import Findings
from dr.run.verification.inventory import Inventory
from dr.run.verification.memory import Decrypted, Seen, VerifyMemory, is_pack, pack_name
from dr.run.verification.rotation import ReadingRule, next_share, oldest_decrypted, share_of
from dr.run.workspace.toolbox import Place
from dr.tools import activity


def decrypt_share(
    place: Place,
    found: Findings,
    memory: VerifyMemory,
    stored: Inventory,
    *,
    rule: ReadingRule,
    clock: Callable[[], datetime],
) -> VerifyMemory:
    """Decrypt this run's share, and return with what is known then."""
    began, shares = micros(clock()), rule.shares(stored.bytes)
    seen = memory.objects
    assert isinstance(seen, Seen)  # noqa: S101 - all was just read
    share = next_share(_packs(seen), shares, began)
    with activity.step("decrypt a share"):
        checked = place.repository.check(read_data_subset=f"{share}/{shares}")
    found.share = f"{share}/{shares}"
    if not checked.clean:
        found.damage += [Damage(object=pack_name(pack), problem="corrupt") for pack in checked.broken_packs]
        if not found.damage:
            found.problems.append(checked.errors[0][:300] if checked.errors else "the sample did not decrypt")
        return memory
    found.level = 3
    done = replace(seen, decrypted=Decrypted(holds=lambda name: share_of(name, shares) == share, at=began))
    oldest = oldest_decrypted((item for _, item in _packs(done)), began)
    if found.coverage and oldest is not None:
        found.coverage = replace(found.coverage, oldest_decrypted=moment(oldest))
    return replace(memory, objects=done)


def _packs(seen: Seen) -> Iterator[tuple[str, StoredObject]]:
    """Yield the packs that are listed, and that the index names."""
    for name, listed, _, known in seen.changes("data/"):
        if listed and known and is_pack(name, known):
            yield name, known
