"""What one proof leaves for the next: read from the catalog, and written there where it changed."""

from __future__ import annotations

from dr.catalog.store import Catalog
from dr.run.verification.memory import Seen, VerifyMemory


def memory_of(catalog: Catalog, system: str, target: str) -> VerifyMemory:
    """Return what is known of a repository."""
    return VerifyMemory(catalog.stored_objects(system, target), catalog.memory(system, target) or "")


def remember(catalog: Catalog, system: str, target: str, *, before: VerifyMemory, after: VerifyMemory) -> None:
    """Keep what is known after a run that began with what was known `before`."""
    if isinstance(after.objects, Seen):
        catalog.change_stored_objects(system, target, after.objects.differences())
    else:
        catalog.keep_stored_objects(system, target, after.objects)
    if after.config_hash != before.config_hash:
        catalog.remember(system, target, after.config_hash)
