"""What is remembered of the self-copies: on which target, from when."""

from __future__ import annotations

import json

from dr.errors import DrError, InterruptedRunError
from dr.late_dataclass import dataclass
from dr.run.kit.contents import Material
from dr.run.workspace.toolbox import Toolbox
from dr.session import Session

#: In the place of a system's name, where the catalog keeps what is remembered.
MEMORY = "_control"


@dataclass(frozen=True, kw_only=True)
class Saved:
    """What is remembered of the last self-copy on a target. `full` is when the catalog last went along."""

    digest: str = ""
    at: str = ""
    full: str = ""
    count: int = 0


def saved_on(session: Session, target: str) -> Saved:
    """Return what is remembered of the last self-copy on a target."""
    try:
        return Saved(**json.loads(session.catalog.memory(MEMORY, target) or "{}"))
    except (ValueError, TypeError):
        return Saved()


def material_of(session: Session) -> Material:
    """Return all that is declared and can be used, with the secrets that can be read."""
    items, _ = session.usable()
    toolboxes: list[Toolbox] = []
    unread: dict[str, str] = {}
    for loaded in items:
        try:
            toolboxes.append(session.toolbox(loaded))
        except InterruptedRunError:
            raise
        except DrError as error:
            unread[loaded.plan.system] = error.what
    return Material(
        config=session.config,
        state=session.state,
        plans=items,
        targets=session.declarations.targets,
        toolboxes=toolboxes,
        unread=unread,
    )
