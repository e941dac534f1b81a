"""The report as one JSON document."""

from __future__ import annotations

from typing import Any

from dr.evidence.seal import encode
from dr.report import words
from dr.report.acts import acts_of
from dr.report.cost import cost_documents
from dr.report.documents import backup_document, drill_document, proof_document, row_document, site_document
from dr.report.figures import LISTED_RUNS, Report
from dr.report.protection import Guard, guards


def document(report: Report) -> dict[str, Any]:
    """Return all that the report tells; drills are newest first.

    Of backups, proofs, points and drills the newest are listed, up to 1,000 of each; `left_out` counts the others,
    which `period` sums up.
    """
    material = report.material
    listed = list(guards(material.points.values()))[:LISTED_RUNS]
    return {
        "title": material.title,
        "organisation": material.organisation,
        "generated": encode(material.generated),
        "since": encode(material.since),
        "headline": report.headline,
        "results": [encode(line) for line in report.lines],
        "site": site_document(material.site),
        "systems": [row_document(row) for row in material.rows],
        "drills": [drill_document(view.fact, evidence_digest=view.digest) for view in report.drills],
        "period": [encode(kept) for kept in report.kept],
        "backups": [backup_document(run) for run in material.backups],
        "proofs": [proof_document(proof) for proof in material.proofs],
        "costs": list(cost_documents(report.costs)),
        "protection": [_guard(guard) for guard in listed],
        "acts": [encode(act) for act in acts_of(material.acts, material.plans)],
        "evidence": {"records": material.head[0], "head": material.head[1], "audit": material.audit},
        "versions": dict(material.versions),
        "left_out": {
            "drills": report.drills_more,
            "backups": max(0, material.numbers.backups - len(material.backups)),
            "proofs": max(0, material.numbers.proofs - len(material.proofs)),
            "acts": material.numbers.acts,
            "protection": max(0, material.numbers.points - len(listed)),
        },
        "limits": list(words.LIMITS),
    }


def _guard(guard: Guard) -> dict[str, Any]:
    """One point's protection; null where no lock is known."""
    copy = guard.copy
    return {
        "run_id": guard.point.run_id,
        "system": guard.point.system,
        "target": copy.target if copy else None,
        "lock_mode": copy.lock_mode if copy else None,
        "protected_until": encode(copy.protected_until) if copy else None,
        "destroyable_from": encode(guard.destroyable_from),
    }
