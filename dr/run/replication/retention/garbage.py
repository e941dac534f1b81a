"""Which index files and packs may go with the snapshots, so that the replica is a valid repository at every instant.

An index file may go when each pack that it names goes too, or is named by one that stays; a pack when no snapshot
that stays needs it, as restic finds, and every index file that names it goes. They go in that order, after the
snapshots: what is left names nothing that is not there, whenever this is cut off. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence


def sweepable(
    names: Mapping[str, Collection[str]], absent: Sequence[str], unneeded: Collection[str]
) -> tuple[set[str], set[str]]:
    """Return the index files and packs, by id, that may go.

    `names` tells which packs each index file names; of these files only those in `absent` may go, the likeliest
    first; `unneeded` are the packs that no snapshot needs and that may go.
    """
    going, packs = [index for index in absent if index in names], set(unneeded)
    while True:
        packs -= {pack for index, named in names.items() if index not in going for pack in named}
        needed = _last_needed(names, going, packs)
        if needed is None:
            return set(going), packs
        going.remove(needed)


def _last_needed(names: Mapping[str, Collection[str]], going: Sequence[str], packs: Collection[str]) -> str | None:
    """Return the last of those that may go which alone tell of a pack that stays; None when there is none."""
    told = {pack for index, named in names.items() if index not in going for pack in named}
    return next((index for index in reversed(going) if not set(names[index]) <= told | set(packs)), None)
