"""The report as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from dr.plan.units import format_bytes, format_duration
from dr.report import words
from dr.report.board import Row
from dr.report.copies import RULE
from dr.report.figures import Report
from dr.report.phrases import count, counted, duration, percent, when, writable
from dr.report.view import DrillView

_MEANT = re.compile(r"([\\`*_\[\]|~])")  # what Markdown would take for its own
_TURNS = dict.fromkeys([0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])  # bidi controls


def render(report: Report) -> str:
    """Return the whole report as Markdown. Text from outside cannot become markup."""
    return writable("\n".join(_lines(report)).rstrip() + "\n")


def _lines(report: Report) -> Iterator[str]:
    material = report.material
    since = f", for the time since {when(material.since)}" if material.since else ""
    whose = f" of {_plain(material.organisation)}" if material.organisation else ""
    made = f"Recovery-test report{whose}, made {when(material.generated)}{since}"
    yield from (f"# {_plain(material.title)}", "", made, "")
    yield from (f"**{report.label}. {_plain(report.headline)}**", "")
    yield from (_plain(report.also), "") if report.also else ()
    if len(report.lines) > 1:
        yield from (f"- {line.label}: {_plain(line.sentence)}" for line in report.lines)
        yield ""
    yield from _board(report)
    if report.focus_more:
        more = counted(report.focus_more, "more system")
        yield from (f"{more} did no worse: their last drills are in the list of all, and not told in full.", "")
    for view in report.focus:
        yield from _drill(view)
    yield from _history(report)
    yield from _kept(report)
    yield from _costs(report)
    yield from _guards(report)
    yield from _acts(report)
    yield from _end(report)


def _board(report: Report) -> Iterator[str]:
    rows = report.material.rows
    if not rows:
        return
    yield from ("## Systems today", "")
    heads = ("System", "Newest data", "RPO", "Last drill took", "RTO", "Longest exposure", "Proof", RULE, "Last drill")
    yield from _table(heads, [
        (
            row.title,
            duration(row.freshness_seconds, "none"),
            f"{row.rpo.word} ({format_duration(row.rpo_target_seconds)})",
            duration(row.last_rta_seconds, "not achieved" if row.last_drill else "no drill"),
            f"{row.rto.word} ({format_duration(row.rto_target_seconds)})",
            duration(row.exposure_seconds, "unknown"),
            f"{row.proof_level} {words.RUNGS[row.proof_level]}",
            _copies(row),
            when(row.last_drill),
        )
        for row in rows
    ])  # fmt: skip
    problems = [f"- {_plain(row.title)}: {_plain(problem.text)}" for row in rows for problem in row.problems]
    problems += [f"- {words.SHARED}: {_plain(problem.text)}" for problem in report.material.site]
    yield from ("### To be fixed", "", *problems, "") if problems else ()


def _copies(row: Row) -> str:
    if row.copies is None:
        return "unknown"
    lacks = f"no: {'; '.join(row.copies.missing)}"
    return f"met ({row.copies.numbers})" if row.copies.met else f"{lacks} ({row.copies.numbers})"


def _drill(view: DrillView) -> Iterator[str]:
    fact, wanted = view.fact, view.fact.objectives
    yield from (f"## {_plain(view.title)}: {view.noun} of {when(fact.started)}", "")
    yield from (f"**{view.label}.** {_plain(view.sentence)} {view.about_data}".rstrip(), "")
    yield from (*(f"- {_plain(said)}" for said in view.beside), *([""] if view.beside else []))
    rta = duration(fact.rta_seconds, "not achieved" if fact.outcome == "failed" else "not measured")
    rows: list[tuple[str, ...]] = [
        ("Recovery time (RTO)", format_duration(wanted.rto_seconds), rta, view.rto.word, view.rto.reason)
    ]
    if view.mtd and wanted.mtd_seconds:
        rows.append(("Downtime (MTD)", format_duration(wanted.mtd_seconds), rta, view.mtd.word, view.mtd.reason))
    age = duration(fact.rpa_seconds)
    rows.append(("Recovery point (RPO)", format_duration(wanted.rpo_seconds), age, view.rpo.word, view.rpo.reason))
    rows.append(("Newest record found", "not judged", duration(fact.data_rpa_seconds), "", ""))
    yield from _table(("Objective", "Target", "Actual", "Verdict", "Reason"), rows)
    if view.phases:
        yield from _table(("Phase", "Took"), [(p.name, duration(p.seconds, "not reached")) for p in view.phases])
    if fact.checks:
        heads = ("Check", "Source", "Mandatory", "Expected", "Observed", "Result")
        yield from _table(heads, [
            (words.check(c.check), c.source or "the system", "yes" if c.mandatory else "no",
             c.expected, c.observed, "passed" if c.outcome == "ok" else c.outcome)
            for c in fact.checks
        ])  # fmt: skip
    yield from (f"- {name}: {text}" for name, text in _facts(view))
    yield ""
    if fact.events:
        yield from _table(
            ("Time", "What", "Took"), [(when(e.at), e.what, duration(e.seconds, "")) for e in fact.events]
        )
    if view.limits:
        yield from ("Not shown by this one:", "", *(f"- {_plain(limit)}" for limit in view.limits), "")


def _facts(view: DrillView) -> Iterator[tuple[str, str]]:
    fact, scope = view.fact, view.scope
    yield view.noun, f"`{_code(fact.drill_id)}`"
    scenario = words.scenario(fact.scenario)
    yield "scenario", f"{fact.scenario}: {_plain(scenario)}; loss assumed at {when(fact.t_loss)}"
    if fact.run_id:
        where = f"as of {when(fact.consistency_time)}, from the copy on {_plain(fact.target or 'an unknown target')}"
        yield "recovery point", f"`{_code(fact.run_id)}` {where}"
    else:
        yield "recovery point", "none could be used"
    yield "proof reached", f"{fact.proof_level} of 6, {words.RUNGS[fact.proof_level]}"
    share = f" of {format_bytes(fact.protected_bytes)} protected" if fact.protected_bytes else ""
    share += f" ({percent(scope.bytes_share)})" if scope.bytes_share is not None else ""
    yield "restored", f"{counted(fact.files, 'file')}, {format_bytes(fact.bytes)}{share}"
    yield "scope", _plain(scope.text) + (f" Left out: {_plain(', '.join(scope.left_out))}." if scope.left_out else "")
    yield "place", _plain(words.SANDBOXES.get(fact.sandbox, fact.sandbox) + (f"; {fact.machine}" * bool(fact.machine)))
    if fact.isolated is not None:
        yield "isolated", _plain(words.isolated(fact))
    yield "target's posture", _plain("; ".join(view.posture))
    yield "versions", _plain(", ".join(f"{name} {version}" for name, version in fact.versions.items()) or "unknown")
    yield "plan", f"SHA-256 `{_code(fact.plan_digest) or 'unknown'}`"
    yield "evidence", f"record {view.seq}, SHA-256 `{view.digest}`"


def _history(report: Report) -> Iterator[str]:
    if not report.drills:
        return
    yield from ("## All drills and recoveries told of here", "")
    if report.drills_more:
        yield from (f"The newest; {count(report.drills_more)} older ones are not listed.", "")
    yield from _table(("When", "System", "Kind", "RTA", "RPA", "Result"), [
        (when(v.fact.started), v.title, "recovery" if v.fact.real else v.fact.scenario,
         duration(v.fact.rta_seconds, "not achieved" if v.fact.outcome == "failed" else "not measured"),
         duration(v.fact.rpa_seconds), v.label)
        for v in report.drills
    ])  # fmt: skip


def _kept(report: Report) -> Iterator[str]:
    if report.kept:
        yield from ("## Backups and proofs", "")
        yield from _table(("System", "Runs", "Without fault", "In part", "Failed", "Longest exposure", "RPO"), [
            (k.title, count(k.runs), count(k.ok), count(k.degraded), count(k.failed),
             duration(k.exposure_seconds, "unknown"), k.verdict.word)
            for k in report.kept
        ])  # fmt: skip
    for faulty in report.faulty:
        yield f"- {when(faulty.run.started)}, {faulty.run.system}, {faulty.run.outcome}: {_plain(faulty.reason)}"
    if report.faulty:
        yield from (f"- and {report.faulty_more} more" if report.faulty_more else "", "")
    if report.proofs:
        yield from _table(("When", "System", "Target", "Level", "Objects", "Observed"), [
            (when(p.fact.finished), p.fact.system, p.fact.target or "unknown",
             f"{p.fact.level_reached} {words.RUNGS[p.fact.level_reached]}", p.objects, p.observed)
            for p in report.proofs
        ])  # fmt: skip


def _costs(report: Report) -> Iterator[str]:
    if not report.costs:
        return
    yield from ("## What targets hold and cost", "", words.COSTS, "")
    heads = ("Target", "Stored", "Requests", "Moved", "Price of that")
    yield from _table(heads, [(row.target, row.stored, row.asked, row.moved, row.paid) for row in report.costs])
    yield from (f"- {_plain(row.target)}: {_plain(line)}" for row in report.costs for line in row.estimates)
    yield ""


def _guards(report: Report) -> Iterator[str]:
    if not report.guards:
        return
    yield from ("## Until when recovery points are protected", "")
    more = f" {count(report.guards_more)} older ones are not listed." if report.guards_more else ""
    yield from (f"{words.LOCKS}{more}", "")
    rows = [(when(row.at), row.system, row.protected, row.destroyable) for row in report.guards]
    yield from _table(("Point as of", "System", "Protected", "Its last copy can be destroyed"), rows)


_RESULTS = {"ok": "done", "degraded": "in part", "aborted": "interrupted"}


def _acts(report: Report) -> Iterator[str]:
    if not report.acts:
        return
    more = f"; {count(report.acts_more)} older ones are not listed" if report.acts_more else ""
    yield from ("## Acts", "", f"{words.ACTS}{more}.", "")
    yield from _table(("When", "System", "What", "Why", "Result"), [
        (when(act.at), act.title, act.what, act.reason,
         _RESULTS.get(act.outcome, act.outcome) + (f": {act.problem}" if act.problem else ""))
        for act in report.acts
    ])  # fmt: skip


def _end(report: Report) -> Iterator[str]:
    records, head = report.material.head
    yield from ("## What this does not show", "", *(f"- {limit}" for limit in words.LIMITS), "")
    defined = (f"- **{short}**{f' ({name})' if name else ''}: {text}" for short, name, text in words.DEFINITIONS)
    yield from ("## The words used", "", *defined, "")
    rungs = (f"{number}. **{name}**: {text}" for number, (name, text) in enumerate(words.LADDER))
    yield from ("### The ladder of proof", "", *rungs, "")
    yield from ("## How to check this report", "")
    yield f"Run `dr audit`: the chain must be whole, and record {records} must have the digest `{head}`."
    yield from (f"The chain was read while making this report: {_plain(report.material.audit)}.", "")
    yield from ("## Review", "")
    blank = [(f"{role} ({note})" if note else role, "", "", "", "") for role, note in words.SIGN_OFF]
    yield from _table(("Role", "Name and title", "Decision", "Date", "Signature"), blank)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(heads) + " |"
    yield "|" + " --- |" * len(heads)
    for row in rows:
        yield "| " + " | ".join(_plain(cell) for cell in row) + " |"
    yield ""


def _plain(text: str) -> str:
    """One line in which nothing is markup and no text turns its neighbours around."""
    line = " ".join(text.split()).translate(_TURNS)
    return _MEANT.sub(r"\\\1", line.replace("&", "&amp;").replace("<", "&lt;"))


def _code(text: str) -> str:
    return " ".join(text.split()).replace("`", "")
