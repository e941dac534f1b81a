"""A command with verbs below it, of which one needs no name: `dr points sis` is `dr points list sis`.

A system that is called as a verb is named after the verb: `dr points list list`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_HELP = ("-h", "--help")


class Verbs(click.Group):
    """Verbs; `default` is the one that is meant where none is named."""

    def __init__(self, *args: Any, default: str, **settings: Any) -> None:
        settings.setdefault("context_settings", {"help_option_names": list(_HELP)})
        super().__init__(*args, **{**settings, "no_args_is_help": False})
        self.default = default

    @property
    def unnamed(self) -> click.Command:
        """The verb that needs no name."""
        return self.commands[self.default]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put in the verb that was left out; a shell that asks what may come next has not named one yet."""
        named = bool(args) and (args[0] in self.commands or args[0] in _HELP)
        if not named and not (ctx.resilient_parsing and not args):
            args = [self.default, *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the verbs, and what may follow the one that needs no name."""
        found = super().shell_complete(ctx, incomplete)
        for parameter in self.unnamed.params:
            if isinstance(parameter, click.Argument):
                return found + parameter.shell_complete(ctx, incomplete)
        return found
