"""Figures for monitoring: the board and the record as Prometheus reads them. Sole user of prometheus_client.

Names and units are those of the ecosystem: base units, `_timestamp_seconds` for moments, `_total` for what only grows.
Nothing is shown that is not known: a figure that nobody has is left out, never 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from dr.evidence.monthly_traffic import MonthlyTraffic
from dr.evidence.posture import REQUEST_CLASSES
from dr.evidence.problem import SEVERITIES, SystemProblem
from dr.evidence.system_status import LastRun, PlaceState, SystemStatus
from dr.late_dataclass import dataclass
from dr.plan.units import MONTH_DAYS
from dr.report.board import Row
from dr.report.bounds import Room

if TYPE_CHECKING:
    from dr.plan.target import Target

#: What `GET /metrics` and a textfile are.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_OUTCOMES = ("ok", "degraded", "failed", "aborted")
_VERDICTS = ("met", "missed", "unknown")
_VERBS = ("backup", "verify", "expire", "prune", "drill")


@dataclass(frozen=True)
class Sample:
    """One value, under its labels."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class Family:
    """One metric: its name, what it means, and its values."""

    name: str
    about: str
    samples: tuple[Sample, ...]
    kind: Literal["gauge", "counter"] = "gauge"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What is known at `now`: the rows of the board, when what is due, what the record says, and the runs so far.

    `runs` counts finished runs by system, verb and outcome; `traffic` sums up what was moved, by month; `targets` are
    those that are declared, `rooms` what is left on those that declare a bound; `site` what is wrong with what all
    systems share.
    """

    now: datetime
    version: str
    rows: Sequence[Row]
    standings: Mapping[str, SystemStatus]
    due: Mapping[str, Mapping[str, datetime | None]]
    holds: Counter[str] = field(default_factory=Counter)
    runs: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    traffic: Sequence[MonthlyTraffic] = ()
    targets: Mapping[str, Target] = field(default_factory=dict)
    site: Sequence[SystemProblem] = ()
    rooms: Sequence[Room] = ()


def families(known: Measured, *, restic_names: bool = False) -> list[Family]:
    """Return all metrics that have a value; with `restic_names` those too that boards made for restic read."""
    found = [
        *_about_dr(known),
        *_objectives(known),
        *_proofs(known),
        *_runs(known),
        *_targets(known),
        *_moved(known),
        *_wrong(known),
    ]
    return [family for family in (*found, *(_restic(known) if restic_names else ())) if family.samples]


def render(found: Iterable[Family]) -> str:
    """Return metrics in Prometheus's text format."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.exposition import generate_latest
    from prometheus_client.registry import Collector

    class _Known(Collector):
        def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
            for family in found:
                made = (GaugeMetricFamily if family.kind == "gauge" else CounterMetricFamily)(family.name, family.about)
                for sample in family.samples:
                    made.add_sample(family.name, dict(sample.labels), sample.value)
                yield made

    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Known())
    return generate_latest(registry).decode("utf-8")


def _gauge(name: str, about: str, values: Iterable[tuple[Mapping[str, str], float | datetime | None]]) -> Family:
    found = [
        Sample(labels, value.timestamp() if isinstance(value, datetime) else float(value))
        for labels, value in values
        if value is not None
    ]
    return Family(name, about, tuple(found))


def _about_dr(known: Measured) -> Iterator[Family]:
    yield _gauge("dr_build_info", "The program that made these figures.", [({"version": known.version}, 1)])
    yield _gauge("dr_metrics_timestamp_seconds", "When these figures were made.", [({}, known.now)])
    yield _gauge("dr_systems", "Systems that have a plan which can be used.", [({}, len(known.rows))])


def _objectives(known: Measured) -> Iterator[Family]:
    rows = [({"system": row.system}, row) for row in known.rows]
    yield _gauge(
        "dr_objective_seconds",
        "What the plan asks for: recovery point objective (rpo), recovery time objective (rto).",
        [({**at, "objective": "rpo"}, row.rpo_target_seconds) for at, row in rows]
        + [({**at, "objective": "rto"}, row.rto_target_seconds) for at, row in rows],
    )
    yield _gauge(
        "dr_objective_verdict",
        "1 for the verdict on an objective that holds now, 0 for the others.",
        [
            ({**at, "objective": name, "verdict": word}, verdict.word == word)
            for at, row in rows
            for name, verdict in (("rpo", row.rpo), ("rto", row.rto))
            for word in _VERDICTS
        ],
    )
    states = [({"system": row.system}, known.standings[row.system]) for row in known.rows]
    yield _gauge(
        "dr_recovery_point_timestamp_seconds",
        "Consistency time of the newest complete recovery point.",
        [(at, state.consistency_time) for at, state in states],
    )
    yield _gauge(
        "dr_exposure_seconds",
        "The longest way back that a loss in the last 30 days would have gone.",
        [(at, row.exposure_seconds) for at, row in rows],
    )
    yield _gauge(
        "dr_recovery_time_actual_seconds",
        "How long the last drill took from the loss to the last mandatory check that passed.",
        [(at, row.last_rta_seconds) for at, row in rows],
    )


def _proofs(known: Measured) -> Iterator[Family]:
    states = [({"system": row.system}, known.standings[row.system]) for row in known.rows]
    yield _gauge(
        "dr_proof_level",
        "The highest proof that any recovery point has, 0 to 6 (docs/words.md).",
        [(at, state.proof_level) for at, state in states],
    )
    yield _gauge(
        "dr_proof_timestamp_seconds",
        "When that was proven.",
        [(at, state.proven_at if state.proof_level else None) for at, state in states],
    )
    yield _gauge(
        "dr_retention_frozen",
        "1 while a recovery point is suspect, so that nothing may expire.",
        [(at, state.retention_frozen is not None) for at, state in states],
    )
    yield _gauge("dr_holds", "Holds in force.", [(at, known.holds[at["system"]]) for at, _ in states])


def _runs(known: Measured) -> Iterator[Family]:
    tried = [
        ({"system": row.system, "verb": verb}, attempts)
        for row in known.rows
        for verb, attempts in sorted(known.standings[row.system].attempts.items())
        if ":" not in verb
    ]
    yield _gauge("dr_last_run_timestamp_seconds", "Start of the last run.", [(at, x.begun) for at, x in tried])
    yield _gauge(
        "dr_last_success_timestamp_seconds",
        "Start of the last run that was ok, or degraded.",
        [(at, each.worked) for at, each in tried],
    )
    last = list(_last(known))
    yield _gauge(
        "dr_last_run_outcome",
        "1 for the outcome of the last finished run, 0 for the others.",
        [({**at, "outcome": word}, run.outcome == word) for at, run in last for word in _OUTCOMES],
    )
    yield _gauge("dr_last_run_duration_seconds", "How long that took.", [(at, run.seconds) for at, run in last])
    backups = [({"system": at["system"]}, run) for at, run in last if at["verb"] == "backup"]
    yield _gauge("dr_backup_files", "Files in the last backup.", [(at, run.files) for at, run in backups])
    yield _gauge("dr_backup_bytes", "Bytes protected by the last backup.", [(at, run.bytes) for at, run in backups])
    yield _gauge(
        "dr_backup_added_bytes", "Bytes new to the repositories in it.", [(at, run.bytes_added) for at, run in backups]
    )
    yield _gauge(
        "dr_due_timestamp_seconds",
        "When a verb is, or was, next due.",
        [
            ({"system": row.system, "verb": verb}, moment)
            for row in known.rows
            for verb, moment in known.due[row.system].items()
        ],
    )
    yield _gauge(
        "dr_running",
        "1 while a run is at work.",
        [
            ({"system": row.system, "verb": v}, 1)
            for row in known.rows
            for v in set(known.standings[row.system].running)
        ],
    )
    ended = [
        Sample({"system": system, "verb": verb, "outcome": outcome}, number)
        for (system, verb, outcome), number in sorted(known.runs.items())
    ]
    yield Family("dr_runs_total", "Finished runs on record.", tuple(ended), "counter")


def _last(known: Measured) -> Iterator[tuple[dict[str, str], LastRun]]:
    for row in known.rows:
        for verb in _VERBS:
            run: LastRun | None = getattr(known.standings[row.system], verb)
            if run:
                yield {"system": row.system, "verb": verb}, run


def _targets(known: Measured) -> Iterator[Family]:
    places = [
        ({"system": row.system, "target": name}, place)
        for row in known.rows
        for name, place in sorted(known.standings[row.system].places.items())
    ]
    yield _gauge(
        "dr_target_recovery_points", "Complete recovery points on a target.", [(at, x.points) for at, x in places]
    )
    yield _gauge(
        "dr_target_damaged_recovery_points", "Damaged ones there.", [(at, place.damaged) for at, place in places]
    )
    yield _gauge(
        "dr_target_recovery_point_timestamp_seconds",
        "Consistency time of the newest complete recovery point on a target.",
        [(at, place.newest) for at, place in places],
    )
    yield _gauge(
        "dr_target_proof_level", "The highest proof of a point there.", [(at, x.proof_level) for at, x in places]
    )
    yield _gauge(
        "dr_target_verified_timestamp_seconds",
        "When a target was last verified, whatever that showed.",
        [(at, place.proven) for at, place in places],
    )
    yield _gauge(
        "dr_target_verified_ok",
        "1 when that was ok, 0 when it was not.",
        [(at, place.proof == "ok") for at, place in places if place.proof],
    )
    yield from _read(places)


def _read(places: Sequence[tuple[dict[str, str], PlaceState]]) -> Iterator[Family]:
    yield _gauge(
        "dr_target_oldest_read_timestamp_seconds",
        "When the stored object was read that was not read for longest; absent while one never was.",
        [(at, place.oldest_read) for at, place in places],
    )
    yield _gauge(
        "dr_target_whole_within_seconds",
        "Within how long all that is stored there is to be read.",
        [(at, place.whole_within_seconds) for at, place in places],
    )
    yield _gauge(
        "dr_target_unread_objects",
        "Stored objects that are new or changed, and were not read yet.",
        [(at, place.unread_objects) for at, place in places],
    )
    yield _gauge(
        "dr_target_stored_bytes",
        "Bytes of the repository there, as it was last listed for a proof.",
        [(at, place.stored_bytes) for at, place in places],
    )


def _moved(known: Measured) -> Iterator[Family]:
    """What was counted of traffic, all months together; of targets that are declared."""
    rows = [({"system": row.system, "target": row.target}, row) for row in known.traffic if row.target in known.targets]
    yield _total(
        "dr_target_requests_total",
        "Requests that dr itself made there, by class.",
        [
            ({**at, "class": name}, getattr(row.requests, name))
            for at, row in rows
            for name in REQUEST_CLASSES
            if known.targets[row.target].declared.counts == "requests"
        ],
    )
    yield _total(
        "dr_target_sent_bytes_total", "Bytes in the bodies of those.", [(at, row.sent_bytes) for at, row in rows]
    )
    yield _total(
        "dr_target_received_bytes_total",
        "Bytes in the bodies of the answers.",
        [(at, row.received_bytes) for at, row in rows],
    )
    yield _total(
        "dr_target_restic_sent_bytes_total",
        "Bytes that restic reports to have stored there in backups.",
        [(at, row.restic_sent_bytes) for at, row in rows if row.restic_sent_bytes],  # 0: it reported nothing
    )
    yield _total("dr_target_traffic_cost_total", "What the counted costs at the prices of today.", _costs(known))
    yield _gauge(
        "dr_target_capacity_bytes",
        "How much a target holds, as declared.",
        [({"target": name}, target.capacity) for name, target in sorted(known.targets.items())],
    )
    yield from _rooms([({"target": each.target}, each) for each in known.rooms])


def _rooms(rooms: Sequence[tuple[dict[str, str], Room]]) -> Iterator[Family]:
    yield _gauge(
        "dr_target_capacity_used_ratio",
        "The share of the declared capacity that is stored, by the last listings of all systems there.",
        [(at, room.share("capacity")) for at, room in rooms],
    )
    yield _gauge(
        "dr_target_budget_used_ratio",
        "ESTIMATE: the share of the declared budget that a month costs.",
        [(at, room.share("budget")) for at, room in rooms],
    )
    yield _gauge(
        "dr_target_capacity_reached_seconds",
        "ESTIMATE: in how long the declared capacity is reached; absent where that is not known or not foreseen.",
        [
            (at, when.months * MONTH_DAYS * 86_400)
            for at, room in rooms
            if (when := room.reached("capacity")) and when.months is not None
        ],
    )


def _costs(known: Measured) -> Iterator[tuple[Mapping[str, str], float]]:
    for row in known.traffic:
        target, asked = known.targets.get(row.target), row.requests
        if target and (prices := target.prices):
            cost = prices.of_traffic(**asdict(asked), received=row.received_bytes)
            at = {"system": row.system, "target": row.target, "currency": prices.currency}
            yield at, cost


def _total(name: str, about: str, values: Iterable[tuple[Mapping[str, str], float]]) -> Family:
    """Return what only grows: the sum of all values under the same labels."""
    sums: dict[tuple[tuple[str, str], ...], float] = {}
    for labels, value in values:
        sums[tuple(labels.items())] = sums.get(tuple(labels.items()), 0) + value
    return Family(name, about, tuple(Sample(dict(labels), value) for labels, value in sums.items()), "counter")


def _wrong(known: Measured) -> Iterator[Family]:
    yield _gauge(
        "dr_problems",
        "What is wrong with a system now, by severity.",
        [
            ({"system": row.system, "severity": each}, sum(x.severity == each for x in row.problems))
            for row in known.rows
            for each in SEVERITIES
        ],
    )
    yield _gauge(
        "dr_problem",
        "1 for each thing that is wrong, by kind and subject: a target, a verb, a directory. No system: the site's.",
        [
            ({"system": system, "kind": kind, "subject": subject, "severity": severity}, 1)
            for system, problems in (*((row.system, row.problems) for row in known.rows), ("", known.site))
            for kind, subject, severity in sorted({(x.kind, x.subject, x.severity) for x in problems})
        ],
    )


# -- for boards made for restic ------------------------------------------------------------------------


def _restic(known: Measured) -> Iterator[Family]:
    """Six names that boards for restic read, each system in the place of a client. Locks are not known unasked."""
    names = [({"client_hostname": row.system}, known.standings[row.system]) for row in known.rows]
    labels = {"client_username": "dr", "snapshot_tag": "dr", "snapshot_tags": "dr", "snapshot_paths": ""}
    last = [
        ({**at, **labels, "snapshot_hash": state.backup.ref}, state, state.backup)
        for at, state in names
        if state.backup
    ]
    whole = [place.proof == "ok" for _, state in names for place in state.places.values() if place.proof]
    points = sum(place.points for _, state in names for place in state.places.values())
    yield _gauge(
        "restic_check_success", "1 when each target's last verification was ok.", [({}, all(whole))] * bool(whole)
    )
    yield _gauge("restic_snapshots_total", "Complete recovery points on all targets.", [({}, points)])
    yield _gauge(
        "restic_backup_timestamp", "Newest complete recovery point.", [(at, x.consistency_time) for at, x, _ in last]
    )
    yield _gauge("restic_backup_files_total", "Files in the last backup.", [(at, run.files) for at, _, run in last])
    yield _gauge("restic_backup_size_total", "Bytes protected by it.", [(at, run.bytes) for at, _, run in last])
    yield _gauge(
        "restic_backup_snapshots_total",
        "Complete recovery points of a system on all targets.",
        [(at, sum(place.points for place in state.places.values())) for at, state, _ in last],
    )


def metric_document(family: Family) -> dict[str, object]:
    """One metric of `dr metrics`."""
    samples = [{"labels": dict(each.labels), "value": each.value} for each in family.samples]
    return {"name": family.name, "type": family.kind, "help": family.about, "samples": samples}
