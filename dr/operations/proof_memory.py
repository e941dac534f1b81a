"""What one proof leaves for the next: read from the catalog, and written there where it changed."""

from __future__ import annotations

from dr.catalog.store import Catalog
from dr.run.verification.memory import Named, Seen, VerifyMemory

#: Behind the name of a primary: where the catalog keeps what replications read of its index.
_INDEX = "/index"


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


def known_index(catalog: Catalog, system: str, primary: str, proof: VerifyMemory) -> VerifyMemory:
    """Return what is known of the primary's index: by the last proof, or the last replication, whichever knows more."""
    replication = memory_of(catalog, system, primary + _INDEX)
    return max((proof, replication), key=lambda memory: len(memory.indexes))


def keep_index(catalog: Catalog, system: str, primary: str, index: Named) -> None:
    """Keep what a replication read of the primary's index."""
    catalog.keep_stored_objects(system, primary + _INDEX, VerifyMemory.of_index(index).objects)
