"""Every command that a message names can be typed: there is such a verb, and it has the options that are shown."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from dr.cli.main import program
from dr.cli.typed import VALUED, globals_first, unnamed

SOURCES = Path(__file__).parents[2] / "dr"
FIELD = "\0"  #: what stands in a text for what is put in when it is said


def texts(node: ast.AST) -> Iterator[str]:
    """Yield the texts of a module, what is put into them left open."""
    if isinstance(node, ast.JoinedStr):
        parts = (part.value if isinstance(part, ast.Constant) else FIELD for part in node.values)
        yield "".join(str(part) for part in parts)
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    for child in ast.iter_child_nodes(node):
        yield from texts(child)


def said() -> Iterator[tuple[str, str]]:
    for path in sorted(SOURCES.rglob("*.py")):
        for text in texts(ast.parse(path.read_text())):
            for typed in re.findall(r"`dr ([^`]+)`", text):
                yield str(path.relative_to(SOURCES)), " ".join(typed.split())


def fault_of(typed: str) -> str | None:
    """Return what is wrong with a command."""
    words = [word for word in globals_first(typed.split()) if word not in ("…", "...")]
    while words and words[0] in VALUED:
        del words[:2]
    command: click.Command = program
    context, given = click.Context(program, info_name="dr"), 0
    while isinstance(command, click.Group):
        named = next((word for word in words if not word.startswith("-")), "")
        if FIELD in named and command is program:
            return None
        if found := command.get_command(context, named):
            words.remove(named)
        if (found := found or unnamed(command)) is None:
            return f"no command {named}" if named else None
        command = found
    while words:
        word = words.pop(0)
        if word.startswith("-"):
            option = next(
                (each for each in (*command.params, *program.params) if word.split("=")[0] in each.opts), None
            )
            if option is None and FIELD not in word:
                return f"no option {word} of {command.name}"
            if isinstance(option, click.Option) and not option.is_flag and "=" not in word:
                del words[: option.nargs]
        elif FIELD not in word or word == FIELD:
            given += 1
    most = sum(each.nargs if each.nargs > 0 else 99 for each in command.params if isinstance(each, click.Argument))
    return f"{command.name} takes {most} words" if given > most else None


def test_every_command_that_is_said_can_be_typed() -> None:
    found = list(said())
    assert len(found) > 100
    assert [(where, typed, fault) for where, typed in found if (fault := fault_of(typed))] == []


@pytest.mark.parametrize("typed", ["keys \0", "verify \0 --levle 2", "ls a b c", "nonesuch"])
def test_a_command_that_cannot_be_typed_is_found(typed: str) -> None:
    assert fault_of(typed)
