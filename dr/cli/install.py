"""What to install so that nobody has to remember: the line for cron, the units for systemd."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

import click

from dr.cli.context import Context, pass_context


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


@click.command("crontab")
@pass_context
def crontab_command(context: Context) -> None:
    """Print the one line for cron. It says nothing while all is well: cron mails what it says."""
    line = f"*/15 * * * * {shlex.join([*_program(context), '--quiet', 'run'])}".replace("%", r"\%")
    context.put(line=line)
    context.say("# Every 15 minutes, do what the plans say is due. Install with: crontab -e")
    context.say(line)


def _unit_word(word: str) -> str:
    """Quote a word as systemd reads it (systemd.service(5), "Command lines"), which is not as a shell does."""
    plain = word.replace("%", "%%").replace("$", "$$").replace("\\", "\\\\").replace('"', '\\"')
    return plain if plain == shlex.quote(plain) else f'"{plain}"'


@click.command("systemd")
@pass_context
def systemd_command(context: Context) -> None:
    """Print a service and a timer for systemd."""
    start = " ".join(map(_unit_word, [*_program(context), "run"]))
    service = (
        "[Unit]\nDescription=Disaster recovery: all that is due\nAfter=network-online.target\n"
        "Wants=network-online.target\n\n[Service]\nType=oneshot\nNice=10\nIOSchedulingClass=idle\n"
        f"ExecStart={start}\nSuccessExitStatus=4\nTimeoutStopSec=120\nUMask=0077\n"
    )
    timer = (
        "[Unit]\nDescription=Disaster recovery, every 15 minutes\n\n[Timer]\nOnCalendar=*:0/15\n"
        "Persistent=true\nRandomizedDelaySec=60\n\n[Install]\nWantedBy=timers.target\n"
    )
    context.put(service=service, timer=timer)
    context.say(f"# /etc/systemd/system/dr.service\n{service}")
    context.say(f"# /etc/systemd/system/dr.timer\n{timer}")
    context.say("# then: systemctl daemon-reload && systemctl enable --now dr.timer")
