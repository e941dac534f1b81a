"""The machine's documents: facts under the JSON keys of the command line's contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from typing import Any

from dr.evidence.acts import Expiration, Hold, KitAct, Pruning, Repair
from dr.evidence.posture import TargetPosture
from dr.evidence.problem import SystemProblem, texts
from dr.evidence.record import BackupRun, Drill, Point, Proof, Replication, worst_outcome
from dr.evidence.seal import ChainResult, Sealed, encode
from dr.report.board import Row
from dr.report.coverage import looked
from dr.report.phrases import writable
from dr.report.verdict import checks_verdict, rpo_verdict, rto_estimate, rto_verdict


def picked(fact: object, *keys: str) -> dict[str, Any]:
    """Return some attributes of a value under their own names, as JSON values."""
    return {key: encode(getattr(fact, key)) for key in keys}


def backup_document(run: BackupRun, *, unread: Mapping[str, Sequence[str]] | None = None) -> dict[str, Any]:
    """One run of `dr backup`. `unread` are the names of files, by source, that are told but are no evidence."""
    sources = [
        picked(s, "source", "kind", "outcome", "snapshot_id", "files", "bytes", "bytes_added", "changed",
                "vanished", "appeared", "unreadable", "unstored", "seconds", "error", "omissions", "hollow", "change")
        for s in run.sources
    ]  # fmt: skip
    if unread is not None:
        for source in sources:
            source["unreadable_names"] = [writable(name) for name in unread.get(source["source"], ())]
    targets = [picked(t, "target", "outcome", "bytes_added", "error") for t in run.targets]
    whole = picked(run, "run_id", "system", "outcome", "started", "finished", "consistency_time", "complete")
    return {
        **whole,
        "sources": sources,
        "targets": targets,
        **picked(run, "suspect", "caught_up", "hooks", "locks", "notes", "healed", "traffic", "error"),
        "lost": {look.target: list(look.lost) for look in run.looks if look.lost},
        "harmed": {look.target: list(look.harmed) for look in run.looks if look.harmed},
    }


def proof_document(proof: Proof) -> dict[str, Any]:
    """One proof of `dr verify`. `objects` and `bytes` are null where no stored bytes were looked at."""
    made = picked(
        proof, "run_id", "system", "target", "level_asked", "level_reached", "outcome", "objects", "bytes",
        "seconds", "share", "coverage", "damage", "points", "lost", "damaged_points", "doubtful_points", "expired",
        "notes", "healed", "traffic", "error",
    )  # fmt: skip
    return made if looked(proof) else made | dict.fromkeys(("objects", "bytes"))


def replication_document(run: Replication) -> dict[str, Any]:
    """One replication of `dr replicate`. `points` is null when it was not learnt which are there."""
    return picked(
        run, "run_id", "system", "source", "target", "by", "outcome", "started", "finished", "objects", "bytes",
        "objects_copied", "bytes_copied", "skipped", "seconds", "corrupt", "missing", "held", "points", "locks",
        "forgetting", "notes", "healed", "traffic", "error",
    ) | {"lost": [run_id for look in run.looks for run_id in look.lost]}  # fmt: skip


def expiration_document(
    expiration: Expiration | None,
    pruning: Pruning | None,
    *,
    kept: Mapping[str, str],
    would: Sequence[Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """One target of `dr expire`: what expired, and what that freed. `kept` says of each point that stays why.

    `would` is what is going to expire, where nothing was done; `freed_bytes` is null where nothing was pruned, or where
    the prune did not come to list what is left.
    """
    parts = [part for part in (expiration, pruning) if part]
    errors = [part.error for part in parts if part.error]
    whole = {
        **picked(parts[0], "run_id", "system", "target", "started"),
        "outcome": worst_outcome([part.outcome for part in parts]),
        "kept": [{"run_id": run_id, "rule": rule} for run_id, rule in kept.items()],
        "expired": [encode(point) for point in expiration.expired] if expiration else [],
        "blocked": list(expiration.blocked) if expiration else [],
        "pruned": bool(pruning and pruning.outcome == "ok"),
        "seconds": round(sum(part.seconds for part in parts), 3),
        "notes": [note for part in parts for note in part.notes],
        "healed": [each for part in parts for each in part.healed],
        "traffic": [encode(each) for part in parts for each in part.traffic],
        "error": "; ".join(errors) or None,
    }
    whole |= {"would_expire": list(would)} if would is not None else {}
    said = ("versions_stay", "destroyable_from", "stored_bytes")
    whole |= picked(expiration, *said) if expiration else {}
    more = ("freed_bytes", "hidden_bytes", "stored_bytes", "objects", "level_reached")
    whole |= picked(pruning, *more) if pruning else {"freed_bytes": None}
    if pruning and pruning.stored_bytes is None:
        whole |= dict.fromkeys(("freed_bytes", "hidden_bytes", "objects"))
    return whole


def repair_document(fact: Repair) -> dict[str, Any]:
    """One repair of `dr repair`."""
    return picked(
        fact, "run_id", "system", "target", "outcome", "problem", "done", "left", "level_reached", "points",
        "shortened", "healed", "traffic", "error",
    )  # fmt: skip


def drill_document(drill: Drill, *, evidence_digest: str) -> dict[str, Any]:
    """One drill or recovery. Null where not achieved or not measured."""
    phases = {name: drill.phases.get(name) for name in ("declare", "provision", "restore", "start", "verify")}
    return {
        **picked(drill, "drill_id", "system", "scenario", "real", "outcome"),
        "checks_verdict": checks_verdict(drill),
        "rto_verdict": rto_verdict(drill).word,
        "rpo_verdict": rpo_verdict(drill).word,
        "rto_target_seconds": drill.objectives.rto_seconds,
        "rta_seconds": drill.rta_seconds,
        "rpo_target_seconds": drill.objectives.rpo_seconds,
        "rpa_seconds": drill.rpa_seconds,
        "data_rpa_seconds": drill.data_rpa_seconds,
        "phases": phases,
        **picked(
            drill, "run_id", "target", "proof_level", "t_loss", "started", "finished", "consistency_time", "seen_at"
        ),
        "checks": [
            picked(c, "check", "source", "mandatory", "outcome", "expected", "observed", "seconds")
            for c in drill.checks
        ],
        **picked(drill, "files", "bytes", "protected_bytes", "sample", "sandbox", "hooks", "clean_room"),
        **picked(drill, "isolated", "isolated_reason", "because", "selected", "in_place", "tables"),
        **picked(drill, "suspect", "last_unsuspected_point", "hollow", "passed_over", "lacks", "healed", "traffic"),
        "sampled": {**asdict(drill.sampled), "turn": round(drill.sampled.turn, 6)} if drill.sampled else None,
        "rto_estimate_seconds": rto_estimate(drill),
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
        **picked(fact, "run_id", "act", "outcome", "started", "finished", "kit_id", "threshold", "custodians"),
        **picked(fact, "shares", "repositories", "stale", "notes", "error"),
        "evidence_digest": evidence_digest,
    }


def point_document(point: Point) -> dict[str, Any]:
    """One recovery point of `dr points`."""
    from dr.report.protection import destroyable_from

    usable = point.usable
    best = max(usable, key=lambda copy: copy.proof_level, default=None)
    first = next(iter(usable or point.copies), None)
    return {
        **picked(point, "run_id", "system", "consistency_time", "finished", "outcome"),
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
        **picked(hold, "hold_id", "system", "reason", "placed", "until", "point", "released", "released_reason"),
        "in_force": hold.holds(now),
    }


def posture_document(posture: TargetPosture) -> dict[str, Any]:
    """One target of `dr target check`."""
    return picked(posture, "target", "outcome", "findings", "probe", "checked", "error", "error_hint")


def finding_document(problem: SystemProblem) -> dict[str, Any]:
    """One thing that is wrong with a system, as a value: kind and subject make it the same one as before."""
    return picked(problem, "kind", "subject", "severity", "since", "text", "todo")


def site_document(problems: Sequence[SystemProblem]) -> dict[str, Any]:
    """What is wrong, in words and as values: of a system, or of the site as a whole."""
    return {"problems": texts(problems), "findings": [finding_document(problem) for problem in problems]}


def row_document(row: Row) -> dict[str, Any]:
    """One system of the report's board."""
    return {**encode(row), **site_document(row.problems)}


def _copies(row: Row) -> dict[str, Any] | None:
    """The rule 3-2-1-1-0: its numbers, and what is missing. `errors` is null while nothing was verified."""
    found = row.copies
    if found is None:
        return None
    return {
        **picked(found, "copies", "media", "offsite", "immutable_or_offline", "errors"),
        "met": found.met,
        "missing": list(found.missing),
    }


def status_document(row: Row, next_due: Mapping[str, datetime | None]) -> dict[str, Any]:
    """One system of `dr status`."""
    return {
        **picked(row, "system", "rpo_target_seconds", "freshness_seconds"),
        "rpo_verdict": row.rpo.word,
        "rpo_reason": row.rpo.reason,
        **picked(row, "exposure_seconds", "rto_target_seconds", "last_rta_seconds"),
        "rto_verdict": row.rto.word,
        "rto_reason": row.rto.reason,
        **picked(row, "proof_level", "proof_age_seconds", "last_drill", "last_drill_outcome"),
        "next_due": {verb: encode(moment) for verb, moment in next_due.items()},
        **site_document(row.problems),
        "retention_frozen": row.retention_frozen,
        "copies": _copies(row),
        "places": [encode(place) for place in row.places],
    }


def entry_document(
    row: Row, next_due: Mapping[str, datetime | None], holds: Sequence[Hold], *, now: datetime
) -> dict[str, Any]:
    """One system of `dr status`, with the holds in force."""
    return {**status_document(row, next_due), "holds": [hold_document(hold, now=now) for hold in holds]}


def audit_document(result: ChainResult) -> dict[str, Any]:
    """What `dr audit` found."""
    bad = result.first_bad
    first = {"record": bad[0], "problem": bad[1]} if bad else None
    missing = [list(each) for each in result.missing]
    return {
        "records": result.records,
        "head": result.head,
        "outcome": result.outcome,
        "first_bad": first,
        "missing": missing,
    }


def held_back_document(system: str, verb: str, opens: datetime) -> dict[str, Any]:
    """What is due and waits until its window opens."""
    return {"system": system, "verb": verb, "opens": encode(opens)}


def effective_document(system: str, digest: str, plan: Mapping[str, Any], values: Sequence[Any]) -> dict[str, Any]:
    """A plan as it is in force, with where each value comes from."""
    told = [
        {"key": ".".join(map(str, each.key)), "value": each.value, "from": each.origin}
        for each in values
        if not each.opens
    ]
    return {"system": system, "digest": digest, "plan": plan, "values": told}


def finding_row(finding: object) -> dict[str, Any]:
    """One finding of `dr doctor`, as a row under its heads."""
    return picked(finding, "outcome", "what", "observed")


def examined_document(finding: object) -> dict[str, Any]:
    """One of the `findings` of `dr doctor`."""
    return picked(finding, "what", "outcome", "observed", "hint")


def beginning_document(sealed: Sealed) -> dict[str, Any]:
    """One of the `beginnings` of `dr target begin`."""
    names = ("run_id", "system", "target", "found", "points", "because", "by")
    return {**picked(sealed.fact, *names), "evidence_digest": sealed.digest}


def adopted_document(target: str, path: Path) -> dict[str, str]:
    """The disk that is known as a target's from now on."""
    return {"target": target, "path": str(path)}


def made_target_document(
    target: str, changes: Sequence[str], stays: Sequence[str], *, done: bool, new: bool
) -> dict[str, Any]:
    """One of the `targets` of `dr target create`: what was or would be changed, and what stays as it is."""
    return {
        "target": target,
        "outcome": "degraded" if stays else "ok",
        "created": new and done,
        "changes": list(changes),
        "done": done,
        "stays": list(stays),
    }


def kit_made_document(
    fact: KitAct, *, evidence_digest: str, directory: Path, pages: Sequence[Path], secret_here: bool
) -> dict[str, Any]:
    """One of the `kits` of `dr kit`, made or replaced."""
    made = {"directory": str(directory), "pages": [str(path) for path in pages], "secret_here": secret_here}
    return {**kit_document(fact, evidence_digest=evidence_digest), **made}


def kit_tested_document(fact: KitAct, *, evidence_digest: str, directory: Path) -> dict[str, Any]:
    """One of the `kits` of `dr kit test`."""
    return {**kit_document(fact, evidence_digest=evidence_digest), "directory": str(directory)}


def kit_opened_document(done: object, *, copy: str, made: datetime) -> dict[str, Any]:
    """One of the `kits` of `dr kit open`; `copy` is the name of the self-copy that was used, `made` then."""
    places = {name: str(getattr(done, name)) for name in ("config", "state")}
    told = {"self_copy": copy, "made": made.isoformat()}
    return {"act": "opened", **places, **told, **picked(done, "taken_from", "systems", "notes")}


def going_document(going: Mapping[str, str]) -> list[dict[str, str]]:
    """The points that would expire, with the rule by which."""
    return [{"run_id": run_id, "rule": rule} for run_id, rule in going.items()]


def calendar_row(day: date, made: int, stay: int, go: int, which: str) -> dict[str, str]:
    """One day of `dr points --calendar`, as a row under its heads."""
    told = {"day": f"{day:%Y-%m-%d}", "made": str(made), "stay": str(stay), "go": str(go)}
    return {**told, "which, and why": which}
