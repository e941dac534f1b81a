"""Write the manual pages into build/man: dr(1) from the commands themselves, dr-plan(5) from the schemas."""

from __future__ import annotations

import argparse
import inspect
import os
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click
from reference import HEADS, RULES, Key, parts

import dr
from dr.cli.main import SUMMARIES, program
from dr.errors import EXIT_STATUS

BUILD = Path(__file__).parents[1] / "build"
FILES = {
    "CONFIG/plans/*.yaml": "One plan for each system; see dr-plan(5).",
    "CONFIG/targets/*.yaml": "One target for each place that holds copies; see dr-plan(5).",
    "CONFIG/kit.yaml": "The custodians of the recovery kit; see dr-plan(5).",
    "STATE/catalog.sqlite": "Runs, recovery points, drills and the chain of evidence. `dr points rebuild` makes it "
    "again from the targets.",
    "STATE/secrets/": "Generated passphrases and keys, mode 0600. Until a recovery kit is made (`dr kit`), no copy can "
    "be opened without them.",
    "STATE/details/": "Names of the files that a run could not read, or that differ after a restore.",
    "STATE/sandboxes/": "Drills restore here; each sandbox is destroyed at the drill's end.",
    "/etc/dr": "CONFIG, where none is named and the current directory has no plans/.",
    "/var/lib/dr": "STATE of root, where none is named; of others $XDG_STATE_HOME/dr or ~/.local/state/dr.",
}
ENVIRONMENT = {
    "DR_CONFIG": "The configuration directory, as --config.",
    "DR_STATE": "The state directory, as --state.",
    "DR_RESTIC": "The restic program to use. Otherwise it is found on the PATH, or in .tools/ beside this program.",
    "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN": "Keys of S3 targets that name no credentials.",
    "AWS_SHARED_CREDENTIALS_FILE": "The file that a target's `profile` is looked up in. Otherwise ~/.aws/credentials.",
    "HTTPS_PROXY, HTTP_PROXY, NO_PROXY": "Proxies on the way to targets, read as restic reads them.",
    "SSL_CERT_FILE, SSL_CERT_DIR": "Authorities to trust instead of the system's.",
    "SSH_AUTH_SOCK": "The SSH agent whose keys are used for hosts that name no key.",
    "XDG_STATE_HOME": "Where the state directory of an ordinary user is.",
    "JOURNAL_STREAM": "Where it names stderr, as under systemd, each line there begins with its priority.",
    "CREDENTIALS_DIRECTORY": "Where systemd leaves what `LoadCredential=` names: secrets read by `credential`.",
    "NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID": "How systemd wants to hear that the daemon is ready and well.",
    "TMPDIR": "Where temporary files, and the scratch database servers of drills, are made.",
}


def roff(text: str) -> str:
    """Return plain text, with its code between backticks, as roff has it, on one line."""
    spans = " ".join(text.split()).split("`")
    whole = "".join(_bold(span) if number % 2 else _escaped(span) for number, span in enumerate(spans))
    return f"\\&{whole}" if whole[:1] in (".", "'") else whole


def _bold(span: str) -> str:
    return f"\\fB{_escaped(span).replace('-', chr(92) + '-')}\\fR"


def _escaped(span: str) -> str:
    # A terminal without UTF-8 has no sign for an ellipsis: there the page would begin with a warning of roff.
    plain = span.replace("\\", "\\e").replace("…", "...")
    return re.sub(r"[^\x20-\x7e]", lambda found: f"\\[u{ord(found[0]):04X}]", plain)


def _tagged(tag: str, *texts: str) -> Iterator[str]:
    yield from (".TP", roff(f"`{tag}`"), *(line for text in texts for line in (roff(text), ".br")))


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        yield from (".PP", roff(paragraph))


def _head(name: str, section: int, summary: str) -> Iterator[str]:
    day = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH") or time.time()), UTC).date()
    yield f'.TH {name.upper()} {section} {day} "dr {dr.__version__}" "Disaster recovery"'
    yield from (".SH NAME", roff(name) + r" \- " + roff(summary))


def commands() -> str:
    """Return dr(1)."""
    root = click.Context(program, info_name="dr")
    lines = [*_head("dr", 1, "disaster recovery that is proven by drills")]
    lines += [".SH SYNOPSIS", roff("`dr` [OPTIONS] COMMAND [ARGS]...")]
    lines += [".SH DESCRIPTION", roff(program.help or "")]
    lines += [".PP", roff("Objectives, sources and targets are declared in files: see `dr-plan(5)`.")]
    lines += [".SH OPTIONS", roff("These are taken before the command or after it.")]
    lines += [*_options(root), *_tagged("-h, --help", "Show what a command does, and its options.")]
    lines += [".SH COMMANDS"]
    for name in program.list_commands(root):
        command = program.get_command(root, name)
        if command is not None and not command.hidden:
            lines += _command(command, click.Context(command, info_name=name, parent=root), SUMMARIES.get(name, ""))
    lines += [".SH EXIT STATUS"]
    for code, meaning in EXIT_STATUS.items():
        lines += _tagged(str(code), f"{meaning[:1].upper()}{meaning[1:]}.")
    lines += [".PP", roff("With several results the command ends with the worst.")]
    for title, described in (("FILES", FILES), ("ENVIRONMENT", ENVIRONMENT)):
        lines += [f".SH {title}", *(line for tag, text in described.items() for line in _tagged(tag, text))]
    lines += [".SH SEE ALSO", roff("`dr-plan(5)`, `restic(1)`")]
    return _page(lines)


def _command(command: click.Command, context: click.Context, summary: str = "") -> Iterator[str]:
    """Yield a command's part, and those of the commands below it."""
    yield f".SS {roff(context.command_path)}"
    yield roff(f"`{context.command_path}` {' '.join(command.collect_usage_pieces(context))}")
    yield from _paragraphs(command.help or summary)
    yield from _options(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                yield from _command(below, click.Context(below, info_name=name, parent=context))


def _options(context: click.Context) -> Iterator[str]:
    for option in context.command.params:
        record = option.get_help_record(context) if isinstance(option, click.Option) else None
        if record:
            yield from _tagged(record[0], record[1])


def plans() -> str:
    """Return dr-plan(5)."""
    lines = [*_head("dr-plan", 5, "plans, targets, kit.yaml and site.yaml of dr(1)"), ".SH DESCRIPTION"]
    lines += [roff("What may be written into plans, targets, kit.yaml and site.yaml, as `dr schema` prints it too.")]
    lines += _paragraphs(RULES)
    for kind, (what, where) in HEADS.items():
        lines += [f".SH {what.upper()}", roff(f"In `CONFIG/{where}`.")]
        for part in parts(kind):
            lines += [f".SS {roff(part.places[0])}"] if part.places[0] else []
            more = ", ".join(f"`{place}`" for place in part.places[1:])
            lines += [roff(f"{part.about}{f' Also at {more}.' if more else ''}")]
            lines += [line for key in part.keys for line in _tagged(key.name, *_told(key))]
    lines += [".SH SEE ALSO", roff("`dr(1)`")]
    return _page(lines)


def _told(key: Key) -> Iterator[str]:
    yield key.what
    yield "Required." if key.default == "required" else f"Default: {key.default}."
    yield f"Example: `{key.example}`"


def _page(lines: list[str]) -> str:
    """Return a page: no line is broken before what begins a part of its own."""
    kept = [
        line
        for line, after in zip(lines, [*lines[1:], ""], strict=True)
        if line != ".br" or not after.startswith((".SH", ".SS", ".TP", ".PP"))
    ]
    return "\n".join(kept) + "\n"


def main() -> None:
    """Write both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=BUILD / "man")
    where = parser.parse_args().output
    for path, text in (("man1/dr.1", commands()), ("man5/dr-plan.5", plans())):
        (where / path).parent.mkdir(parents=True, exist_ok=True)
        (where / path).write_text(text, "ascii")


if __name__ == "__main__":
    main()
