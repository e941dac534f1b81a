"""The program `dr`: global options, the list of commands, and the one place where errors end."""

from __future__ import annotations

import _thread
import contextlib
import importlib
import io
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TextIO

import click

import dr
from dr.cli.context import Context
from dr.cli.typed import VALUED, globals_first, require_values
from dr.errors import FAILED, INTERRUPTED, INVALID, OK, as_error

#: Command -> the module that has it. Modules load only when their command is used.
COMMANDS = {
    "init": "declare", "validate": "declare", "schema": "declare",
    "doctor": "doctor",
    "backup": "backup", "verify": "verify", "run": "run",
    "replicate": "replicate",
    "repair": "repair",
    "expire": "expire",
    "drill": "drill", "recover": "recover",
    "ls": "files", "find": "files", "diff": "files", "mount": "mount", "browse": "browse",
    "points": "points", "status": "status", "metrics": "metrics", "audit": "audit", "report": "report",
    "forecast": "forecast",
    "keys": "keys", "hold": "hold",
    "target": "target",
    "kit": "kit",
    "notify": "notify",
    "daemon": "daemon", "crontab": "install", "systemd": "install",
}  # fmt: skip
SUMMARIES = {
    "init": "Write a first plan and target here.",
    "validate": "Report all errors in plans and targets.",
    "schema": "Print the JSON Schema of plans, targets, kit.yaml or site.yaml.",
    "doctor": "Check what is missing here, and how to get it.",
    "backup": "Make recovery points.",
    "verify": "Prove what is stored, up to a level.",
    "repair": "Repair a damaged repository, then prove it.",
    "expire": "Remove the points that retention no longer keeps.",
    "replicate": "Copy every point to every target and replica.",
    "run": "Run all due work once: the line for cron.",
    "drill": "Rehearse a recovery in a sandbox, timed and judged.",
    "recover": "Recover a system for real.",
    "ls": "List what a recovery point holds.",
    "find": "Find files in all recovery points at once.",
    "diff": "Show what changed between two recovery points.",
    "browse": "Walk through recovery points on a full screen.",
    "mount": "Show recovery points as folders, by FUSE.",
    "points": "List recovery points and their proof; make the catalog again.",
    "status": "Show each system's objectives against the facts.",
    "metrics": "Print figures for Prometheus.",
    "audit": "Verify the chain of evidence.",
    "report": "Write a report for reviewers.",
    "forecast": "Estimate when targets are full, and what they cost.",
    "keys": "List, rotate or destroy the keys of repositories.",
    "hold": "Place, list or release legal holds on recovery points.",
    "target": "Create, check and adopt targets; rewind them after an attack.",
    "kit": "Write, test or open the recovery kit.",
    "notify": "Try the channels that notices are sent by.",
    "daemon": "Run due work continuously.",
    "crontab": "Print the line for cron.",
    "systemd": "Print the units for systemd.",
}
#: Commands that work for a while: someone may watch them.
WORKING = {"backup", "verify", "replicate", "repair", "run", "daemon", "drill", "recover", "keys", "target", "expire"}
log = logging.getLogger("dr")
#: How long a second stop may take.
_PATIENCE_SECONDS = 2.0
#: Set by a shell that asks how to complete what is typed.
_COMPLETION = "_DR_COMPLETE"
#: How the parser ends a sentence with another.
_NEAR = re.compile(r"\. Did you mean (.*)\?$")


class _Commands(click.Group):
    """Commands listed without loading them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"dr.cli.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(SUMMARIES.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--config", type=click.Path(path_type=Path), help="Directory with plans/ and targets/ [DR_CONFIG].")
@click.option("--state", type=click.Path(path_type=Path), help="Directory of the catalog and secrets [DR_STATE].")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, and nothing else.")
@click.option("-v", "--verbose", count=True, help="Print more on stderr.")
@click.option("-q", "--quiet", is_flag=True, help="Print only errors.")
@click.option("--events", type=click.Path(path_type=Path), help="Add what happens to FILE, one JSON line an event.")
@click.option(
    "--log-format",
    type=click.Choice(("text", "json")),
    default="text",
    help="How lines on stderr are written. Under systemd each has its priority.",
)
@click.version_option(dr.__version__, prog_name="dr")
@click.pass_obj
def program(
    context: Context,
    config: Path | None,
    state: Path | None,
    events: Path | None,
    log_format: str,
    as_json: bool,
    verbose: int,
    quiet: bool,
) -> None:
    """Disaster recovery that is proven: plans, encrypted backups, drills that measure RTO and RPO."""
    context.config, context.state = config, state
    context.as_json, context.verbose, context.quiet = as_json, verbose, quiet
    context.events = events.expanduser().absolute() if events else None
    if events or context.command in WORKING:
        from dr.cli.watch import watched

        click.get_current_context().with_resource(watched(context))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program and exit."""
    _open_streams()
    os.umask(os.umask(0o077) | 0o002)  # whatever cron or a container gave: nobody writes into what is ours
    typed = list(sys.argv[1:] if argv is None else argv)
    if _COMPLETION in os.environ:
        from dr.cli.shells import register

        register()
    arguments = globals_first(typed)
    context = Context(command=_command_in(arguments), as_json="--json" in arguments[:8])
    if "JOURNAL_STREAM" in os.environ or any(word.startswith("--log-format") for word in arguments):
        from dr.cli.log_format import format_of

        context.log_format = format_of(arguments, os.environ)
    _listen(context, arguments)
    code = _guarded(context, typed, arguments)
    if context.command in WORKING:
        from dr.cli.metrics import leave_metrics

        leave_metrics(context)
    context.tell_problems()
    context.tell_unread()
    logging.shutdown()
    try:
        code = context.close() or code
        if context.told is not None:
            context.told.end(context.command, code)
        sys.stdout.flush()
    except BrokenPipeError:  # who read it has read enough
        _write_no_more()
    except OSError as error:
        _write_no_more()
        context.unwritten = error.strerror or str(error)
    if context.unwritten:
        context.complain(f"the result could not be written: {context.unwritten}", hint="see where stdout leads")
        code = code or FAILED
    with context.going_on(2):
        sys.stderr.flush()
    _forget_interrupt()  # a daemon that was told to end ends well
    sys.exit(code)


def _open_streams() -> None:
    """Lead each standard stream that was closed nowhere: else the next file that is opened would take its number."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115 - for as long as we run


def _forget_interrupt() -> None:
    """Let Python end with the exit code that it is given.

    `python -m` ends by SIGINT itself where an interruption once met code that is text, as dataclasses are made of:
    until the next code that is text.
    """
    exec("")  # noqa: S102 - nothing


def _write_no_more() -> None:
    """Lead stdout nowhere: Python would try again at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _guarded(context: Context, typed: list[str], arguments: list[str]) -> int:
    """Run the command; every error is said. Return what only the command line itself can end with."""
    try:
        with _heard(context):
            context.taken = require_values(program, typed)
            program(args=arguments, obj=context, standalone_mode=False, prog_name="dr")
            context.protect()
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        if context.as_json:
            context.complain("there is no command", hint="see `dr --help`")
        else:
            click.echo(error.format_message(), err=True)
        return INVALID
    except click.ClickException as error:
        where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "dr"
        what = _NEAR.sub(r" (did you mean \1?)", error.format_message()).rstrip(".")
        context.complain(what, hint=f"see `{where} --help`")
        context.ended(INVALID)
    except (KeyboardInterrupt, click.Abort):
        _forget_interrupt()
        context.stopped()
    except BrokenPipeError:
        return FAILED
    except Exception as error:
        log.info("what was raised:", exc_info=error)
        context.failed(as_error(error))
    return OK


@contextlib.contextmanager
def _heard(context: Context) -> Iterator[None]:
    """Keep stdout for the one document that `--json` asks for: what `--help` and `--version` print goes into it."""
    if not context.as_json:
        yield
        return
    with contextlib.redirect_stdout(io.StringIO()) as heard:
        yield
    if text := heard.getvalue():
        context.put(text=text)


def _command_in(arguments: list[str]) -> str:
    """Return the command's name: not what an option before it has for its value."""
    words = [word for before, word in zip(["", *arguments], arguments, strict=False) if before not in VALUED]
    return next((word for word in words if word in COMMANDS), "")


def _listen(context: Context, arguments: list[str]) -> None:
    """Pass SIGINT and SIGTERM on to what runs; send warnings and retries to stderr."""
    level = logging.WARNING
    if "-q" in arguments or "--quiet" in arguments:
        level = logging.ERROR
    elif any(word.startswith("-v") or word == "--verbose" for word in arguments):
        level = logging.INFO
    handler = _Stderr()
    handler.setFormatter(_formatter(context))
    logging.basicConfig(level=level, handlers=[handler])

    stops = _Stops()
    sys.unraisablehook = stops.raise_again
    signal.signal(signal.SIGINT, stops.hear)
    signal.signal(signal.SIGTERM, stops.hear)


class _Stops:
    """The stops that were asked for by signals.

    A handler runs inside whatever the main thread is doing, and the next signal's inside it. So nothing is locked
    here, and nothing loaded: a second stop would fall into the import, and both would be lost.
    """

    def __init__(self) -> None:
        self._early = False
        self._unwinding = False

    def hear(self, number: int, frame: FrameType | None) -> None:
        """Pass a stop on to what runs. Raises `KeyboardInterrupt` once: another would meet what puts things right."""
        first, children = self._pass_on()
        if first:
            self._unwinding = False
        else:
            _end_soon()
        if first and children:
            if os.isatty(2):
                os.write(2, b"\ndr: stopping what runs; press Ctrl-C again to stop at once\n")
        elif not self._unwinding:
            self._unwinding = True
            raise KeyboardInterrupt

    def _pass_on(self) -> tuple[bool, int]:
        """Tell what runs; return whether that was for the first time, and how many children ran."""
        command = sys.modules.get("dr.tools.command")
        early, self._early = self._early, not hasattr(command, "raise_if_stopping")
        if command is None or self._early:  # it is not loaded to its end: nothing runs yet
            return not early, 0
        stopped = command.interrupt_all()
        return stopped.first and not early, stopped.children

    def raise_again(self, told: sys.UnraisableHookArgs) -> None:
        """Stop again, a moment later, where a stop fell into what cannot pass it on, such as a module's last lines."""
        if not issubclass(told.exc_type, KeyboardInterrupt):
            sys.__unraisablehook__(told)
            return
        self._unwinding = False
        again = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
        again.daemon = True
        again.start()


def _formatter(context: Context) -> logging.Formatter:
    if context.log_format == "text":
        return logging.Formatter("dr: %(message)s")
    from dr.cli.log_format import LogFormatter

    return LogFormatter(context.log_format)


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes where stderr leads at that moment: above the live view, while there is one."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        """What is written to."""
        return sys.stderr


def _end_soon() -> None:
    """End at once where the second stop is not heard within a moment: threads that wait for a network hear none."""
    _thread.start_new_thread(_end, (_PATIENCE_SECONDS,))  # a Thread takes a lock when it starts: see `_Stops`


def _end(after: float) -> None:
    time.sleep(after)
    from dr.tools import command

    command.kill_all()
    shown = b"\x1b[?25h" if os.isatty(2) else b""  # the live view hides the cursor
    os.write(2, shown + b"dr: stopped at once. Start the command again: it first puts right what is left\n")
    os._exit(INTERRUPTED)
