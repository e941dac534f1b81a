"""The report as one JSON document."""

from __future__ import annotations

from typing import Any

from dr.evidence.seal import encode
from dr.report import words
from dr.report.documents import backup_document, drill_document, proof_document
from dr.report.figures import Report


def document(report: Report) -> dict[str, Any]:
    """Return all that the report tells, nothing shortened; drills are newest first."""
    material = report.material
    return {
        "title": material.title,
        "generated": encode(material.generated),
        "since": encode(material.since),
        "headline": report.headline,
        "results": [encode(line) for line in report.lines],
        "systems": [encode(row) for row in material.rows],
        "drills": [drill_document(view.fact, evidence_digest=view.digest) for view in report.drills],
        "period": [encode(kept) for kept in report.kept],
        "backups": [backup_document(run) for run in material.backups],
        "proofs": [proof_document(proof) for proof in material.proofs],
        "evidence": {"records": material.head[0], "head": material.head[1], "audit": material.audit},
        "versions": dict(material.versions),
        "limits": list(words.LIMITS),
    }
