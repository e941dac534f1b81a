"""A system on a bucket that keeps versions, and what an attacker does to it."""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scripts.servers.s3 import S3Server
from tests.conftest import Site, plan_text

JUNK = b"your files are encrypted"


def seconds_pass() -> None:
    """Let the second end: services tell times to the second, and a view is wider by one."""
    time.sleep(2.1)


def now() -> str:
    """The time, as typed."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


@dataclass
class Attacked:
    """A site whose one system, `share`, lies on the target `offsite`, in `bucket` of `server`."""

    site: Site
    server: S3Server
    bucket: str
    scratch: str = ""

    @property
    def client(self) -> Any:
        return self.server.client()

    def target(self, name: str, bucket: str, user: str = "admin") -> None:
        """Declare a target."""
        keys = self.server.write_keys(self.site.root / f"keys-{user}", user)
        place = f"endpoint: '{self.server.endpoint}', bucket: {bucket}, prefix: pre, credentials: {{file: {keys}}}"
        self.site.target(name, f"target: {name}\ns3: {{{place}}}\n")

    def make_bucket(self, *, versions: bool = True) -> str:
        """Make a bucket."""
        name = f"test-{secrets.token_hex(6)}"
        if versions:
            self.server.make_versioned(name)
        else:
            self.client.create_bucket(Bucket=name)
        return name

    def plan(self, more: str = "", targets: str = "[offsite]") -> None:
        """Write the plan."""
        source = f"docs: {{files: {{paths: [{self.source}]}}}}"
        self.site.plan("share", plan_text("share", source, targets=targets, more=more))

    @property
    def source(self) -> Path:
        return self.site.root / "source"

    def on_top(self, bucket: str | None = None, prefix: str = "pre/") -> list[str]:
        """What is on top."""
        listed = self.client.list_objects_v2(Bucket=bucket or self.bucket, Prefix=prefix)
        return [item["Key"] for item in listed.get("Contents", ())]

    def versions(self, bucket: str | None = None) -> list[tuple[str, str]]:
        """Every version of data there is, by key and id."""
        pages = self.client.get_paginator("list_object_versions").paginate(Bucket=bucket or self.bucket)
        return [(item["Key"], item["VersionId"]) for page in pages for item in page.get("Versions", ())]

    def destroy(self) -> None:
        """Overwrite everything, delete every other object, and leave junk that looks like part of a repository."""
        client = self.server.client()
        for number, key in enumerate(self.on_top()):
            client.put_object(Bucket=self.bucket, Key=key, Body=JUNK + os.urandom(8))
            if number % 2:
                client.delete_object(Bucket=self.bucket, Key=key)
        for name in ("config", f"index/{'a' * 64}", f"keys/{'b' * 64}", f"snapshots/{'c' * 64}", "README.txt"):
            client.put_object(Bucket=self.bucket, Key=f"pre/share/{name}", Body=JUNK)

    def lose_the_catalog(self) -> None:
        for path in (self.site.root / "state").glob("catalog.sqlite*"):
            path.unlink()

    def recovered(self, to: Path) -> bool:
        """Whether what came back is what there was."""
        came = to / "docs" / str(self.source).lstrip("/")
        return {p.name: p.read_bytes() for p in came.rglob("*.bin")} == self.files

    @property
    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.source.rglob("*.bin")}


def make_attacked(
    site: Site, server: S3Server, *, bucket: str = "", user: str = "admin", backup: bool = True
) -> Attacked:
    """Make the site, and its first point."""
    made = Attacked(site, server, bucket)
    made.bucket = bucket or made.make_bucket()
    made.source.mkdir()
    for number in range(6):
        (made.source / f"{number}.bin").write_bytes(os.urandom(40_000))
    made.target("offsite", made.bucket, user)
    made.plan()
    if backup:
        site.dr("backup", "share")
    return made
