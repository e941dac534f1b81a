"""`dr notify`: channels tried, and what was told."""

from __future__ import annotations

import os

import click

from dr.cli.context import Context, pass_context
from dr.errors import DEGRADED, FAILED, OK, UsageError


@click.group("notify")
def notify_command() -> None:
    """Try the channels of site.yaml, and see what was told."""


@notify_command.command("test")
@click.argument("channel", required=False)
@pass_context
def test_command(context: Context, channel: str | None) -> None:
    """Send each channel a test message, or the one that is named. Exit 1 when none took it, 3 when some did not."""
    from dr.operations.try_channels import try_channels
    from dr.report.notices import tried_document

    known = {each.name: each for each in context.session.declarations.site.notify}
    for fault in context.session.declarations.of_site:
        context.warn(fault.what, fault.where, fault.hint)
    if not known:
        raise UsageError("no channel is declared", str(context.config_dir / "site.yaml"), hint="add one below `notify`")
    if channel and channel not in known:
        hint = f"channels: {', '.join(sorted(known))}"
        raise UsageError(f"there is no channel {channel!r}", str(context.config_dir / "site.yaml"), hint=hint)
    tried = try_channels(context.session, [known[channel]] if channel else list(known.values()))
    context.put(notices=[tried_document(each.channel, each.error) for each in tried])
    for each in tried:
        if each.error:
            context.complain(each.error, f"notify: {each.channel}", each.hint)
        else:
            context.say(f"{each.channel}: ok")
    bad = [each for each in tried if each.error]
    context.ended(OK if not bad else FAILED if len(bad) == len(tried) else DEGRADED)


@notify_command.command("list")
@pass_context
def list_command(context: Context) -> None:
    """Show what each channel was told that is still so, and what waits to be told."""
    from dr.report.notices import channel_document, notice_document

    context.session.reading = True
    states = context.session.catalog.notices.channels()
    told = context.session.catalog.notices.all()
    names = [channel.name for channel in context.session.declarations.site.notify]
    context.put(
        notices=[notice_document(each.channel, each.state, each.notice) for each in told],
        channels=[channel_document(name, states.get(name)) for name in names],
    )
    for each in told:
        waits = "told" if each.state == "told" else "waits"
        context.say(f"{each.channel}: {waits}: {each.notice.sentence}")
    if not told:
        context.say("nothing is open")


@notify_command.command("failed", short_help="Tell the channels that a systemd unit failed by itself.")
@click.argument("unit")
@pass_context
def failed_command(context: Context, unit: str) -> None:
    """Tell the channels that a systemd unit failed, unless it told them itself. For `OnFailure=`: see `dr systemd`."""
    from dr.operations.failed_units import note_failed

    befell = note_failed(context.session, unit, os.environ)
    context.put(unit=unit, befell=befell)
    context.say(f"{unit}: {befell or 'it told what it found itself'}")
    if not context.session.declarations.site.notify:
        context.say("no channel is declared below `notify` in site.yaml: the board alone shows it")
