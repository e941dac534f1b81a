"""A small district that is interrupted, again and again, and what must hold of it after each interruption.

What is protected are files, of which each version is known by its number: whatever comes back says which version it is,
and must be that one byte for byte.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.servers.mariadb import MariadbServer
from scripts.servers.postgres import PostgresServer
from tests.conftest import Site
from tests.databases import source_of

SYSTEM = "share"
_PASSPHRASE = "a passphrase of the tests"
#: What a command may end with that a person need not look at: done, in part (said why), an objective missed.
WELL = (0, 3, 4)
#: So many of the newest complete points retention keeps.
KEPT = 3


def digest_of(root: Path) -> dict[str, str]:
    """Return the SHA-256 of each file below a directory, by its relative path."""
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@dataclass
class Live:
    """A live database whose content is known by its version."""

    server: PostgresServer | MariadbServer
    name: str
    versions: dict[int, str] = field(default_factory=dict)
    #: What it may hold now: one version, or while a replacement was interrupted that before and that after.
    now: set[int] = field(default_factory=set)

    def change(self, number: int) -> None:
        """Make the next version."""
        made = "create table if not exists entries (n int, t text);"
        less = f"delete from entries where n < {number - 2};"
        if isinstance(self.server, PostgresServer):
            some = f"select {number}, md5(x::text) from generate_series(1, 300) x"
            self.server.psql(f"{made} insert into entries {some}; {less}", self.name)
        else:
            some = f"select {number}, md5(seq) from seq_1_to_300"
            self.server.sql(f"{made} start transaction; insert into entries {some}; {less} commit;", self.name)
        self.versions[number], self.now = self.content(), {number}

    def content(self) -> str:
        """Return a digest of all that is in it."""
        if isinstance(self.server, PostgresServer):
            return self.server.psql("select md5(string_agg(n || t, ',' order by n, t)) from entries", self.name)
        whole = "set group_concat_max_len = 1000000;"
        [[found]] = self.server.sql(f"{whole} select md5(group_concat(n, t order by n, t)) from entries", self.name)
        return found

    def hold(self) -> None:
        """See that it is whole, and one of those that it may be. Raises `AssertionError`."""
        found = self.content()
        self.now = {number for number, content in self.versions.items() if content == found and number in self.now}
        assert self.now, "the live database is not as it was"


@dataclass
class World:
    """One district on its way: a primary, a replica, files, and perhaps a live database."""

    site: Site
    random: random.Random
    restic: str
    where: str  # the primary's repository, as restic names it, or its directory
    restic_env: dict[str, str]
    versions: dict[int, dict[str, str]] = field(default_factory=dict)
    #: Complete points that were seen, by run id: their snapshots.
    points: dict[str, dict[str, str]] = field(default_factory=dict)
    restored: int = 0
    live: Live | None = None

    @property
    def source(self) -> Path:
        """What is protected."""
        return self.site.root / "source"

    def change(self) -> None:
        """Make the next version of the source."""
        number = len(self.versions) + 1
        self.source.mkdir(exist_ok=True)
        (self.source / "version").write_text(f"{number}\n")
        for _ in range(self.random.randint(1, 4)):
            name = f"file-{self.random.randint(0, 8)}.bin"
            (self.source / name).write_bytes(self.random.randbytes(self.random.randint(1, 400_000)))
        self.versions[number] = digest_of(self.source)
        if self.live:
            self.live.change(number)

    def run(self, *arguments: str, code: tuple[int, ...] = WELL) -> Any:
        """Type a command that must end well, and return its document."""
        ran = self.site.dr(*arguments, "--json", code=None)
        assert ran.code in code, f"dr {' '.join(arguments)}: exit {ran.code}\n{ran.err}"
        return ran.document

    def hold(self) -> None:
        """Look at everything that must hold whatever was interrupted. Raises `AssertionError`."""
        if self.live:
            self.live.hold()
        audit = self.run("audit", code=(0,))
        assert audit["outcome"] == "ok", audit
        listed = self.run("points", code=(0,))["points"]
        complete = {point["run_id"]: point for point in listed if point["complete"] and "primary" in point["targets"]}
        self.points |= {run_id: point["snapshots"] for run_id, point in reversed(complete.items())}
        kept = list(self.points)[-KEPT:]  # whatever retention takes away, and whenever it is interrupted
        lost = [run_id for run_id in kept if run_id not in {point["run_id"] for point in listed}]
        assert not lost, f"points that are gone: {lost}"
        there = self._snapshots()
        for run_id in complete:
            missing = set(complete[run_id]["snapshots"].values()) - there
            assert not missing, f"the point {run_id} is called complete, and restic does not list {missing}"
        if complete:
            newest = listed and max(complete, key=lambda run_id: complete[run_id]["finished"])
            for run_id in {newest, self.random.choice(sorted(complete))}:
                self._restores(run_id, complete[run_id]["snapshots"]["docs"])
        assert not self._running(), "programs that were left running"
        work = self.site.root / "state" / "work"
        assert not work.is_dir() or not list(work.iterdir()), "scratch files that were left"

    def _snapshots(self) -> set[str]:
        done = self._plain("snapshots", "--json", "--no-lock")
        return {item["id"] for item in json.loads(done.stdout or b"[]") or []}

    def _restores(self, run_id: str, snapshot: str) -> None:
        """Restore a point by plain restic, with no cache, and compare it with the version that it says it is."""
        out = self.site.root / "plain"
        shutil.rmtree(out, ignore_errors=True)
        self._plain("restore", snapshot, "--target", str(out), "--no-lock")
        root = out / str(self.source)[1:]
        found = digest_of(root)
        number = int((root / "version").read_text())
        assert found == self.versions[number], f"the point {run_id} does not hold version {number}"
        shutil.rmtree(out)
        self.restored += 1

    def _plain(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        env = {
            **self.restic_env,
            "PATH": os.environ["PATH"],
            "HOME": str(self.site.root),
            "RESTIC_PASSWORD": _PASSPHRASE,
        }
        argv = [self.restic, "--no-cache", "-r", self.where, *arguments]
        done = subprocess.run(argv, env=env, capture_output=True, check=False)
        assert done.returncode == 0, (arguments, done.stderr.decode())
        return done

    def _running(self) -> list[str]:
        """Return the programs of this district that are running."""
        mark, found = str(self.site.root).encode(), []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and int(entry.name) != os.getpid():
                try:
                    line = (entry / "cmdline").read_bytes()
                    told = line + (entry / "environ").read_bytes()
                except OSError:
                    continue
                if b"restic" in line and mark in told:
                    found.append(f"{entry.name}: {line!r}")
        return found


def make_world(
    site: Site,
    chance: random.Random,
    *,
    restic: str,
    target: str,
    where: str,
    env: dict[str, str],
    live: Live | None = None,
) -> World:
    """Make a district whose primary is `target` (YAML), with a replica on a disk, one version and one point."""
    site.target("primary", f"target: primary\n{target}\n")
    site.target("copy", f"target: copy\nlocal: {{path: {site.root}/copy}}\n")
    secret = site.root / "passphrase"
    secret.write_text(_PASSPHRASE)
    secret.chmod(0o600)
    database = f"  {source_of(live.server, f'database: {live.name}')}\n" if live else ""
    site.plan(
        SYSTEM,
        f"system: {SYSTEM}\nobjectives: {{rto: 1h, rpo: 4h}}\n"
        f"sources:\n  docs: {{files: {{paths: [{site.root}/source]}}}}\n{database}"
        f"targets: [primary]\nreplicas: [copy]\nsecrets: {{passphrase: {{file: {secret}}}}}\n"
        f"retention: {{last: {KEPT}, daily: 0, weekly: 0, monthly: 0, yearly: 0}}\n"
        "drill: {checks: [manifest" + (", {rows: {source: database}}" if live else "") + "]}\n",
    )
    world = World(site, chance, restic, where, env, live=live)
    world.change()
    world.run("backup", SYSTEM, code=(0,))
    world.hold()
    return world
