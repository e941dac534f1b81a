"""Objects of a repository taken away or spoilt, and every verb held against what plain restic can restore.

Nobody says more than restic with an empty cache can restore, and nobody says less. `python -m tests.faults.taken_away`
goes through every combination; the suite takes some of them (`test_taken_away.py`).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dr.evidence.record import BackupRun, Drill, Point
from dr.operations.backup import backup_one
from dr.operations.drill import drill_one, recover
from dr.operations.repair import repair_system
from dr.operations.replicate import replicate_one
from dr.operations.verify import verify_one
from dr.queries.status import board
from dr.run.recovery.request import RecoveryRequest
from dr.session import Session
from dr.tools.restic_program import find_restic
from dr.tools.state_dir import StateDir
from scripts.servers.s3 import S3Server

PLACES = ("disk", "bucket", "versions")
PARTS = ("snapshot", "index", "tree", "data", "key", "config")
HARMS = ("missing", "corrupt")
_FOLDERS = {"snapshot": "snapshots/", "index": "index/", "key": "keys/", "config": "config"}
_WORKED = ("ok", "degraded")


@dataclass(frozen=True)
class Case:
    """What is done to which objects, where, and whether all was proven before."""

    place: str
    part: str
    everything: bool
    harm: str
    proven: bool

    def __str__(self) -> str:
        count = "all" if self.everything else "some"
        return f"{self.place}-{self.part}-{count}-{self.harm}-{'proven' if self.proven else 'unproven'}"


def every_case() -> list[Case]:
    """Every combination."""
    return [Case(*each) for each in itertools.product(PLACES, PARTS, (False, True), HARMS, (False, True))]


@dataclass
class World:
    """One system with two points, `old` and `new`, proven or not, below `home`; copied for each case."""

    home: Path
    files: dict[str, dict[str, str]] = field(default_factory=dict)  # run id -> relative path -> SHA-256
    snapshots: dict[str, str] = field(default_factory=dict)  # run id -> snapshot
    packs: dict[str, list[str]] = field(default_factory=dict)  # "tree", "data" -> those that only `new` needs, first


def _config(home: Path, place: str) -> None:
    for name in ("plans", "targets"):
        (home / "config" / name).mkdir(parents=True, exist_ok=True)
    (home / "config/targets/place.yaml").write_text(f"target: place\n{place}\n")
    (home / "config/targets/second.yaml").write_text(f"target: second\nlocal: {{path: {home}/second}}\n")
    (home / "config/plans/share.yaml").write_text(
        f"system: share\nobjectives: {{rto: 1h, rpo: 4h}}\nsources: {{docs: {{files: {{paths: [{home}/source]}}}}}}\n"
        "targets: [place]\nreplicas: [second]\ndrill: {checks: [{manifest: {}}]}\n"
    )


@contextmanager
def _session(home: Path) -> Iterator[Session]:
    session = Session(home / "config", StateDir(home / "state"))
    try:
        yield session
    finally:
        session.close()


def _hashes(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file() and path.name != "dr-manifest")
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def make_world(home: Path, *, proven: bool) -> World:
    """Make it, on a disk."""
    world = World(home)
    (home / "state" / "escrow").mkdir(parents=True, mode=0o700)
    (home / "state").chmod(0o700)
    (home / "state" / "escrow" / "recipient").write_text("none\n")
    _config(home, f"local: {{path: {home}/place}}")
    before: list[str] = []
    for name in ("old", "new"):
        (home / "source" / name / "deep").mkdir(parents=True)
        (home / "source" / name / "deep" / "data.bin").write_bytes(os.urandom(60_000))
        with _session(home) as session:
            loaded = session.chosen(["share"])[0]
            run = backup_one(session, loaded).record
            assert run.outcome == "ok", run
        world.files[run.run_id] = _hashes(home / "source")
        world.snapshots[run.run_id] = run.targets[0].snapshots["docs"]
        kinds = _kinds(home)
        for kind in ("tree", "data"):
            packs = [pack for pack, of in kinds.items() if kind in of]
            world.packs[kind] = [x for x in packs if x not in before] + [x for x in packs if x in before]
        before = list(kinds)
    if proven:
        with _session(home) as session:
            (result,) = [x for x in verify_one(session, loaded, level=3) if x.record.target == "place"]
            assert result.record.level_reached == 3
    return world


def _env(home: Path) -> dict[str, str]:
    secret = home / "state" / "secrets" / "share@place.passphrase"
    return {"RESTIC_PASSWORD_FILE": str(secret), "HOME": str(home), "PATH": os.environ["PATH"]}


def _kinds(home: Path) -> dict[str, set[str]]:
    """Return by pack which kinds of blobs it holds."""

    def restic(*argv: str) -> bytes:
        done = [find_restic(os.environ), "-r", f"{home}/place/share", "--no-cache", "--no-lock", *argv]
        return subprocess.run(done, env=_env(home), check=True, capture_output=True).stdout

    found: dict[str, set[str]] = {}
    for index in restic("list", "index").decode().split():
        for pack in json.loads(restic("cat", "index", index))["packs"]:
            found[pack["id"]] = {blob["type"] for blob in pack["blobs"]}
    return found


class Trial:
    """A world copied for one case, and harmed; `restorable` is what plain restic can bring back whole."""

    def __init__(self, world: World, case: Case, home: Path, s3: S3Server | None) -> None:
        self.world, self.case, self.home, self.s3 = world, case, home, s3
        shutil.copytree(world.home, home)
        shutil.rmtree(home / "source")
        shutil.copytree(world.home / "source", home / "source")
        self.snapshots, self.files = dict(world.snapshots), dict(world.files)
        self.location, self.keys = f"{home}/place/share", {}
        _config(home, self._place())
        self._harm()
        self.restorable = self.whole_at(self.location, self.keys)

    def _place(self) -> str:
        if self.case.place == "disk":
            return f"local: {{path: {self.home}/place}}"
        assert self.s3
        self.bucket = f"away-{os.urandom(6).hex()}"
        if self.case.place == "versions":
            self.s3.make_versioned(self.bucket)
        else:
            self.s3.client().create_bucket(Bucket=self.bucket)
        root = self.home / "place"
        for path in root.rglob("*"):
            if path.is_file():
                self.s3.client().put_object(
                    Bucket=self.bucket, Key=path.relative_to(root).as_posix(), Body=path.read_bytes()
                )
        shutil.rmtree(root)
        keys = self.s3.write_keys(self.home / "keys")
        self.keys = {"AWS_ACCESS_KEY_ID": self.s3.access_key, "AWS_SECRET_ACCESS_KEY": self.s3.secret_key}
        self.location = f"s3:{self.s3.endpoint}/{self.bucket}/share"
        return f"s3: {{endpoint: '{self.s3.endpoint}', bucket: {self.bucket}, credentials: {{file: {keys}}}}}"

    def _harm(self) -> None:
        if self.case.part in ("tree", "data"):
            names = [f"data/{pack[:2]}/{pack}" for pack in self.world.packs[self.case.part]]
        else:
            names = [name for name in self._names() if name.startswith(_FOLDERS[self.case.part])]
            newest = list(self.world.snapshots.values())[-1]
            names.sort(key=lambda name: not name.endswith(newest))
        for name in names if self.case.everything else names[:1]:
            self._spoil(name)

    def _names(self) -> list[str]:
        if self.case.place == "disk":
            root = Path(self.location)
            return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
        assert self.s3
        listed = self.s3.client().list_objects_v2(Bucket=self.bucket, Prefix="share/")["Contents"]
        return sorted(item["Key"].removeprefix("share/") for item in listed)

    def _spoil(self, name: str) -> None:
        def changed(data: bytes) -> bytes:
            middle = len(data) // 2
            return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]

        if self.case.place == "disk":
            path = Path(self.location) / name
            data = path.read_bytes()
            path.unlink()
            if self.case.harm == "corrupt":
                path.write_bytes(changed(data))
            return
        assert self.s3
        client, where = self.s3.client(), {"Bucket": self.bucket, "Key": f"share/{name}"}
        if self.case.harm == "corrupt":
            client.put_object(**where, Body=changed(client.get_object(**where)["Body"].read()))
        else:
            client.delete_object(**where)

    def whole_at(self, location: str, keys: dict[str, str]) -> set[str]:
        """Return the runs whose files a fresh restic with no cache restores, equal to what was backed up."""
        found = set()
        for run_id, snapshot in self.snapshots.items():
            with tempfile.TemporaryDirectory(dir=self.home) as out:
                argv = [find_restic(os.environ), "-r", location, "--no-cache", "--no-lock", "restore", snapshot]
                done = subprocess.run(
                    [*argv, "--target", out], env={**_env(self.home), **keys}, capture_output=True, check=False
                )
                home = self.world.home if run_id in self.world.snapshots else self.home
                came = Path(out) / str(home / "source").lstrip("/")
                if done.returncode == 0 and _hashes(came) == self.files[run_id]:
                    found.add(run_id)
        return found

    # -- what each verb says ---------------------------------------------------------------------------

    def _do(self, act: Callable[[Session, Any], Any]) -> Any:
        with _session(self.home) as session:
            return act(session, session.chosen(["share"])[0])

    def _points(self) -> list[Point]:
        found: list[Point] = self._do(lambda session, loaded: session.points(loaded))
        return found

    def _shown(self) -> set[str]:
        """The points that are shown as usable on the place."""
        return {p.run_id for p in self._points() for copy in p.usable if copy.target == "place"}

    def drilled(self) -> None:
        """A drill is ok only of what can be restored."""
        fact: Drill = self._do(lambda session, loaded: drill_one(session, loaded, RecoveryRequest()).record)
        if fact.outcome in _WORKED and not self._from_below(fact):
            assert fact.run_id in self.restorable, f"drilled {fact.outcome}"
        elif fact.outcome not in _WORKED:
            assert not self.restorable, f"a drill that could have worked failed: {fact.error}"

    def _from_below(self, fact: Drill) -> bool:
        """Whether it was brought back from what lies below, which plain restic is not asked about: it was said then."""
        told = any("made again" in event.what for event in fact.events)
        return fact.outcome == "degraded" and bool((fact.seen_at and self.case.place == "versions") or told)

    def verified(self) -> None:
        """Nothing is proven, shown or counted that cannot be restored; what was lost or spoilt is no success."""
        results = self._do(lambda session, loaded: verify_one(session, loaded, level=3))
        (proof,) = [x.record for x in results if x.record.target == "place"]
        assert proof.outcome == "failed", f"proven although harmed: {proof}"
        assert proof.level_reached == 0 or set(proof.points) <= self.restorable
        shown = self._shown()
        assert shown <= self.restorable, f"shown although lost: {shown - self.restorable}"
        if self.case.part != "index":  # what an index names in vain is doubtful until it is repaired
            assert shown == self.restorable, f"not shown although it can be restored: {self.restorable - shown}"
        row = self._do(lambda session, loaded: board(session, [loaded]))[0].row
        assert row.problems and (shown or row.rpo.word != "met")

    def recovered(self) -> None:
        """What can be restored is recovered."""
        to = self.home / "recovered"
        fact: Drill = self._do(lambda session, loaded: recover(session, loaded, RecoveryRequest(to=to)).record)
        if fact.outcome not in _WORKED:
            assert not self.restorable, f"recovered {fact.outcome}: {fact.error}"
        else:
            assert fact.run_id in self.restorable or self._from_below(fact), f"recovered {fact.run_id}"
            came = to / "docs" / str(self.world.home / "source").lstrip("/")
            assert _hashes(came) == self.world.files[fact.run_id or ""]

    def replicated(self) -> None:
        """Of a replica nothing is said that is not whole there."""
        (result,) = self._do(replicate_one)
        there = (
            self.whole_at(f"{self.home}/second/share", {}) if (self.home / "second/share/config").exists() else set()
        )
        assert set(result.record.points or ()) <= there, f"replicated {result.record.points}, whole are {there}"

    def backed_up(self) -> None:
        """The next backup vouches for no point that is gone."""
        self._do(backup_one)
        assert self._shown() & self.world.snapshots.keys() <= self.restorable

    def backed_up_first(self) -> None:
        """The first to come by is a backup: it calls no point complete, old or new, that restic cannot restore."""
        run: BackupRun = self._do(backup_one).record
        self._note(run)
        now = self.whole_at(self.location, self.keys)
        assert not run.complete or run.run_id in now, "the new point is called complete"
        if run.targets[0].snapshots:  # else the target could not be used, as was said
            assert self._shown() <= now, f"shown although lost: {self._shown() - now}"
        if run.run_id not in now:
            assert run.outcome == "failed" and run.targets[0].error_hint, run.error

    def repaired(self) -> None:
        """After a repair the next backup stores again what was lost, where the repository can be opened."""
        if self.case.part in ("key", "config", "snapshot"):
            return
        self._do(lambda session, loaded: repair_system(session, loaded, target="place"))
        run: BackupRun = self._do(backup_one).record
        self._note(run)
        now = self.whole_at(self.location, self.keys)
        assert run.complete and run.run_id in now, f"not even after a repair: {run.error}"
        assert self._shown() <= now, f"shown although lost: {self._shown() - now}"

    def _note(self, run: BackupRun) -> None:
        if run.targets and run.targets[0].snapshots:
            self.snapshots[run.run_id] = run.targets[0].snapshots["docs"]
            self.files[run.run_id] = list(self.world.files.values())[-1]


def hold(world: World, case: Case, home: Path, s3: S3Server | None) -> None:
    """Harm copies of the world, and hold every verb against plain restic."""
    for verbs in (
        (Trial.backed_up_first, Trial.repaired),
        (Trial.drilled, Trial.verified, Trial.recovered, Trial.replicated, Trial.backed_up),
    ):
        trial = Trial(world, case, home, s3)
        for verb in verbs:
            try:
                verb(trial)
            except AssertionError as error:
                told = f"{case}: {verb.__name__}: {error}; restic restores {trial.restorable}"
                raise AssertionError(told) from error
        shutil.rmtree(home)


def main() -> int:
    """Go through every combination, or those whose names hold the words given; say which fail."""
    wanted, failed = sys.argv[1:], 0
    with tempfile.TemporaryDirectory() as folder, S3Server(Path(folder) / "s3") as s3:
        worlds = {proven: make_world(Path(folder) / f"world-{proven}", proven=proven) for proven in (False, True)}
        for number, case in enumerate(every_case()):
            if wanted and not any(word in str(case) for word in wanted):
                continue
            try:
                hold(worlds[case.proven], case, Path(folder) / str(number), s3)
                print(f"ok      {case}", flush=True)
            except AssertionError as error:
                failed += 1
                print(f"FAILED  {error}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(min(main(), 100))
