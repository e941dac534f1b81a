"""What the state knows of a repository's keys: ids, all public. It saves asking, and asks restic for the right one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

from dr.late_dataclass import dataclass
from dr.tools.secrets import write_private
from dr.tools.state_dir import StateDir


@dataclass(frozen=True, kw_only=True)
class KeyRecord:
    """The keys of one repository, by id.

    `own` opens with the passphrase in use. `escrow` has its passphrase sealed for `recipient`, which is empty when
    another state sealed it. `stale` are keys of ours that may not be taken away with the credentials there are.
    `strangers` are keys that this program did not make. While the passphrase is being rotated, `coming` opens with
    the new one, and `retiring` are the keys that go when the new one is in use.
    """

    own: str = ""
    escrow: str = ""
    sealed: str = ""  # SHA-256 of what was sealed
    recipient: str = ""
    stale: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()
    coming: str = ""
    retiring: tuple[str, ...] = ()

    @property
    def ids(self) -> set[str]:
        """Every key that was there when this was written."""
        known = {self.own, self.escrow, self.coming, *self.stale, *self.strangers, *self.retiring}
        return known - {""}

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Return what was kept; None when nothing usable was."""
        try:
            kept: dict[str, Any] = json.loads(path.read_bytes())
            typed: Any = {name: tuple(each) if isinstance(each, list) else each for name, each in kept.items()}
            return cls(**typed)
        except (OSError, ValueError, TypeError, AttributeError):
            return None

    def write(self, path: Path) -> None:
        """Keep it."""
        write_private(path, json.dumps(vars(self)).encode())


def record_path(state: StateDir, system: str, target: str) -> Path:
    """Return where the record of a repository's keys is."""
    return state.escrow / f"{system}@{target}.json"


def key_hint(state: StateDir, system: str, target: str) -> dict[str, str]:
    """Return the environment that has restic try our own key first: each other one costs it half a second."""
    known = KeyRecord.read(record_path(state, system, target))
    return {"RESTIC_KEY_HINT": known.own} if known and known.own else {}
