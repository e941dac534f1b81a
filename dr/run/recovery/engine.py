"""One recovery, rehearsed or real: declare, provision, restore, start, verify.

A drill does it in a sandbox, a recovery in the real place; nothing else differs. Whatever goes wrong
becomes part of the fact that comes back: a recovery that could not run is a failure to report. A copy that
turns out not to be whole is passed over for the next one (`dr.run.recovery.route`), while the clock of the RTA goes on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

from dr.errors import DamageError, DrError, InterruptedRunError, as_error
from dr.evidence.record import Drill, Outcome, PassedOver, Point
from dr.plan.check_kinds import Turn
from dr.plan.hook import Hook
from dr.plan.source_kinds import in_own_server
from dr.plan.units import format_bytes
from dr.run.points.choose import RecoveryStep, in_words, last_unsuspected, suspect_in_words
from dr.run.recovery import lacking
from dr.run.recovery.checks.context import CheckContext, Restored
from dr.run.recovery.checks.databases import unloaded
from dr.run.recovery.checks.manifest import shares_asked, with_manifests
from dr.run.recovery.checks.run import in_order, run_check
from dr.run.recovery.emptiness import of_restored
from dr.run.recovery.fresh_cache import FreshCache
from dr.run.recovery.place.isolate import isolate
from dr.run.recovery.place.restore_host import RestoreHost
from dr.run.recovery.place.sandbox import Disposition
from dr.run.recovery.restore import RestoreJob, bring_samples, bring_whole, make_rooms
from dr.run.recovery.result import Job, RecoveryProgress, last_mandatory, make_fact
from dr.run.recovery.route import Route, is_of_copy
from dr.run.recovery.salvage import set_aside, soften, tell_lacks
from dr.run.recovery.site import RestoreSite
from dr.run.recovery.timeline import Timeline
from dr.run.timetravel.point_in_time import Travel
from dr.run.workspace.file_lists import write_names
from dr.run.workspace.hooks import problem, run_hook
from dr.run.workspace.toolbox import Toolbox
from dr.tools import command
from dr.tools.host import ThisHost


def carry_out(toolbox: Toolbox, points: Sequence[Point], job: Job, site: RestoreSite) -> Drill:
    """Do the whole of it and return the fact; the site is always put away, and what runs there ended."""
    progress = RecoveryProgress(Timeline(job.clock), cache=(cache := FreshCache(toolbox.state, job.drill_id)))
    try:
        with _faults_become_facts(progress):
            _stages(toolbox, points, job, site, progress)
        with _faults_become_facts(progress):
            _after(toolbox, job, progress)
    finally:
        if job.travel:
            job.travel.close()
            _say_lost(job.travel, progress)
        for instance in progress.instances.values():
            with suppress(DrError):  # of a host that is gone: the site's end says so
                instance.close()
        if job.real and not progress.achieved and _moved_on(progress):
            with suppress(DrError):  # the next attempt begins with the newest point again
                site.empty(sorted(progress.copy.snapshots) if progress.copy else [], same=False)
        if progress.isolation:
            progress.isolation.close()
        cache.close()
        fate = site.finish(achieved=progress.achieved)
    if progress.error:
        progress.journal.note(progress.error, outcome="aborted" if progress.aborted else "failed")
    progress.machine = site.land.machine
    _say_fate(progress.journal, fate, site.where)
    _write_names(toolbox, job, progress)
    return make_fact(toolbox, job, progress, fate)


@contextmanager
def _faults_become_facts(progress: RecoveryProgress) -> Iterator[None]:
    try:
        yield
    except InterruptedRunError as error:
        progress.aborted = command.stopping()
        progress.error = str(error) if progress.aborted else "restic was ended from outside"
    except DrError as error:
        progress.error, progress.error_hint, progress.error_code = str(error), error.hint, error.exit_code
    except OSError as error:
        progress.error = f"the restored data cannot be worked with: {error.strerror}"
        if error.filename:  # in the list of names, as the names of files are no evidence
            progress.names.append(("restored data", str(error.strerror), os.fsencode(error.filename)))
        progress.error_hint = as_error(error).hint


def _stages(toolbox: Toolbox, points: Sequence[Point], job: Job, site: RestoreSite, progress: RecoveryProgress) -> None:
    with progress.journal.phase("declare"):
        route = _declare(toolbox, points, job, progress)
    with closing(route):
        with progress.journal.phase("declare"):
            step = _choose(toolbox, points, progress, route.begin())
        shipment = _bring(toolbox, step, job, site, progress)
        while following := _next(route, step, site, progress):
            with progress.journal.phase("declare"):
                step = _choose(toolbox, points, progress, following)
            shipment = _bring(toolbox, step, job, site, progress)
        if shipment is None:
            raise progress.spoilt or DrError(
                "nothing was restored", hint="run it again with -v, and see what restic says"
            )
        with progress.journal.phase("start"):
            _start(job, progress)
            _weigh(progress, shipment.land)
        with progress.journal.phase("verify"):
            _verify(shipment, job, progress)
    progress.ended = True


def _bring(
    toolbox: Toolbox, step: RecoveryStep, job: Job, site: RestoreSite, progress: RecoveryProgress
) -> RestoreJob | None:
    """Restore one copy, as far as it goes; None when not even that. What makes it not whole is in `progress.spoilt`."""
    progress.spoilt = None
    try:
        with progress.journal.phase("provision"):
            shipment = _provision(toolbox, step, job, site, progress)
        with progress.journal.phase("restore"):
            _restore(shipment, job, progress)
    except DrError as error:
        if not is_of_copy(error, step.place):
            raise
        progress.spoilt = error
        return None
    if step.salvage:
        tell_lacks(toolbox, job, shipment, progress)
    elif complaints := [text for item in progress.restored.values() for text in item.complaints]:
        where, hint = step.place.repository.where, f"run `dr verify {toolbox.plan.system}`, then repair it"
        progress.spoilt = DamageError("stored data is damaged", where, complaints[0], hint=hint)
    return shipment


def _next(route: Route, step: RecoveryStep, site: RestoreSite, progress: RecoveryProgress) -> RecoveryStep | None:
    """Return what to restore in the place of a copy that is not whole; None when it is, or there is nothing else."""
    if progress.spoilt is None:
        return None
    with progress.journal.phase("declare"):
        following = route.after(step, str(progress.spoilt))
        if following is None:
            return None
        for instance in progress.instances.values():
            with suppress(DrError):
                instance.close()
        same = following.point.run_id == step.point.run_id
        if not site.empty(sorted(step.copy.snapshots), same=same):
            return None
        what = f"the copy of {step.point.run_id} on {step.where} is not whole ({progress.spoilt.what})"
        progress.journal.note(f"{what}: going on with {_in_words(following, same=same)}", outcome="degraded")
    reason = " ".join(filter(None, (step.how, progress.spoilt.what)))
    progress.passed_over.append(PassedOver(run_id=step.point.run_id, target=step.copy.target, reason=reason))
    progress.instances.clear()
    progress.restored = {}
    return following


def _moved_on(progress: RecoveryProgress) -> bool:
    """Whether an older point was tried in the place of the first."""
    return any(progress.point and each.run_id != progress.point.run_id for each in progress.passed_over)


def _in_words(step: RecoveryStep, *, same: bool) -> str:
    if step.salvage:
        return f"what is left of it on {step.where}"
    if same:
        return f"the copy on {step.where}"
    when = in_words(step.point.consistency_time)
    return f"the older point {step.point.run_id} of {when} on {step.where}"


# -- the five phases ---------------------------------------------------------------------------------


def _declare(toolbox: Toolbox, points: Sequence[Point], job: Job, progress: RecoveryProgress) -> Route:
    """Find the way through the copies, and see that the first one's target answers."""
    journal = progress.journal
    say = partial(progress.passed, then=job.travel is not None)
    if job.assumed:
        journal.note(job.assumed)
    before, through = job.at or job.t_loss, None
    if job.travel:
        job.travel.say, through = journal.note, job.travel.of_point
        before, points = job.travel.depart(toolbox, points, target=job.target)
    if job.point:
        points = [point for point in points if point.run_id == job.point]
        before = max((point.consistency_time for point in points), default=before)
    return Route(
        toolbox, points, before, job.clock, say, target=job.target, named=job.point is not None, through=through
    )


def _choose(toolbox: Toolbox, points: Sequence[Point], progress: RecoveryProgress, step: RecoveryStep) -> RecoveryStep:
    """Note which point and copy is used, and what is to be known of it."""
    journal, point, copy = progress.journal, step.point, step.copy
    progress.point, progress.copy, progress.seen_at = point, copy, step.seen_at
    when = in_words(point.consistency_time)
    journal.note(f"point {point.run_id} of {when} on {step.where} chosen", timed=True)
    if copy.doubtful and step.how:
        journal.note(f"the index on {copy.target} is damaged: it is made again beside it", outcome="degraded")
    if warning := suspect_in_words(points, point):
        progress.unsuspected = last_unsuspected(points, point)
        journal.note(warning, outcome="degraded")
    for name in sorted(set(toolbox.plan.sources) - set(copy.snapshots)):
        journal.note(f"the point does not hold the plan's source {name}", outcome="degraded")
    for name in sorted(set(copy.snapshots) - set(toolbox.plan.sources)):
        journal.note(f"the point holds {name}, which the plan no longer names: restored too")
    return step


def _provision(
    toolbox: Toolbox, step: RecoveryStep, job: Job, site: RestoreSite, progress: RecoveryProgress
) -> RestoreJob:
    """Make the place, bring what stands beside the data, and make ready what will take the data."""
    root = site.prepare(step.point, 0 if job.partial else step.point.bytes or 0)
    if not job.real and progress.isolation is None and _runs_programs(toolbox, step.point, job):
        progress.isolation = isolate(site.land, root, reach=toolbox.plan.drill.reach)
    place = progress.cache.seen(step.place) if progress.cache else step.place
    shipment = RestoreJob(
        toolbox=toolbox, place=place, point=step.point, copy=step.copy, salvage=step.salvage, root=root,
        seed=job.drill_id, annex=site.annex, real=job.real, land=site.land, replaced=job.replaced,
        accepted=job.accepted, as_files=job.as_files or job.partial, token=job.token or job.drill_id,
        instances=progress.instances, inside=progress.isolation.host if progress.isolation else None,
    )  # fmt: skip
    make_rooms(shipment)
    for name, instance in progress.instances.items():
        if (captured := instance.captured()) and captured.server:
            progress.journal.note(f"{name} was captured from {captured.server}")
    for instance in progress.instances.values():  # here, not in a pool: a server ends with the thread that began it
        instance.provision()
    there = "" if site.land.host.here else f" on {site.land.host.name}"
    progress.journal.note("the place of recovery is ready" if job.real else f"sandbox made{there}", timed=True)
    if progress.isolation:
        progress.journal.note(progress.isolation.in_words)
    return shipment


def _runs_programs(toolbox: Toolbox, point: Point, job: Job) -> bool:
    """Whether something is to run on what is restored: a server of its own, or a check's program."""
    served = not (job.partial or job.as_files) and any(map(in_own_server, point.kinds.values()))
    return served or any(check.body.turn is Turn.RUNS_PROGRAMS for check in job.checks)


def _restore(shipment: RestoreJob, job: Job, progress: RecoveryProgress) -> None:
    _hook(shipment.toolbox, shipment.toolbox.plan.hooks.restore.before, "before restore", progress)
    progress.restored = bring_samples(shipment) if job.partial else bring_whole(shipment)
    files = sum(item.files for item in progress.restored.values())
    size = format_bytes(sum(item.bytes for item in progress.restored.values()))
    progress.journal.note(
        f"restored {', '.join(progress.restored)}: {files:,} file{'' if files == 1 else 's'}, {size}", timed=True
    )
    for name, item in progress.restored.items():
        _complain(progress, name, item, shipment.root)


def _hook(toolbox: Toolbox, hook: Hook | None, moment: str, progress: RecoveryProgress) -> None:
    """Run one of the plan's hooks; a `before` that fails stops the restore, what fails later is said."""
    if hook is None or any(run.moment == moment for run in progress.hooks):
        return  # it was run for the copy that is passed over
    run = run_hook(ThisHost(), hook, moment, env={"DR_SYSTEM": toolbox.plan.system}, cwd=str(toolbox.plan_dir))
    progress.hooks.append(run)
    if run.outcome == "ok":
        progress.journal.note(f"hook {moment} done")
    elif moment.startswith("before"):
        raise DrError(problem(run), toolbox.plan.system, run.output[-300:], hint="run it by hand and see")
    else:
        progress.journal.note(problem(run), outcome="degraded")


def _complain(progress: RecoveryProgress, name: str, item: Restored, root: Path) -> None:
    """Say what restic could not restore; the manifest, not restic, then decides what that means."""
    if not item.complaints:
        return
    if any("no space left" in text.lower() for text in item.complaints):
        raise DrError("the restore failed: the disk is full", str(root), hint="free some space there")
    count = len(item.complaints)
    items = "1 item" if count == 1 else f"{count:,} items"
    progress.journal.note(f"{items} of {name} could not be restored whole", outcome="degraded")
    progress.names += [(name, "restic", os.fsencode(text)) for text in item.complaints]


def _start(job: Job, progress: RecoveryProgress) -> None:
    """Bring the restored data to life. What does not start fails the drill, but is still checked."""
    for name, item in progress.restored.items():
        try:
            item.instance.start()
        except InterruptedRunError:
            raise
        except DrError as error:
            progress.error = progress.error or f"{name} does not start: {error}"
    lacking.tell(job, progress)
    if not progress.error:
        progress.journal.note("restored data opened", timed=True)


def _weigh(progress: RecoveryProgress, land: RestoreHost) -> None:
    """Say which sources came back and hold nothing: they prove no recovery. What does not start is a failure anyway."""
    for name, item in progress.restored.items() if not progress.error else ():
        if why := of_restored(item, land):
            progress.hollow[name] = why
            progress.journal.note(f"{name} holds nothing ({why}): it proves no recovery", outcome="degraded")


def _verify(shipment: RestoreJob, job: Job, progress: RecoveryProgress) -> None:
    _find_newest(progress)
    ground = CheckContext(
        root=shipment.root, land=shipment.land, plan_dir=shipment.toolbox.plan_dir, seed=job.drill_id,
        now=progress.journal.now, sources=progress.restored, partial=job.partial, newest=progress.newest,
        names=progress.names, programs=progress.isolation.works if progress.isolation else None,
    )  # fmt: skip
    checks = with_manifests(job.checks, progress.restored, partial=job.partial)
    progress.asked = shares_asked(checks, progress.restored)
    for check in in_order(checks):
        results = list(run_check(ground, check))
        command.raise_if_stopping()  # before they count: an interrupted check has not failed
        progress.checks += soften(results, progress)
    if job.real:
        set_aside(shipment, progress)
    _sum_up(progress)


def _find_newest(progress: RecoveryProgress) -> None:
    """Read the newest record of each source that the plan has a query for: what was really lost."""
    journal = progress.journal
    for name, item in progress.restored.items():
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
            progress.newest[name] = moment
            journal.note(f"newest record of {name}: {in_words(moment)}{item.instance.reading}")


def _sum_up(progress: RecoveryProgress) -> None:
    passed = sum(check.outcome == "ok" for check in progress.checks)
    failed = [check for check in progress.checks if check.outcome == "failed"]
    outcome: Outcome = "failed" if any(c.mandatory for c in failed) else "degraded" if failed else "ok"
    progress.journal.note(f"{passed} of {len(progress.checks)} checks passed", outcome=outcome, timed=True)
    if not failed and last_mandatory(progress) is None:
        progress.journal.note("no mandatory check was made: RTA is not measured", outcome="degraded")


def _after(toolbox: Toolbox, job: Job, progress: RecoveryProgress) -> None:
    """Put what passed into its real place, or rehearse that, and run the plan's last hook."""
    if job.real and progress.achieved:
        for name, instance in progress.instances.items():
            instance.accept()
            if instance.takes_stream:
                progress.journal.note(f"{name} is in its real place")
        lacking.tell(job, progress)
    elif progress.achieved and not job.partial:
        for instance in progress.instances.values():
            instance.rehearse()
    if not progress.instances or command.stopping():
        return
    hooks = toolbox.plan.hooks.restore
    if progress.achieved:
        _hook(toolbox, hooks.after, "after restore", progress)
    else:
        _hook(toolbox, hooks.on_failure, "on failure of restore", progress)


# -- afterwards --------------------------------------------------------------------------------------


def _say_fate(journal: Timeline, fate: Disposition, where: str) -> None:
    if fate == "destroyed":
        journal.note("sandbox destroyed")
    elif fate == "kept":
        journal.note(f"sandbox kept, with restored data in it: {where}")
    elif fate == "left behind":
        journal.note(f"the sandbox could not be removed: {where}", outcome="degraded")


def _say_lost(travel: Travel, progress: RecoveryProgress) -> None:
    """Say which objects no version is left of: what the time asked for would have needed."""
    lost, junk = travel.lost(), travel.junk()
    if junk:
        progress.journal.note(f"left out, as their bytes are not what their names promise: {len(junk):,} objects")
    progress.names += [("repository", reason, name.encode()) for name, reason in lost.items()]
    if lost:
        some = ", ".join(list(lost)[:3]) + (f" and {len(lost) - 3:,} more" if len(lost) > 3 else "")
        progress.journal.note(f"the target has lost {some}: use another target or an older point", outcome="degraded")


def _write_names(toolbox: Toolbox, job: Job, progress: RecoveryProgress) -> None:
    """Write which files have which problem to a local list: names of files are no evidence."""
    if not progress.names:
        return
    try:
        path = write_names(toolbox.state, job.drill_id, progress.names)
    except OSError as error:
        progress.journal.note(f"the list of files could not be written: {error.strerror}", outcome="degraded")
    else:
        progress.journal.note(f"the files concerned are listed in {path}")
