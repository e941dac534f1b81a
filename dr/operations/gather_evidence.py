"""The evidence beside a repository, gathered for a rebuild; and what of it is not as it was put there."""

from __future__ import annotations

from collections.abc import Sequence

from dr.catalog.gathered import Gathered
from dr.catalog.store import Catalog
from dr.evidence.seal import NumberSpan
from dr.late_dataclass import dataclass
from dr.run.workspace.toolbox import Place

#: So many names are said; the others are counted.
_NAMED = 3


@dataclass(frozen=True)
class OddEvidence:
    """What is wrong with the evidence of one system on one target, by the names of files.

    `spoilt` is no record, or not as it was sealed, or has not its own name; `lost` was put there by the record of this
    installation, and is not there as it was.
    """

    where: str
    spoilt: tuple[str, ...]
    lost: tuple[str, ...]

    def in_words(self) -> list[str]:
        """Say it."""
        told = []
        if self.spoilt:
            told.append(f"among the evidence, not as it was sealed, or of a later release: {_some(self.spoilt)}")
        if self.lost:
            told.append(f"evidence was altered or removed, and is sent there again by the next run: {_some(self.lost)}")
        return told


def gather(system: str, place: Place, records: Gathered, catalog: Catalog, *, whole: bool) -> OddEvidence | None:
    """Gather the records beside a repository, all or none; return what is wrong with them, None for nothing.

    What the catalog holds, and the target no longer does, is to be sent there again, unless this is not the `whole` of
    what there is now.
    """
    sound, spoilt = set[str](), list[str]()
    with records.whole():
        for stored in place.evidence.list():
            name = records.add(place.evidence.get(stored.name))
            if name == stored.name:
                sound.add(name)
            else:
                spoilt.append(stored.name)
    lost = catalog.sent_names(system, place.name) - sound if whole else set[str]()
    if lost:
        catalog.mark_sent(system, place.name, int(min(lost).partition("-")[0]) - 1)
    return OddEvidence(f"{system}@{place.name}", tuple(sorted(spoilt)), tuple(sorted(lost))) if spoilt or lost else None


def missing_in_words(missing: Sequence[NumberSpan]) -> str:
    """Say which records nobody found when the catalog was made again."""
    spans = [str(first) if first == last else f"{first} to {last}" for first, last in missing]
    count = sum(last - first + 1 for first, last in missing)
    return f"on no target that was read, so that nothing is known of them: {count} records ({_some(spans)})"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
