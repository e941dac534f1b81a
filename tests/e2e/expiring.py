"""A system whose clock the test sets, with five points on a primary that it proved; retention keeps the last two."""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dr.evidence.acts import Expiration, Pruning
from dr.operations.expire import ExpireResult, expire_one
from dr.operations.expire_target import ExpireOptions
from tests.conftest import Site, plan_text
from tests.e2e.forgetful import Story
from tests.forked import Forker

RETENTION = "retention: {last: 2, daily: 0, weekly: 0, monthly: 0, yearly: 0}\n"


@dataclass
class Expiring(Story):
    """The story, and what expiring comes to."""

    def declare(self, more: str = RETENTION, first: str = "") -> None:
        """Write the plan, and its target."""
        root = self.site.root
        self.site.plan(
            "share", plan_text("share", f"docs: {{files: {{paths: [{root}/source]}}}}", targets="[first]", more=more)
        )
        self.site.target("first", first or f"target: first\nlocal: {{path: {root}/first}}\n")

    def expired(self, **options: Any) -> ExpireResult:
        """Expire and prune; many may go at once unless it is said otherwise."""
        with closing(self.session) as session:
            wanted = ExpireOptions(**{"confirmed": True, **options})
            (found,) = expire_one(session, session.chosen(["share"])[0], wanted)
            return found

    def facts(self, kind: str = "expire") -> list[Any]:
        with closing(self.session) as session:
            assert session.catalog.audit().outcome == "ok"
            return [record.fact for record in session.catalog.facts((kind,))]


def expiration(found: ExpireResult) -> Expiration:
    assert found.expiration
    return found.expiration.record


def pruning(found: ExpireResult) -> Pruning:
    assert found.pruning
    return found.pruning.record


def make_expiring(root: Path, restic: str, forker: Forker) -> Expiring:
    """Five points, a day apart, all proven."""
    site = Site(root, {"DR_RESTIC": restic}, forker)
    site.escrow(False)
    (root / "source").mkdir(parents=True)
    story = Expiring(site)
    story.declare()
    for _ in range(5):
        story.backup()
    assert story.verify() == ["ok"]
    return story


def another(story: Expiring, root: Path) -> Expiring:
    """The same at another place."""
    shutil.copytree(story.site.root, root, dirs_exist_ok=True)
    made = Expiring(Site(root, {**story.site.env}, story.site.forker), story.now, list(story.made))
    made.declare()
    return made
