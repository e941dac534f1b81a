"""The phases start and verify: what was restored is brought to life, and asked the plan's checks."""

from __future__ import annotations

from dr.errors import DrError, InterruptedRunError
from dr.evidence.record import Outcome
from dr.run.points.choose import in_words
from dr.run.recovery import lacking
from dr.run.recovery.checks.context import CheckContext
from dr.run.recovery.checks.databases import unloaded
from dr.run.recovery.checks.manifest import checks_of, shares_asked
from dr.run.recovery.checks.run import in_order, run_check
from dr.run.recovery.emptiness import of_restored
from dr.run.recovery.result import last_mandatory
from dr.run.recovery.salvage import set_aside, soften
from dr.run.recovery.state import Recovery
from dr.tools import command


def start(recovery: Recovery) -> None:
    """Bring the restored data to life. What does not start fails the drill, but is still checked."""
    from dr.run.recovery.full_disk import named

    for name, item in recovery.restored.items():
        try:
            item.instance.start()
        except InterruptedRunError:
            raise
        except DrError as raised:
            if not recovery.error:
                error = named(recovery, raised)
                recovery.error, recovery.error_hint = f"{name} does not start: {error}", error.hint
    if recovery.request.tables:
        return  # what else of the databases did not come back is of no use here
    lacking.tell(recovery)
    if not recovery.error:
        recovery.journal.note("restored data opened", timed=True)
        _weigh(recovery)


def _weigh(recovery: Recovery) -> None:
    """Say which sources came back and hold nothing: they prove no recovery. What does not start is a failure anyway.

    Of files that a person named nothing is said: an empty one may be just what was asked for.
    """
    if recovery.request.paths:
        return
    for name, item in recovery.restored.items():
        if why := of_restored(item, recovery.site.land):
            recovery.hollow[name] = why
            recovery.journal.note(f"{name} holds nothing ({why}): it proves no recovery", outcome="degraded")


def verify(recovery: Recovery) -> None:
    """Make the checks; what was salvaged is not failed for what is known to lack."""
    if not recovery.request.tables:
        _find_newest(recovery)
    request, restored = recovery.request, recovery.restored
    context = CheckContext(
        root=recovery.root, land=recovery.site.land, plan_dir=recovery.toolbox.plan_dir, seed=request.drill_id,
        now=recovery.journal.now, sources=restored, partial=recovery.of_samples, newest=recovery.newest,
        names=recovery.names, programs=recovery.isolation.works if recovery.isolation else None,
        sampled=recovery.sampled is not None,
    )  # fmt: skip
    declared = () if request.selected else recovery.toolbox.plan.drill.checks  # of the system, not of a part
    checks = checks_of(declared, restored, real=request.real, partial=recovery.of_samples)
    recovery.asked = shares_asked(checks, restored)
    for check in in_order(checks):
        results = list(run_check(context, check))
        command.raise_if_stopping()  # before they count: an interrupted check has not failed
        recovery.checks += soften(results, recovery)
    if request.real:
        set_aside(recovery)
    _sum_up(recovery)


def _find_newest(recovery: Recovery) -> None:
    """Read the newest record of each source that the plan has a query for: what was really lost."""
    journal = recovery.journal
    for name, item in recovery.restored.items():
        if not (item.declared and item.declared.newest) or unloaded(item):
            continue
        try:
            moment = item.instance.newest()
        except InterruptedRunError:
            raise
        except DrError as error:
            journal.note(f"the newest record of {name} could not be read: {error}", outcome="degraded")
            continue
        if moment is None:
            journal.note(f"the query for the newest record of {name} gives no time", outcome="degraded")
        else:
            recovery.newest[name] = moment
            journal.note(f"newest record of {name}: {in_words(moment)}{item.instance.reading}")


def _sum_up(recovery: Recovery) -> None:
    passed = sum(check.outcome == "ok" for check in recovery.checks)
    failed = [check for check in recovery.checks if check.outcome == "failed"]
    outcome: Outcome = "failed" if any(c.mandatory for c in failed) else "degraded" if failed else "ok"
    recovery.journal.note(f"{passed} of {len(recovery.checks)} checks passed", outcome=outcome, timed=True)
    if not failed and last_mandatory(recovery) is None:
        recovery.journal.note("no mandatory check was made: RTA is not measured", outcome="degraded")
