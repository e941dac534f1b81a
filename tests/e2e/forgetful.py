"""A system whose clock the test sets, with a primary, and a replica that forgets."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dr.evidence.forgetting import Forgetting
from dr.evidence.record import Replication
from dr.operations.backup import backup_one
from dr.operations.replicate import replicate_one
from dr.operations.verify import verify_one
from dr.session import Session
from tests.conftest import Site, plan_text
from tests.forked import Forker

DAY = timedelta(days=1)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class Story:
    """A system whose clock the test sets, with a primary, and a replica that forgets after thirty days."""

    site: Site
    now: datetime = NOON
    made: list[str] = field(default_factory=list)

    @property
    def session(self) -> Session:
        return self.site.session(clock=lambda: self.now)

    def backup(self) -> str:
        """A point a day, each of which has something that no other has."""
        source = self.site.root / "source"
        for old in source.glob("own-*"):
            old.unlink()
        (source / f"own-{len(self.made)}").write_bytes(os.urandom(200_000))
        (source / f"all-{len(self.made)}").write_bytes(os.urandom(20_000))
        with closing(self.session) as session:
            done = backup_one(session, session.chosen(["share"])[0])
        assert done.record.outcome == "ok", done.record
        self.made.append(done.record.run_id)
        self.now += DAY
        return done.record.run_id

    def replicate(self, after: timedelta = timedelta()) -> Replication:
        """Replicate once more, so much later."""
        self.now += after
        with closing(self.session) as session:
            return replicate_one(session, session.chosen(["share"])[0])[0].record

    def follow(self, days: int, step: int = 5) -> Replication:
        """Replicate every few days."""
        fact = self.replicate()
        for _ in range(days // step):
            fact = self.replicate(step * DAY)
        return fact

    def verify(self) -> list[str]:
        with closing(self.session) as session:
            return [found.record.outcome for found in verify_one(session, session.chosen(["share"])[0], level=3)]

    def restic(self, at: str, *arguments: str) -> str:
        """Run restic as anybody would who has the passphrase."""
        secret = next((self.site.root / "state" / "secrets").glob("share@first*"))
        env = {"PATH": os.environ["PATH"], "RESTIC_PASSWORD_FILE": str(secret), "HOME": str(self.site.root)}
        argv = [self.site.env["DR_RESTIC"], "-r", str(self.path(at)), "--no-cache", "-q", *arguments]
        argv += ["--no-lock"] if arguments[0] == "check" else []
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def path(self, at: str) -> Path:
        return self.site.root / at / "share"

    def snapshots(self, run_ids: Sequence[str]) -> list[str]:
        with closing(self.session) as session:
            points = {point.run_id: point for point in session.catalog.points(["share"])}
        return [each for run_id in run_ids for each in points[run_id].copies[0].snapshots.values()]

    def expire(self, *run_ids: str) -> None:
        """Do at the primary what its retention says."""
        self.restic("first", "forget", "--prune", "--max-unused", "0", *self.snapshots(run_ids))

    def names(self, at: str) -> set[str]:
        root = self.path(at)
        found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
        return {name for name in found if not name.startswith("locks/")}

    def points_at(self, target: str) -> list[str]:
        with closing(self.session) as session:
            points = session.catalog.points(["share"])
        return sorted(p.run_id for p in points if target in {copy.target for copy in p.usable})


def found_in(fact: Replication) -> Forgetting:
    assert fact.forgetting is not None
    return fact.forgetting


def declare(root: Path, *, forget_after: str = "30d", last: int = 3) -> None:
    """Write the plan and its two targets; what is kept does not depend on the calendar."""
    source = f"docs: {{files: {{paths: [{root}/source]}}}}"
    more = f"replicas: [second]\nretention: {{last: {last}, daily: 0, weekly: 0, monthly: 0, yearly: 0}}\n"
    for name, text in {
        "plans/share": plan_text("share", source, targets="[first]", more=more),
        "targets/first": f"target: first\nlocal: {{path: {root}/first}}\n",
        "targets/second": f"target: second\nlocal: {{path: {root}/second}}\nforget_after: {forget_after}\n",
    }.items():
        path = root / "config" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def make_five(root: Path, restic: str, forker: Forker) -> Story:
    """Five points, of which the primary has dropped the two that its plan has no use for; the replica is proven."""
    site = Site(root, {"DR_RESTIC": restic}, forker)
    site.escrow(False)
    (root / "source").mkdir()
    declare(root)
    story = Story(site)
    for _ in range(5):
        story.backup()
    story.replicate()
    story.verify()
    story.expire(*story.made[:2])
    return story


def copy_of(story: Story, root: Path) -> Story:
    """The same at another place."""
    shutil.copytree(story.site.root, root, dirs_exist_ok=True)
    declare(root)
    return Story(Site(root, story.site.env, story.site.forker), story.now, list(story.made))
