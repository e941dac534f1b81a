"""What to install so that nobody has to remember: the line for cron, the units for systemd."""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import click
from pydantic import BaseModel

from dr.cli.context import Context, pass_context
from dr.errors import DrError, UsageError


def _program(context: Context) -> list[str]:
    """The program as cron finds it: where it was started, else beside this Python, else on this PATH."""
    places = (Path(sys.argv[0]).absolute(), Path(sys.executable).with_name("dr"))
    program = next((str(path) for path in places if path.name == "dr" and path.is_file()), "")
    return [
        program or shutil.which("dr") or "dr",
        "--config",
        str(context.config_dir.absolute()),
        "--state",
        str(context.state_dir),
    ]


#: Where programs are looked for by what systemd starts. cron knows two of these directories alone: there neither the
#: restic nor the dump program nor the export of /usr/local/bin would be found, though by hand all went well.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _restic() -> list[str]:
    """What names the restic of this shell where that would not find it by itself: nobody inherits from a shell."""
    from dr.tools.restic_program import named_where

    with suppress(DrError):  # there is none, or an old one: each run says so, and how to get one
        if named := named_where(_PATH, os.environ):
            return [f"DR_RESTIC={named}"]
    return []


@click.command("crontab")
@pass_context
def crontab_command(context: Context) -> None:
    """Print the one line for cron. It says nothing while all is well: cron mails what it says."""
    words = [f"PATH={_PATH}", *map(_assigned, _restic()), shlex.join([*_program(context), "--quiet", "run"])]
    line = f"*/15 * * * * {' '.join(words)}".replace("%", r"\%")
    context.put(line=line)
    context.say("# Every 15 minutes, do what the plans say is due. Install with: crontab -e")
    context.say(line)


def _assigned(setting: str) -> str:
    """Quote the value of NAME=VALUE alone: a shell takes a name in quotes for a command."""
    name, _, value = setting.partition("=")
    return f"{name}={shlex.quote(value)}"


# -- systemd -------------------------------------------------------------------------------------------

#: What the service may do: all that backups, drills and scratch servers of root need, and little else. Devices, the
#: clock and the kernel are not among it. Where a plan needs more, `systemctl edit` takes a line back.
_HARDENED = """\
UMask=0077
RuntimeDirectory=dr
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes
NoNewPrivileges=true
ProtectSystem=full
PrivateTmp=true
PrivateDevices=true
DevicePolicy=closed
ProtectClock=true
ProtectHostname=true
ProtectKernelLogs=true
ProtectKernelModules=true
ProtectKernelTunables=true
ProtectControlGroups=true
LockPersonality=true
RestrictRealtime=true
RestrictNamespaces=mnt net
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service @mount prlimit64
SystemCallFilter=~@resources
SystemCallErrorNumber=EPERM
CapabilityBoundingSet=CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_CHOWN CAP_FOWNER CAP_FSETID CAP_SETFCAP
CapabilityBoundingSet=CAP_SETUID CAP_SETGID CAP_KILL CAP_SYS_ADMIN CAP_NET_ADMIN
"""
_AFTER = "After=network-online.target\nWants=network-online.target\nOnFailure=dr-failed@%n.service\n"
#: An objective that is missed (exit 4) is a failure of the unit too: nothing is hidden from who watches units.
_SERVICE = """\
[Unit]
Description=Disaster recovery: all that is due
{after}
[Service]
Type=oneshot
ExecStart={start} run
Nice=10
IOSchedulingClass=idle
TimeoutStopSec=120
{environment}{credentials}{hardened}"""
_TIMER = """\
[Unit]
Description=Disaster recovery, every 15 minutes

[Timer]
OnCalendar=*:0/15
Persistent=true
RandomizedDelaySec=60

[Install]
WantedBy=timers.target
"""
_DAEMON = """\
[Unit]
Description=Disaster recovery, resident: in the place of dr.timer
Conflicts=dr.timer
{after}
[Service]
Type=notify
NotifyAccess=main
ExecStart={start} daemon
Restart=on-failure
RestartSec=60
WatchdogSec=300
Nice=10
IOSchedulingClass=idle
TimeoutStopSec=120
{environment}{credentials}{hardened}
[Install]
WantedBy=multi-user.target
"""
_FAILED = """\
[Unit]
Description=Disaster recovery: what %i came to
After=network-online.target

[Service]
Type=oneshot
# A line in the journal, then the channels of site.yaml: once, and not what the unit told them itself. Put your own
# command here by `systemctl edit dr-failed@.service`.
ExecStart=-/usr/bin/logger --priority daemon.crit --tag dr "%i failed: see `journalctl -u %i` and `dr status`"
ExecStart={start} --quiet notify failed %i
TimeoutStartSec=300
{environment}{credentials}{hardened}"""


def _unit_word(word: str) -> str:
    """Quote a word as systemd reads it (systemd.service(5), "Command lines"), which is not as a shell does."""
    return _unit_value(word.replace("$", "$$"))


def _unit_value(word: str) -> str:
    """The same where no variables are read, as in `Environment=`."""
    plain = word.replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    return plain if plain == shlex.quote(plain) else f'"{plain}"'


#: The files, by their names.
_UNITS = {"dr.service": _SERVICE, "dr.timer": _TIMER, "dr-daemon.service": _DAEMON, "dr-failed@.service": _FAILED}


@click.command("systemd")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write them into this directory, such as /etc/systemd/system.",
)
@pass_context
def systemd_command(context: Context, output: Path | None) -> None:
    """Print the units for systemd: a service with its timer, the daemon, and what is started when one fails.

    With --output each becomes a file. One that is there already, and is another, is left: move it away first.
    """
    context.session.reading = True
    _warn_of_own_tmp(context)
    _warn_of_root(context)
    start = " ".join(map(_unit_word, _program(context)))
    named = sorted(set(_credentials(context)))
    places = [f"LoadCredential={name}:{context.config_dir.absolute() / 'secrets' / name}\n" for name in named]
    told = functools.partial(
        str.format,
        after=_AFTER,
        start=start,
        environment="".join(f"Environment={_unit_value(setting)}\n" for setting in _restic()),
        credentials="".join(places),
        hardened=_HARDENED,
    )
    units = {name: told(text) for name, text in _UNITS.items()}
    context.put(service=units["dr.service"], timer=units["dr.timer"], units=units)
    if output:
        _write_units(output, units)
    for name, text in units.items():
        context.say(f"wrote {output / name}" if output else f"# /etc/systemd/system/{name}\n{text}")
    context.say("# then: systemctl daemon-reload && systemctl enable --now dr.timer")
    context.say("# or, resident: systemctl daemon-reload && systemctl enable --now dr-daemon.service")


def _warn_of_own_tmp(context: Context) -> None:
    """Warn of what the units would not see: they have a /tmp and a /var/tmp of their own (`PrivateTmp=`)."""
    for what, path, better in (("plans and targets", context.config_dir, "/etc/dr"),
                               ("the state directory", Path(context.state_dir), "/var/lib/dr")):  # fmt: skip
        if any(path.absolute().is_relative_to(own) for own in ("/tmp", "/var/tmp")):  # noqa: S108 - looked for
            told = f"{what} would not be found by the units, which have a temporary directory of their own"
            context.warn(told, str(path), f"move {'them' if what.startswith('plans') else 'it'} to {better}")


def _warn_of_root(context: Context) -> None:
    """Warn where the units, which run as root, would write what then only root may read into another's state."""
    path = Path(context.state_dir)
    there = next((each for each in (path, *path.parents) if each.exists()), path)
    if there.stat().st_uid != 0:
        hint = "run `dr systemd` as root, with root's own state, or install the line of `dr crontab`, which runs as you"
        context.warn("the units run as root, and the state directory is another user's", str(path), hint)


def _write_units(folder: Path, units: Mapping[str, str]) -> None:
    """Write all, or none where one of them is there already and is another."""
    try:
        for path, text in ((folder / name, text) for name, text in units.items()):
            if path.exists() and path.read_text("utf-8", "replace") != text:
                hint = "move it away, or change units by `systemctl edit`"
                raise UsageError("another unit of this name is there", str(path), hint=hint)
        for name, text in units.items():
            (folder / name).write_text(text, "utf-8")
    except OSError as error:
        hint = "name a directory that you may write, such as /etc/systemd/system as root"
        raise UsageError("the units cannot be written", str(folder), error.strerror or "", hint=hint) from error


def _credentials(context: Context) -> Iterator[str]:
    """Yield the names under which plans, targets and site.yaml want secrets of systemd; none where they are faulty."""
    try:
        found = context.session.declarations
        declared = [*(loaded.plan for loaded in found.plans.values()), *found.targets.values(), found.site]
    except DrError:
        return
    yield from _named_in(declared)


def _named_in(values: Iterable[object]) -> Iterator[str]:
    from dr.plan.secret import SecretPlace

    for value in values:
        if isinstance(value, SecretPlace):
            yield from [value.credential] if value.credential else []
        elif isinstance(value, BaseModel):
            yield from _named_in(getattr(value, name) for name in type(value).model_fields)
        elif isinstance(value, dict):
            yield from _named_in(value.values())
        elif isinstance(value, tuple | list):
            yield from _named_in(value)
