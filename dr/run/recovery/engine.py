"""One recovery, rehearsed or real: declare, provision, restore, start, verify.

A drill does it in a sandbox, a recovery in the real place; nothing else differs. Whatever goes wrong
becomes part of the fact that comes back: a recovery that could not run is a failure to report. A copy that
turns out not to be whole is passed over for the next one (`dr.run.recovery.route`), while the clock of the RTA goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, suppress

from dr.errors import DrError, RefusedError
from dr.evidence.record import Drill, Point
from dr.run.recovery.around import faults_become_facts, hook, put_into_place, say_end, say_lost
from dr.run.recovery.provision import provision
from dr.run.recovery.request import RecoveryRequest
from dr.run.recovery.restore import bring
from dr.run.recovery.result import achieved, make_fact
from dr.run.recovery.route import choose_step, is_of_copy, pass_over, route_of
from dr.run.recovery.salvage import tell_lacks
from dr.run.recovery.site import RestoreSite
from dr.run.recovery.state import Recovery, begin
from dr.run.recovery.tables import bring_tables
from dr.run.workspace.toolbox import Toolbox
from dr.tools.service_refusals import spoilt_by


def carry_out(toolbox: Toolbox, points: Sequence[Point], request: RecoveryRequest, site: RestoreSite) -> Drill:
    """Do the whole of it and return the fact; the site is always put away, and what runs there ended."""
    recovery = begin(toolbox, request, site)
    try:
        with faults_become_facts(recovery):
            _stages(recovery, points)
        with faults_become_facts(recovery):
            put_into_place(recovery)
    finally:
        if request.travel:
            request.travel.close()
            say_lost(recovery, request.travel)
        recovery.close_instances()
        if request.real and not achieved(recovery) and recovery.moved_on:
            with suppress(DrError):  # the next attempt begins with the newest point again
                site.empty(sorted(recovery.chosen.copy.snapshots), same=False)
        if recovery.isolation:
            recovery.isolation.close()
        recovery.cache.close()
        fate = site.finish(achieved=achieved(recovery))
    if recovery.error:
        recovery.journal.note(recovery.error, outcome="aborted" if recovery.aborted else "failed")
    recovery.machine = site.land.machine
    say_end(recovery, fate)
    return make_fact(recovery, fate)


def _stages(recovery: Recovery, points: Sequence[Point]) -> None:
    """Go through the five phases; the first three once for each copy that turns out not to be whole."""
    phase = recovery.journal.phase
    with phase("declare"):
        if recovery.request.assumed:
            recovery.journal.note(recovery.request.assumed)
        route = route_of(recovery, points)
    with closing(route):
        with phase("declare"):
            choose_step(recovery, points, route.begin())
        brought = _bring(recovery)
        while recovery.spoilt:
            with phase("declare"):
                following = pass_over(recovery, route, recovery.spoilt)
            if following is None and isinstance(recovery.spoilt, RefusedError):
                raise recovery.spoilt  # what was not given says nothing of what is stored
            if following is None:
                break
            with phase("declare"):
                choose_step(recovery, points, following)
            brought = _bring(recovery)
        if not brought:
            raise recovery.spoilt or DrError(
                "nothing was restored", hint="run it again with -v, and see what restic says"
            )
        from dr.run.recovery.verify import start, verify  # a person waits for the first byte

        with phase("start"):
            start(recovery)
            if recovery.request.tables:
                bring_tables(recovery)
        with phase("verify"):
            verify(recovery)
    recovery.ended = True


def _bring(recovery: Recovery) -> bool:
    """Restore the copy in hand, as far as it goes; False when not even that. `spoilt` is what makes it not whole."""
    recovery.spoilt = None
    try:
        with recovery.journal.phase("provision"):
            provision(recovery)
        with recovery.journal.phase("restore"):
            if not recovery.request.selected:
                hook(recovery, recovery.toolbox.plan.hooks.restore.before, "before restore")
            bring(recovery)
    except DrError as error:
        if not is_of_copy(error, recovery.chosen.place):
            raise
        recovery.spoilt = error
        return False
    if recovery.chosen.salvage:
        tell_lacks(recovery)
    elif complaints := [text for item in recovery.restored.values() for text in item.complaints]:
        where, system = recovery.chosen.place.repository.where, recovery.toolbox.plan.system
        hint = f"run `dr verify {system}`, then repair it"
        recovery.spoilt = spoilt_by(complaints[0], where=where, hint=hint)
    return True
