"""`dr browse`: walk through recovery points on a full screen, and bring back what is ticked."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING

import click

from dr.cli import complete
from dr.cli.context import Context, pass_context
from dr.errors import DrError, UsageError

if TYPE_CHECKING:
    from dr.cli.browser.app import Browser
    from dr.evidence.record import Drill
    from dr.operations.lifecycle import Finished
    from dr.plan.declarations import Loaded
    from dr.run.recovery.request import RecoveryRequest


@click.command("browse")
@click.argument("system", shell_complete=complete.systems)
@pass_context
def browse_command(context: Context, system: str) -> None:
    """Walk through a system's recovery points on a full screen: their files, and the versions of each.

    Tick files with the space bar, and bring them back with r, as `dr recover --path` does. `?` shows the keys, `q`
    leaves.
    Needs the textual library: pip install 'dr-orchestrator[browse]'.
    """
    (loaded,) = context.session.chosen([system])
    _require_library()
    _require_terminal(context)
    from dr.cli.drill_result import say_drills
    from dr.tools import command

    browser = _browser(context, loaded)
    try:
        browser.run()
    finally:
        command.resume()
        for text in browser.heard:
            click.echo(text, nl=False, err=True)
    if browser.done:
        say_drills(context, browser.done)


def _require_library() -> None:
    try:
        importlib.import_module("textual")
    except ImportError:
        raise DrError(
            "`dr browse` needs the textual library, which is not installed",
            hint="run `pip install 'dr-orchestrator[browse]'` where dr is installed, or use `dr ls` and `dr find`",
        ) from None


def _require_terminal(context: Context) -> None:
    alone = sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    if context.as_json or not alone:
        raise UsageError(
            "`dr browse` needs a terminal of its own", hint="in scripts use `dr ls`, `dr find` and `dr recover --path`"
        )


def _browser(context: Context, loaded: Loaded) -> Browser:
    from dr.cli.browser.app import Browser
    from dr.cli.browser.shelf import Shelf
    from dr.operations.drill import recover
    from dr.queries.file_pages import FilePages

    def bring_back(request: RecoveryRequest) -> Finished[Drill]:
        return recover(context.session, loaded, request)

    def say(what: str, why: DrError) -> None:
        browser.heard.append(f"dr: warning: {what}: {why}\n")

    plan = loaded.plan
    files = click.get_current_context().with_resource(FilePages(context.session, loaded, say=say))
    browser = Browser(Shelf(plan.system, plan.title, files, bring_back))
    return browser
