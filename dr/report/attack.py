"""What `dr target history` and `dr target rewind` tell, as documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from dr.evidence.acts import Rewind
from dr.evidence.seal import encode
from dr.report.documents import picked


def unknown_history(system: str, target: str, *, keeps_versions: bool | None) -> dict[str, object]:
    """A repository without a history; None where the target could not be asked."""
    return {"system": system, "target": target, "versions_kept": keeps_versions}


def history_document(
    system: str, target: str, found: object, *, onset: datetime | None, harm: Mapping[str, int]
) -> dict[str, object]:
    """What the versions of a repository tell; `found` has the numbers."""
    return {
        **unknown_history(system, target, keeps_versions=True),
        **picked(found, "objects", "versions"),
        "attacked": onset is not None,
        "onset": encode(onset),
        **picked(found, "before", "last"),
        "harm": dict(harm),
        **picked(found, "added", "ordinary"),
    }


def rewind_document(fact: Rewind, failed: Mapping[str, Sequence[str]]) -> dict[str, object]:
    """One rewind; `failed` names, by object, what stood in the way."""
    return {
        **picked(fact, "run_id", "system", "target", "outcome", "objects", "intact", "uncovered", "copied", "hidden",
                 "verified", "healed"),
        "at": encode(fact.moment),
        "failed": [{"object": name, "problem": why} for name, (why,) in failed.items()],
        "error": fact.error,
    }  # fmt: skip
