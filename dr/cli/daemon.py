"""`dr daemon`: the same as `dr run` from cron, resident; ends cleanly on SIGTERM. Sole user of schedule."""

from __future__ import annotations

import logging
from contextlib import suppress

import click

from dr.cli.context import Context, pass_context
from dr.errors import OK, DrError

log = logging.getLogger("dr.daemon")


@click.command("daemon")
@click.option(
    "--every", default=60, show_default=True, type=click.IntRange(1, 3600), help="Seconds between looks at what is due."
)
@click.option("--once", is_flag=True, help="Look once, then end.")
@pass_context
def daemon_command(context: Context, every: int, once: bool) -> None:
    """Stay, look every minute at what is due, and do it. Plans are read anew each time."""
    import schedule

    from dr.tools import command

    scheduler = schedule.Scheduler()
    scheduler.every(every).seconds.do(_look, context)
    context.say(f"looking every {every} s at what is due; SIGTERM ends it")
    with suppress(KeyboardInterrupt):  # a SIGTERM between two looks
        _look(context)
        while not once and not command.stopping():
            command.wait_for_stop(max(0.0, min(scheduler.idle_seconds or 0.0, float(every))))
            if not command.stopping():
                scheduler.run_pending()
    context.codes.clear()
    context.ended(OK)
    context.say("stopped")


def _look(context: Context) -> None:
    """One look. A failure is said and the daemon stays: the next look may find the world mended."""
    from dr.cli.operate import say_all
    from dr.orchestrator.due import run_due
    from dr.orchestrator.session import Session

    context.errors.clear()  # those of the last look were said; who stays for months keeps them not
    session = Session(context.config_dir, context.state_dir)
    try:
        done = run_due(session)
        say_all(context, done)
    except DrError as error:
        context.failed(error)
    except OSError as error:
        context.complain((error.strerror or str(error)).lower(), str(error.filename or ""), "the next look tries again")
    finally:
        session.close()
