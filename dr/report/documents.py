"""The machine's documents: facts under the JSON keys of the command line's contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from dr.evidence.acts import Expiration, Hold, KitAct, Pruning, Repair
from dr.evidence.posture import TargetPosture
from dr.evidence.problem import SystemProblem, texts
from dr.evidence.record import BackupRun, Drill, Point, Proof, Replication, worst_outcome
from dr.evidence.seal import encode
from dr.report.board import Row
from dr.report.phrases import writable
from dr.report.protection import destroyable_from
from dr.report.verdict import checks_verdict, rpo_verdict, rto_verdict


def _picked(fact: object, *keys: str) -> dict[str, Any]:
    return {key: encode(getattr(fact, key)) for key in keys}


def backup_document(run: BackupRun, *, unread: Mapping[str, Sequence[str]] | None = None) -> dict[str, Any]:
    """One run of `dr backup`. `unread` are the names of files, by source, that are told but are no evidence."""
    sources = [
        _picked(s, "source", "kind", "outcome", "snapshot_id", "files", "bytes", "bytes_added", "changed",
                "vanished", "appeared", "unreadable", "unstored", "seconds", "error", "omissions", "hollow", "change")
        for s in run.sources
    ]  # fmt: skip
    if unread is not None:
        for source in sources:
            source["unreadable_names"] = [writable(name) for name in unread.get(source["source"], ())]
    targets = [_picked(t, "target", "outcome", "bytes_added", "error") for t in run.targets]
    whole = _picked(run, "run_id", "system", "outcome", "started", "finished", "consistency_time", "complete")
    return {
        **whole,
        "sources": sources,
        "targets": targets,
        **_picked(run, "suspect", "caught_up", "hooks", "locks", "notes", "healed", "error"),
        "lost": {look.target: list(look.lost) for look in run.looks if look.lost},
        "harmed": {look.target: list(look.harmed) for look in run.looks if look.harmed},
    }


def proof_document(proof: Proof) -> dict[str, Any]:
    """One proof of `dr verify`."""
    return _picked(
        proof, "run_id", "system", "target", "level_asked", "level_reached", "outcome", "objects", "bytes",
        "seconds", "share", "damage", "points", "lost", "damaged_points", "doubtful_points", "expired", "notes",
        "healed", "error",
    )  # fmt: skip


def replication_document(run: Replication) -> dict[str, Any]:
    """One replication of `dr replicate`. `points` is null when it was not learnt which are there."""
    return _picked(
        run, "run_id", "system", "source", "target", "by", "outcome", "started", "finished", "objects", "bytes",
        "objects_copied", "bytes_copied", "skipped", "seconds", "corrupt", "missing", "held", "points", "locks",
        "forgetting", "notes", "healed", "error",
    ) | {"lost": [run_id for look in run.looks for run_id in look.lost]}  # fmt: skip


def expiration_document(
    expiration: Expiration | None,
    pruning: Pruning | None,
    *,
    kept: Mapping[str, str],
    would: Sequence[Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """One target of `dr expire`: what expired, and what that freed. `kept` says of each point that stays why.

    `would` is what is going to expire, where nothing was done; `freed_bytes` is null where nothing was pruned.
    """
    parts = [part for part in (expiration, pruning) if part]
    errors = [part.error for part in parts if part.error]
    whole = {
        **_picked(parts[0], "run_id", "system", "target", "started"),
        "outcome": worst_outcome([part.outcome for part in parts]),
        "kept": [{"run_id": run_id, "rule": rule} for run_id, rule in kept.items()],
        "expired": [encode(point) for point in expiration.expired] if expiration else [],
        "blocked": list(expiration.blocked) if expiration else [],
        "pruned": bool(pruning and pruning.outcome == "ok"),
        "seconds": round(sum(part.seconds for part in parts), 3),
        "notes": [note for part in parts for note in part.notes],
        "error": "; ".join(errors) or None,
    }
    whole |= {"would_expire": list(would)} if would is not None else {}
    said = ("versions_stay", "destroyable_from", "stored_bytes")
    whole |= _picked(expiration, *said) if expiration else {}
    more = ("freed_bytes", "hidden_bytes", "stored_bytes", "objects", "level_reached")
    return whole | (_picked(pruning, *more) if pruning else {"freed_bytes": None})


def repair_document(fact: Repair) -> dict[str, Any]:
    """One repair of `dr repair`."""
    return _picked(
        fact, "run_id", "system", "target", "outcome", "problem", "done", "left", "level_reached", "points",
        "shortened", "error",
    )  # fmt: skip


def drill_document(drill: Drill, *, evidence_digest: str) -> dict[str, Any]:
    """One drill or recovery. Null where not achieved or not measured."""
    phases = {name: drill.phases.get(name) for name in ("declare", "provision", "restore", "start", "verify")}
    return {
        **_picked(drill, "drill_id", "system", "scenario", "real", "outcome"),
        "checks_verdict": checks_verdict(drill),
        "rto_verdict": rto_verdict(drill).word,
        "rpo_verdict": rpo_verdict(drill).word,
        "rto_target_seconds": drill.objectives.rto_seconds,
        "rta_seconds": drill.rta_seconds,
        "rpo_target_seconds": drill.objectives.rpo_seconds,
        "rpa_seconds": drill.rpa_seconds,
        "data_rpa_seconds": drill.data_rpa_seconds,
        "phases": phases,
        **_picked(
            drill, "run_id", "target", "proof_level", "t_loss", "started", "finished", "consistency_time", "seen_at"
        ),
        "checks": [
            _picked(c, "check", "source", "mandatory", "outcome", "expected", "observed", "seconds")
            for c in drill.checks
        ],
        **_picked(drill, "files", "bytes", "protected_bytes", "sample", "sandbox", "hooks", "clean_room"),
        **_picked(drill, "isolated", "isolated_reason", "because", "selected"),
        **_picked(drill, "suspect", "last_unsuspected_point", "hollow", "passed_over", "lacks", "healed"),
        "posture": posture_document(drill.posture) if drill.posture else None,
        "events": [
            {"at": encode(e.at), "text": e.what, "seconds": e.seconds, "outcome": e.outcome} for e in drill.events
        ],
        "evidence_digest": evidence_digest,
        "error": drill.error,
    }


def kit_document(fact: KitAct, *, evidence_digest: str) -> dict[str, Any]:
    """One kit that was made, replaced or tested."""
    return {
        **_picked(fact, "run_id", "act", "outcome", "started", "finished", "kit_id", "threshold", "custodians"),
        **_picked(fact, "shares", "repositories", "stale", "notes", "error"),
        "evidence_digest": evidence_digest,
    }


def point_document(point: Point) -> dict[str, Any]:
    """One recovery point of `dr points`."""
    usable = point.usable
    best = max(usable, key=lambda copy: copy.proof_level, default=None)
    first = next(iter(usable or point.copies), None)
    return {
        **_picked(point, "run_id", "system", "consistency_time", "finished", "outcome"),
        "complete": point.complete,
        "snapshots": dict(first.snapshots) if first else {},
        "bytes": point.bytes,
        "proof_level": point.proof_level,
        "proven_at": encode(best.proven_at) if best else None,
        "targets": [copy.target for copy in usable],
        "lost": {copy.target: encode(copy.seen) for copy in point.lost},
        "protected_until": {copy.target: encode(copy.protected_until) for copy in usable},
        "destroyable_from": encode(destroyable_from(point)),
        "copies": [encode(copy) for copy in point.copies],
        "suspect": point.suspect,
    }


def hold_document(hold: Hold, *, now: datetime) -> dict[str, Any]:
    """One hold of `dr hold`, `dr points` and `dr status`."""
    return {
        **_picked(hold, "hold_id", "system", "reason", "placed", "until", "point", "released", "released_reason"),
        "in_force": hold.holds(now),
    }


def posture_document(posture: TargetPosture) -> dict[str, Any]:
    """One target of `dr target check`."""
    return _picked(posture, "target", "outcome", "findings", "probe", "checked", "error", "error_hint")


def finding_document(problem: SystemProblem) -> dict[str, Any]:
    """One thing that is wrong with a system, as a value: kind and subject make it the same one as before."""
    return _picked(problem, "kind", "subject", "severity", "since", "text", "todo")


def _problems(row: Row) -> dict[str, Any]:
    """The problems of a system, in words and as values."""
    return {
        "problems": texts(row.problems),
        "findings": [finding_document(problem) for problem in row.problems],
    }


def row_document(row: Row) -> dict[str, Any]:
    """One system of the report's board."""
    return {**encode(row), **_problems(row)}


def _copies(row: Row) -> dict[str, Any] | None:
    """The rule 3-2-1-1-0: its numbers, and what is missing. `errors` is null while nothing was verified."""
    found = row.copies
    if found is None:
        return None
    return {
        **_picked(found, "copies", "media", "offsite", "immutable_or_offline", "errors"),
        "met": found.met,
        "missing": list(found.missing),
    }


def status_document(row: Row, next_due: Mapping[str, datetime | None]) -> dict[str, Any]:
    """One system of `dr status`."""
    return {
        **_picked(row, "system", "rpo_target_seconds", "freshness_seconds"),
        "rpo_verdict": row.rpo.word,
        "rpo_reason": row.rpo.reason,
        **_picked(row, "exposure_seconds", "rto_target_seconds", "last_rta_seconds"),
        "rto_verdict": row.rto.word,
        "rto_reason": row.rto.reason,
        **_picked(row, "proof_level", "proof_age_seconds", "last_drill", "last_drill_outcome"),
        "next_due": {verb: encode(moment) for verb, moment in next_due.items()},
        **_problems(row),
        "retention_frozen": row.retention_frozen,
        "copies": _copies(row),
        "places": [encode(place) for place in row.places],
    }
