"""Level 3: a share of what is stored, decrypted by restic; the shares take turns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from dr.evidence.record import Damage
from dr.evidence.stored_object import micros, moment
from dr.run.verification.findings import Findings
from dr.run.verification.memory import VerifyMemory, pack_name
from dr.run.verification.object_hashes import Inventory
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
    began, shares = micros(clock()), rule.shares(sum(stored.sizes.values()))
    packs = {
        name: item
        for name, item in memory.objects.items()
        if item.indexed is not None and name.startswith("data/") and name in stored.sizes
    }
    share = next_share(packs, shares, began)
    with activity.step("decrypt a share"):
        checked = place.repository.check(read_data_subset=f"{share}/{shares}")
    found.share = f"{share}/{shares}"
    if not checked.clean:
        found.damage += [Damage(object=pack_name(pack), problem="corrupt") for pack in checked.broken_packs]
        if not found.damage:
            found.problems.append(checked.errors[0][:300] if checked.errors else "the sample did not decrypt")
        return memory
    found.level = 3
    done = {
        name: item._replace(decrypted=began) if share_of(name, shares) == share else item
        for name, item in packs.items()
    }
    oldest = oldest_decrypted(done.values(), began)
    if found.coverage and oldest is not None:
        found.coverage = replace(found.coverage, oldest_decrypted=moment(oldest))
    return replace(memory, objects={**memory.objects, **done})
