"""A repository to change keys of: made once a session, and copied for each test."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dr.plan.plan import Plan
from dr.plan.target import Target
from dr.run.workspace.open_toolbox import open_place
from dr.run.workspace.toolbox import Place, Toolbox
from dr.tools.restic import make_if_absent
from dr.tools.state_dir import StateDir


def plan_of(system: str, secrets: dict[str, object] | None = None, *, depends_on: Sequence[str] = ()) -> Plan:
    """Return a plan of one target, with its passphrase where `secrets` says."""
    return Plan.model_validate(
        {
            "system": system,
            "objectives": {"rto": "1h", "rpo": "1d"},
            "sources": {"docs": {"files": {"paths": ["/srv"]}}},
            "targets": ["disk"],
            "depends_on": list(depends_on),
            **({"secrets": secrets} if secrets else {}),
        }
    )


@dataclass(frozen=True)
class Keyed:
    """One system on one target below `root`, with its state."""

    root: Path
    restic: str

    @property
    def state(self) -> StateDir:
        """The state directory."""
        return StateDir(self.root / "state")

    @property
    def secret(self) -> Path:
        """The passphrase file."""
        return self.state.secrets / "share@disk.passphrase"

    def place(self, secrets: dict[str, object] | None = None) -> Place:
        """Return the place as a new command would open it."""
        target = Target.model_validate({"target": "disk", "local": {"path": str(self.root / "disk")}})
        return open_place(plan_of("share", secrets), target, state=self.state, restic=self.restic)

    def toolbox(self, *others: Place, secrets: dict[str, object] | None = None) -> Toolbox:
        """Return the tools of its plan, with further places."""
        return Toolbox(
            plan=plan_of("share", secrets),
            digest="0" * 64,
            state=self.state,
            plan_dir=self.root,
            places=(self.place(secrets), *others),
        )

    def make(self) -> Keyed:
        """Make its repository."""
        place = self.place()
        place.store.reachable()
        make_if_absent(place.repository, exists=lambda: place.store.exists("config"))
        return self

    def copied(self, to: Path) -> Keyed:
        """Return a copy of all of it."""
        shutil.copytree(self.root, to)
        return replace(self, root=to)
