"""One drill as it is told: its verdicts in plain words, its phases, its scope, its place in the evidence."""

from __future__ import annotations

from typing import Literal

from dr.evidence.record import Copy, Drill, Point
from dr.evidence.seal import Sealed
from dr.late_dataclass import dataclass
from dr.plan.check_kinds import proves_service
from dr.plan.plan import Plan
from dr.plan.scenario import is_partial
from dr.plan.units import format_bytes, format_duration
from dr.report.phrases import counted, duration, isolated, percent
from dr.report.protection import posture_in_words
from dr.report.verdict import Verdict, mtd_verdict, rpo_verdict, rto_verdict

PHASES = ("declare", "provision", "restore", "start", "verify")
#: good: an objective met. bad: missed, or failed. odd: neither can be said.
Tone = Literal["good", "bad", "odd"]


@dataclass(frozen=True)
class Phase:
    """One phase: its seconds (None: never reached) and its share of the whole, 0 to 100."""

    name: str
    seconds: float | None
    share: float


@dataclass(frozen=True)
class Scope:
    """How much was recovered and looked at. `left_out` are sources that were not restored."""

    sources: tuple[str, ...]
    left_out: tuple[str, ...]
    bytes_share: float | None
    whole: bool
    text: str


@dataclass(frozen=True, kw_only=True)
class DrillView:
    """A drill with its verdicts and its place in the evidence. `label` is the verdict in one or two words."""

    fact: Drill
    digest: str
    seq: int
    title: str
    rto: Verdict
    rpo: Verdict
    mtd: Verdict | None
    tone: Tone
    label: str
    sentence: str
    about_data: str
    phases: tuple[Phase, ...]
    scope: Scope
    limits: tuple[str, ...]
    copy: Copy | None
    plan: Plan | None

    @property
    def posture(self) -> tuple[str, ...]:
        """How the target it used was kept, in words: a summary, then each grave finding."""
        return posture_in_words(self.fact.posture)

    @property
    def beside(self) -> tuple[str, ...]:
        """What belongs to its verdict: which copies were tried before the one used, and what a point named lacks."""
        tried = (f"Passed over: point {each.run_id} on {each.target}, {each.reason}." for each in self.fact.passed_over)
        return (*tried, *(f"Lacking: {lack}." for lack in self.fact.lacks))

    @property
    def noun(self) -> str:
        """What it was."""
        return "recovery" if self.fact.real else "drill"


def view_of(record: Sealed, plan: Plan | None, point: Point | None) -> DrillView:
    """Return one drill as it is told. `plan` and `point` are as they are today, where they still are."""
    fact = record.fact
    if not isinstance(fact, Drill):
        raise TypeError(f"record {record.seq} is not a drill")
    title = plan.title if plan and plan.title else fact.system
    rto, rpo, scope = rto_verdict(fact), rpo_verdict(fact), _scope(fact, plan, point)
    tone, label = _judged(fact, rto, rpo, scope)
    copies = point.copies if point else ()
    return DrillView(
        fact=fact,
        digest=record.digest,
        seq=record.seq,
        title=title,
        rto=rto,
        rpo=rpo,
        mtd=mtd_verdict(fact),
        tone=tone,
        label=label,
        sentence=_sentence(fact, isolated(title), rto, rpo, scope),
        about_data=_about_data(fact),
        phases=_phases(fact),
        scope=scope,
        limits=tuple(_limits(fact, plan, scope)),
        copy=next((copy for copy in copies if copy.target == fact.target), None),
        plan=plan,
    )


def _phases(fact: Drill) -> tuple[Phase, ...]:
    if not fact.phases:
        return ()
    total = sum(fact.phases.values()) or 1.0
    return tuple(Phase(name, fact.phases.get(name), 100 * fact.phases.get(name, 0.0) / total) for name in PHASES)


# -- in words ----------------------------------------------------------------------------------------


def _judged(fact: Drill, rto: Verdict, rpo: Verdict, scope: Scope) -> tuple[Tone, str]:
    words = (rto.word, rpo.word)
    if fact.outcome == "failed":
        return "bad", "Failed"
    if fact.outcome == "aborted":
        return "odd", "Interrupted"
    if "missed" in words:
        return "bad", "Missed"
    if fact.selected:
        return ("good", "Recovered") if fact.outcome == "ok" else ("odd", "Recovered, with warnings")
    if "unknown" in words:
        return "odd", "Not measured"
    if fact.outcome == "degraded":
        return "odd", "Met, with warnings"
    return ("good", "Met") if scope.whole else ("odd", "Met, in part")


def _sentence(fact: Drill, title: str, rto: Verdict, rpo: Verdict, scope: Scope) -> str:
    what = "recovery" if fact.real else "drill"
    if fact.outcome == "aborted":
        return f"The {what} of {title} was interrupted: it shows nothing."
    if fact.selected:
        return _of_selected(fact, title)
    if fact.outcome == "failed":
        reason = rto.reason.removeprefix("the service did not come back: ")
        return f"{title} did not come back in this {what}: {isolated(reason.rstrip('.'))}."
    if fact.of_nothing:
        return f"This {what} of {title} shows nothing: every source that it restored holds nothing."
    if fact.rta_seconds is None:
        return f"{title} was restored in this {what}, but nothing says how soon: {rto.reason}."
    part = "" if scope.whole else ", in part" if fact.outcome == "ok" else ", in part, with warnings"
    part = part or (", with warnings" if fact.outcome == "degraded" else "")
    told = f"{'a sample of ' if fact.sampled else ''}{title} was back in {format_duration(fact.rta_seconds)}"
    limit = f"its objective is {format_duration(fact.objectives.rto_seconds)}"
    named = (("recovery time", rto), ("recovery point", rpo))
    if missed := [name for name, verdict in named if verdict.word == "missed"]:
        return f"Objective missed in this {what} ({' and '.join(missed)}): {told}; {limit}."
    if unknown := [f"{name}: {verdict.reason}" for name, verdict in named if verdict.word == "unknown"]:
        return f"Not all was measured in this {what} ({'; '.join(unknown)}): {told}; {limit}."
    return f"Objectives met in this {what}{part}: {told}; {limit}."


def _of_selected(fact: Drill, title: str) -> str:
    """A recovery of files or tables that a person named says nothing of the system."""
    what = counted(len(fact.tables), "table") if fact.tables else counted(fact.files, "file")
    if fact.outcome == "failed":
        return f"What was asked for of {title} was not recovered: {isolated((fact.error or 'it failed').rstrip('.'))}."
    took = "" if fact.rta_seconds is None else f" in {format_duration(fact.rta_seconds)}"
    return f"{what} of {title} recovered{took}, as asked for: no objective of the system is judged by it."


def _about_data(fact: Drill) -> str:
    if fact.outcome == "aborted" or fact.run_id is None or fact.rpa_seconds is None or fact.rpa_seconds < 0:
        return ""
    age = f"The data used was {format_duration(fact.rpa_seconds)} old at the moment of loss"
    if fact.selected:
        return f"{age}."
    return f"{age}; the objective is {format_duration(fact.objectives.rpo_seconds)}."


def _scope(fact: Drill, plan: Plan | None, point: Point | None) -> Scope:
    planned = {*(point.kinds if point else ()), *(plan.sources if plan and not point else ())}
    left_out = tuple(sorted(planned - set(fact.sources)))
    share = fact.bytes / fact.protected_bytes if fact.protected_bytes else None
    sampled = is_partial(fact.scenario) or fact.sampled is not None
    if not fact.sources:
        return Scope((), left_out, share, whole=False, text="Nothing was restored.")
    said = [f"{len(fact.sources)} of {counted(len(fact.sources) + len(left_out), 'source')} restored"]
    if fact.sampled:
        said.append(f"sampled: {fact.sampled.in_words(format_bytes)}")
    elif fact.selected:
        said.append("only what was asked for")
    elif sampled:
        said.append("a sample of the files only")
    if fact.sample <= 0:
        said.append("the content of no file compared with the capture")
    elif fact.sample < 1:
        said.append(f"the content of {percent(fact.sample)} of the files compared with the capture")
    elif fact.selected or not sampled:
        said.append("the content of every file compared with the capture")
    whole = not left_out and not sampled and fact.sample >= 1
    head = "The whole system" if whole else "In part"
    return Scope(fact.sources, left_out, share, whole=whole, text=f"{head}: {', '.join(said)}.")


def _limits(fact: Drill, plan: Plan | None, scope: Scope) -> list[str]:
    """What this one drill does not show, beside what no drill shows."""
    said = []
    if fact.sources and not scope.whole:
        said.append("It proves what was restored and compared, and no more: nothing is said of the time for the whole.")
    if fact.hollow:
        named = ", ".join(f"{name} ({why})" for name, why in fact.hollow.items())
        said.append(f"That these come back, as nothing is in them: {named}.")
    if fact.suspect:
        before = fact.last_unsuspected_point or "none"
        said.append(
            f"That the data is what it should be: its point is suspect ({fact.suspect}). The last before: {before}."
        )
    if plan and plan.depends_on:
        said.append(f"The systems it depends on ({', '.join(plan.depends_on)}) were not part of it.")
    if fact.data_rpa_seconds is None and fact.sources:
        said.append("The newest record in the data was not looked for; the age is that of the recovery point.")
    if not any(proves_service(check.check) for check in fact.checks) and fact.checks:
        said.append("No check asked the restored service a question: files came back, work with them was not tried.")
    if fact.machine:
        said.append(f"Its times hold for the machine it ran on ({fact.machine}), and for the network of that hour.")
    late = fact.data_rpa_seconds
    if late is not None and fact.rpa_seconds is not None and late > fact.objectives.rpo_seconds:
        said.append(f"The newest record was {duration(late)} old; whether more was written since, no query can tell.")
    return said
