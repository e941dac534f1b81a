"""One system on one target, as a command works with it, in this process and by a clock of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dr.evidence.record import BackupRun, SourceCapture, TargetState
from dr.plan.declarations import Loaded
from dr.session import Session
from tests.conftest import plan_text
from tests.run.keyed import Keyed


@dataclass
class Office:
    """The session, whose time stands still until it is told to `wait`."""

    keyed: Keyed
    session: Session = field(init=False)
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        self.session = Session(self.keyed.root / "config", self.keyed.state, clock=lambda: self.now)

    @property
    def loaded(self) -> Loaded:
        return self.session.chosen(["share"])[0]

    def wait(self, time: timedelta) -> None:
        self.now += time

    def point(self, run_id: str, *, suspect: str | None = None) -> None:
        """Have a recovery point on record."""
        there = TargetState(target="disk", outcome="ok", snapshots={"docs": "c" * 64})
        run = BackupRun(
            run_id=run_id, system="share", outcome="ok", started=self.now, finished=self.now,
            consistency_time=self.now, complete=True, targets=(there,), suspect=suspect,
            sources=(SourceCapture(source="docs", kind="files", outcome="ok", snapshot_id="c" * 64),),
        )  # fmt: skip
        self.session.catalog.record(run)


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory, restic_program: str) -> Keyed:
    return Keyed(tmp_path_factory.mktemp("office"), restic_program).make()


@pytest.fixture
def office(_made: Keyed, tmp_path: Path) -> Iterator[Office]:
    keyed = _made.copied(tmp_path / "office")
    for name, text in (
        ("plans/share", plan_text("share", "docs: {files: {paths: [/srv]}}", targets="[disk]")),
        ("targets/disk", f"target: disk\nlocal: {{path: {keyed.root}/disk}}\n"),
    ):
        path = keyed.root / "config" / f"{name}.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    keyed.state.escrow.mkdir()
    (keyed.state.escrow / "recipient").write_text("none\n")
    made = Office(keyed)
    yield made
    made.session.close()
