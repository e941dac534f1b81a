"""What surrounds a restore: the plan's hooks, what goes wrong, putting into the real place, what is said in the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dr.errors import DrError, InterruptedRunError, as_error
from dr.plan.units import first_few
from dr.run.recovery import lacking
from dr.run.recovery.compare import chosen
from dr.run.recovery.place.sandbox import Disposition
from dr.run.recovery.result import achieved
from dr.run.recovery.state import Recovery
from dr.run.timetravel.point_in_time import Travel
from dr.run.workspace.file_lists import write_names
from dr.run.workspace.hooks import problem, run_hook
from dr.tools import command
from dr.tools.host import ThisHost

if TYPE_CHECKING:
    from dr.plan.hook import Hook


def hook(recovery: Recovery, declared: Hook | None, moment: str) -> None:
    """Run one of the plan's hooks; a `before` that fails stops the restore, what fails later is said."""
    if declared is None or recovery.request.selected or any(run.moment == moment for run in recovery.hooks):
        return  # it was run for the copy that is passed over; for some files the system goes on
    toolbox, journal = recovery.toolbox, recovery.journal
    run = run_hook(ThisHost(), declared, moment, env={"DR_SYSTEM": toolbox.plan.system}, cwd=str(toolbox.plan_dir))
    recovery.hooks.append(run)
    if run.outcome == "ok":
        journal.note(f"hook {moment} done")
    elif moment.startswith("before"):
        raise DrError(problem(run), toolbox.plan.system, run.output[-300:], hint="run it by hand and see")
    else:
        journal.note(problem(run), outcome="degraded")


def put_into_place(recovery: Recovery) -> None:
    """Put what passed into its real place, or rehearse that, and run the plan's last hook."""
    passed = achieved(recovery)
    if recovery.request.tables:
        return
    if recovery.request.in_place:
        if passed:
            from dr.run.recovery.put_back import put_back

            put_back(recovery)
    elif recovery.request.paths:
        recovery.names += [(name, "brought back", path) for name, path in _brought(recovery)] if passed else []
    elif recovery.request.real and passed:
        for name, instance in recovery.instances.items():
            instance.accept()
            if instance.takes_stream:
                recovery.journal.note(f"{name} is in its real place")
        lacking.tell(recovery)
    elif passed and not recovery.request.partial:
        for instance in recovery.instances.values():
            instance.rehearse()
    if not recovery.instances or recovery.request.selected or command.stopping():
        return
    hooks = recovery.toolbox.plan.hooks.restore
    if achieved(recovery):
        hook(recovery, hooks.after, "after restore")
    else:
        hook(recovery, hooks.on_failure, "on failure of restore")


def _brought(recovery: Recovery) -> Iterator[tuple[str, bytes]]:
    """Yield the source and the path of each file that a person asked for and has: a list for this host."""
    for name, item in recovery.restored.items():
        for entry in chosen(item.manifest, item.only) if item.manifest else ():
            if entry.kind != "dir":
                yield name, entry.path


def say_end(recovery: Recovery, fate: Disposition) -> None:
    """Say what became of the place, and write which files have which problem: names of files are no evidence."""
    journal, where = recovery.journal, recovery.site.where
    if fate == "destroyed":
        journal.note("sandbox destroyed")
    elif fate == "kept":
        journal.note(f"sandbox kept, with restored data in it: {where}")
    elif fate == "left behind":
        journal.note(f"the sandbox could not be removed: {where}", outcome="degraded")
    if recovery.names:
        _write_names(recovery)


def _write_names(recovery: Recovery) -> None:
    try:
        path = write_names(recovery.toolbox.state, recovery.request.drill_id, recovery.names)
    except OSError as error:
        recovery.journal.note(f"the list of files could not be written: {error.strerror}", outcome="degraded")
    else:
        recovery.journal.note(f"the files concerned are listed in {path}")


def say_lost(recovery: Recovery, travel: Travel) -> None:
    """Say which objects no version is left of: what the time asked for would have needed."""
    lost, junk = travel.lost(), travel.junk()
    if junk:
        recovery.journal.note(f"left out, as their bytes are not what their names promise: {len(junk):,} objects")
    recovery.names += [("repository", reason, name.encode()) for name, reason in lost.items()]
    if lost:
        recovery.journal.note(
            f"the target has lost {first_few(list(lost))}: use another target or an older point", outcome="degraded"
        )


@contextmanager
def faults_become_facts(recovery: Recovery) -> Iterator[None]:
    """Keep what ails the work within as the recovery's error. Only faults of the program itself go on."""
    try:
        yield
    except InterruptedRunError as error:
        recovery.aborted = command.stopping()
        recovery.error = str(error) if recovery.aborted else "restic was ended from outside"
    except DrError as raised:
        from dr.run.recovery.full_disk import named

        told = named(recovery, raised)
        recovery.error, recovery.error_hint, recovery.error_code = str(told), told.hint, told.exit_code
    except OSError as error:
        from dr.run.recovery.full_disk import of_this_host

        full = of_this_host(recovery, error)
        recovery.error = str(full) if full else f"the restored data cannot be worked with: {error.strerror}"
        recovery.error_hint = full.hint if full else as_error(error).hint
        if error.filename:  # in the list of names, as the names of files are no evidence
            recovery.names.append(("restored data", str(error.strerror), os.fsencode(error.filename)))
