"""Names for a shell to complete: the systems and targets that are declared where the command would look.

Nothing is said of what goes wrong here: a shell waits for names, not for sentences.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import click

from dr.errors import DrError


def systems(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the declared systems whose names begin so."""
    return _declared(context, "plans", "system", incomplete)


def targets(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the declared targets whose names begin so."""
    return _declared(context, "targets", "target", incomplete)


def targets_and_systems(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return both."""
    return targets(context, parameter, incomplete) + systems(context, parameter, incomplete)


def _declared(context: click.Context, folder: str, key: str, incomplete: str) -> list[str]:
    return sorted(name for name in set(_names(context, folder, key)) if name.startswith(incomplete))


def _names(context: click.Context, folder: str, key: str) -> Iterator[str]:
    from dr.plan.declarations import find_config
    from dr.plan.document import Document, read
    from dr.plan.unread import look_in

    named = context.find_root().params.get("config")
    try:
        config = find_config(str(named) if named else None, os.environ)
    except DrError:
        return
    for path in look_in(config / folder).files:
        document = read(path)
        if isinstance(document, Document) and isinstance(name := document.data.get(key), str):
            yield name
