"""What was typed, looked at before it is parsed: an option that wants a value takes no other option for it.

The parser takes whatever word comes next: `recover sis --to --dry-run` would recover into a directory of that name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

#: The program's own options: those that want a value, and those that do not.
VALUED, _ALONE = (
    ("--config", "--state", "--events", "--log-format"),
    ("--json", "-v", "--verbose", "-q", "--quiet", "--version"),
)


def whole_path(typed: Path) -> Path:
    """Return a place by its whole path, as a person would write it: no `..` is left in it."""
    whole = typed.expanduser().absolute()
    return whole.resolve() if ".." in whole.parts else whole


def globals_first(arguments: list[str]) -> list[str]:
    """Move global options to the front, so that they may stand before or after the command."""
    front: list[str] = []
    rest: list[str] = []
    index = 0
    while index < len(arguments):
        word = arguments[index]
        if word == "--":
            return front + rest + arguments[index:]
        if word in VALUED and index + 1 < len(arguments):
            front += arguments[index : index + 2]
            index += 1
        elif word in _ALONE or word.split("=")[0] in VALUED or _FLAGS.fullmatch(word):
            front.append(word)
        else:
            rest.append(word)
        index += 1
    return front + rest


def require_values(program: click.Group, arguments: Sequence[str]) -> dict[str, str]:
    """Return what each option took for its value, by the option.

    Raises `click.UsageError` for the first that is left without, takes an option of that command, or takes nothing:
    a value that is empty, or another option on purpose, has to be written as one word (`--because=--all`).
    """
    taken: dict[str, str] = {}
    context = click.Context(program, info_name="dr")
    words = iter(arguments)
    for word in words:
        if word == "--":
            break
        option = _options(context).get(word.partition("=")[0])
        if option is not None and _wants(option):
            values = [word.partition("=")[2]] if "=" in word else list(_next(words, option.nargs))
            _require(context, word.partition("=")[0], option, values, joined="=" in word)
            taken[word] = " ".join(values)
        elif not word.startswith("-") and isinstance(context.command, click.Group):
            command = context.command.get_command(context, word) or unnamed(context.command)
            if command is None:
                break
            named = context.command.get_command(context, word) is not None
            context = click.Context(command, info_name=word if named else command.name, parent=context)
    if context.parent is None and not {"--help", "-h", "--version"} & set(arguments):
        _require_command(context, taken)
    return taken


def _require_command(context: click.Context, taken: Mapping[str, str]) -> None:
    for option, value in taken.items():
        if isinstance(context.command, click.Group) and context.command.get_command(context, value):
            raise click.UsageError(f"there is no command: {value!r} was taken for the value of {option}", context)


def unnamed(command: click.Command) -> click.Command | None:
    """Return the verb of a command that needs no name (`dr.cli.verbs`); None where every one does."""
    found: click.Command | None = getattr(command, "unnamed", None)
    return found


def _next(words: Iterator[str], count: int) -> Iterator[str]:
    for _, word in zip(range(count), words, strict=False):
        yield word


def _wants(option: click.Option) -> bool:
    return not option.is_flag and not option.count


def _options(context: click.Context) -> dict[str, click.Option]:
    """The options that may stand here: the command's, and the program's, which may stand anywhere."""
    commands = [context.find_root().command, context.command, unnamed(context.command)]
    return {
        name: option
        for command in commands
        if command is not None
        for option in command.params
        if isinstance(option, click.Option)
        for name in option.opts
    }


def _require(context: click.Context, name: str, option: click.Option, values: list[str], *, joined: bool) -> None:
    if len(values) < option.nargs:
        raise click.UsageError(f"the option {name} needs a value after it", context)
    for value in values:
        if not value.strip():
            raise click.UsageError(f"the value of {name} is empty", context)
        if not joined and _is_option(context, value):
            long = max(option.opts, key=len)
            raise click.UsageError(
                f"the option {name} needs a value, and {value} comes after it; "
                f"if that is its value, write {long}={value}",
                context,
            )


def _is_option(context: click.Context, word: str) -> bool:
    """Whether a word is an option here, or two letters of them, as `-qv`."""
    return word in ("--", "-h", "--help") or word.partition("=")[0] in _options(context) or bool(_FLAGS.fullmatch(word))


_FLAGS = re.compile("-[vq]+")
