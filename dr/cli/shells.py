"""Completion in bash, zsh and fish, by click's own mechanism.

A shell's script starts the program with `_DR_COMPLETE` set, and reads what it prints.
"""

from __future__ import annotations

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
)

from dr.cli.typed import globals_first

VARIABLE = "_DR_COMPLETE"


class _Anywhere(ShellComplete):
    """The program's own options may stand after the command too."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        """Return what may stand there."""
        valued = {name for option in self.cli.params if not _is_flag(option) for name in option.opts}
        if args and args[-1] in valued:
            return super().get_completions(args[-1:], incomplete)
        found = super().get_completions(globals_first(args), incomplete)
        if not incomplete.startswith("-"):
            return found
        there = {item.value for item in found}
        return found + [item for item in super().get_completions([], incomplete) if item.value not in there]


def _is_flag(option: click.Parameter) -> bool:
    return isinstance(option, click.Option) and bool(option.is_flag or option.count)


class Bash(_Anywhere, BashComplete):
    """For bash."""


class Zsh(_Anywhere, ZshComplete):
    """For zsh, which keeps the file as the function `_dr`: click's knows that only the first time that it is called."""

    def source(self) -> str:
        """Return the file."""
        return super().source().replace("$zsh_eval_context[-1] == loadautofunc", "$funcstack[1] == _dr")


class Fish(_Anywhere, FishComplete):
    """For fish."""


#: Each shell's, with the name of the file that the shell looks for.
SCRIPTS: dict[str, tuple[type[ShellComplete], str]] = {
    "bash": (Bash, "dr.bash"),
    "zsh": (Zsh, "_dr"),
    "fish": (Fish, "dr.fish"),
}


def register() -> None:
    """Let click answer shells by these classes."""
    for kind, _ in SCRIPTS.values():
        add_completion_class(kind)


def script(shell: str, program: click.Command) -> str:
    """Return what a shell reads to complete `dr`."""
    return SCRIPTS[shell][0](program, {}, "dr", VARIABLE).source()
