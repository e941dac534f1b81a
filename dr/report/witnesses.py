"""What `dr audit --targets` found, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dr.evidence.witness import Witness
from dr.plan.units import counted, first_few
from dr.report.documents import picked

_STRANGE = (
    "if another machine recovered, drilled or backed up this system at that time, that is why; else the catalog was "
    "changed, cut short or set back: move catalog.sqlite out of the state directory, keep it, and have it made again: "
    "`dr points rebuild`"
)


def witness_document(witness: Witness) -> dict[str, Any]:
    """What one target keeps of the records of one system, held against the chain."""
    error = witness.error
    return {
        **picked(witness, "system", "target", "outcome", "records", "strange", "altered", "lost", "unsent"),
        "error": str(error) if error else None,
        "hint": error.hint if error else None,
    }


def witness_in_words(witness: Witness) -> str:
    """Return one line on what agrees."""
    if witness.outcome == "detached":
        return f"{witness.where}: the disk is detached, and was not read"
    unsent = f", {witness.unsent} not sent yet" if witness.unsent else ""
    return f"{witness.where}: {counted(witness.records, 'record')} as in the catalog{unsent}"


def differences(witness: Witness) -> Iterator[tuple[str, str]]:
    """Yield what does not agree, each with what to do."""
    if witness.strange:
        told = [f"{each.name} ({each.kind} {each.run_id}, {each.at})" for each in witness.strange]
        yield f"records were sealed that the catalog does not hold: {first_few(told)}", _STRANGE
    if witness.altered:
        yield (
            f"not as it was sealed, or of a later release: {first_few(witness.altered)}",
            "see who can write there: `dr target check`",
        )
    if witness.lost:
        yield (
            f"records that were sent there are altered or removed: {first_few(witness.lost)}",
            "see who can write there: `dr target check`; `dr points rebuild` has them sent again",
        )
