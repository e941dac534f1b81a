"""The evidence beside a repository, gathered for a rebuild; and what of it is not as it was put there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from dr.catalog.gathered import Gathered
from dr.catalog.store import Catalog
from dr.evidence.acts import Rebuild
from dr.evidence.seal import NumberSpan
from dr.late_dataclass import dataclass
from dr.plan.units import first_few
from dr.run.workspace.toolbox import Place
from dr.tools.store import contents


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
            told.append(f"among the evidence, not as it was sealed, or of a later release: {first_few(self.spoilt)}")
        if self.lost:
            told.append(
                f"evidence was altered or removed, and is sent there again by the next run: {first_few(self.lost)}"
            )
        return told


def gather(system: str, place: Place, records: Gathered) -> list[str]:
    """Gather the records beside a repository, all or none; return the names of what is not as it was sealed."""
    spoilt = list[str]()
    with records.whole():
        for stored_as, text in contents(place.evidence):
            name = records.add(text, where=_where(system, place.name))
            if name != stored_as:
                spoilt.append(stored_as)
    return spoilt


def odd_of(
    gathered: Iterable[tuple[str, str, list[str]]], records: Gathered, catalog: Catalog, *, whole: bool
) -> Iterator[OddEvidence]:
    """Yield what is wrong with the evidence of places, once what was gathered there is in the catalog.

    What the catalog holds, and the target no longer does, is to be sent there again, unless what was seen is not the
    `whole` of what there is now.
    """
    for system, target, spoilt in gathered:
        where = _where(system, target)
        lost = catalog.sent_names(system, target) - records.seen(where) if whole else set[str]()
        if lost:
            catalog.mark_sent(system, target, int(min(lost).partition("-")[0]) - 1)
        if spoilt or lost:
            yield OddEvidence(where, tuple(sorted(spoilt)), tuple(sorted(lost)))


def _where(system: str, target: str) -> str:
    return f"{system}@{target}"


def missing_in_words(missing: Sequence[NumberSpan]) -> str:
    """Say which records nobody found when the catalog was made again."""
    return f"on no target that was read, so that nothing is known of them: {_records(missing)}"


def altered_in_words(rebuilt: Rebuild) -> str:
    """Say what became of records of the catalog that were not as they were sealed, or not in their place."""
    told = []
    if rebuilt.put_back:
        told.append(f"put back from the targets: {_records(rebuilt.put_back)}")
    if rebuilt.set_aside:
        told.append(f"whole on no target, and missing from now on: {_records(rebuilt.set_aside)}")
    return f"the catalog was altered; what stood there is kept in this file; {'; '.join(told)}"


def _records(spans: Sequence[NumberSpan]) -> str:
    named = [str(first) if first == last else f"{first} to {last}" for first, last in spans]
    return f"{sum(last - first + 1 for first, last in spans)} records ({first_few(named)})"
