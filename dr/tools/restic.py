"""restic: the one place that knows how to speak to it.

A `Repository` is one system on one target. The passphrase and keys travel in the environment or in a
0600 file, never in arguments. Traps of restic closed here: a source path that restic skips silently is
reported (`Stored.skipped`); a stream becomes a snapshot only when its source has succeeded
(`StreamBackup`); a line that is no JSON is a message. Supported: restic >= 0.18.0.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import field, replace
from pathlib import Path
from typing import Any

from dr.errors import DamageError, DrError, LockedError, NoRepositoryError, RefusedError, TargetDownError
from dr.late_dataclass import dataclass
from dr.tools import activity, command, retry
from dr.tools.restic_copy import refuse_two_ways, trust_of_both
from dr.tools.restic_events import (
    INCOMPLETE,
    STATUS,
    Checked,
    Events,
    Expected,
    Index,
    Restored,
    Snapshot,
    Stored,
    broken_off,
    checked_of,
    failure,
    snapshot_of,
    snapshots_in,
    stored_of,
    told,
    unneeded_of,
)
from dr.tools.restic_reading import nodes_of, stream_of
from dr.tools.restic_room import Room
from dr.tools.restic_stream import StreamBackup
from dr.tools.restic_tries import Tries
from dr.tools.service_refusals import refuse_withheld

_KEEP_ENV = (
    "PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "HTTP_PROXY", "https_proxy",
    "http_proxy", "NO_PROXY", "no_proxy", "XDG_CACHE_HOME", "GOMAXPROCS", "GOGC",
)  # fmt: skip

#: How long restic waits for another program's lock on a repository.
LOCK_WAIT = "30s"


@dataclass(frozen=True, kw_only=True)
class Throttle:
    """What each restic process may take: bytes a second to and from a target, and bytes of memory; None for all."""

    upload: int | None = None
    download: int | None = None
    memory: int | None = None

    def options(self, verb: str) -> list[str]:
        """Return restic's options, which count in KiB. What brings data back is timed, and is not slowed."""
        rates = {"upload": self.upload, "download": None if verb in ("restore", "dump") else self.download}
        return [f"--limit-{way}={max(rate // 1024, 1)}" for way, rate in rates.items() if rate]

    @property
    def env(self) -> dict[str, str]:
        """What a process is told about memory: Go's own soft limit."""
        return {"GOMEMLIMIT": f"{self.memory}B"} if self.memory else {}


@dataclass(frozen=True, kw_only=True)
class Repository:
    """One restic repository. `env` holds its secrets and is never shown.

    `where` names it in messages: `SYSTEM on TARGET`. `host` is the constant host name of its snapshots.
    """

    program: str
    location: str
    where: str
    host: str
    env: Mapping[str, str] = field(repr=False)
    cache: Path
    options: tuple[str, ...] = ()
    limits: Throttle = Throttle()
    #: What runs restic for captures: here, unless `dr.tools.agent` runs it on another host.
    runner: Callable[..., command.Done] = field(default=command.run, repr=False, compare=False)
    locks_left: set[str] = field(default_factory=set, repr=False, compare=False)  # see `Events.locks_left`

    # -- making and finding -------------------------------------------------------------------------

    def init(self) -> str:
        """Make the repository, and return the id that it was given; `DrError` when there is one already."""
        return str(self._json("init", doing="making the repository").get("id", ""))

    def identity(self) -> str:
        """Return the id that the repository was given when it was made; it never changes."""
        done = self._call("cat", "--no-lock", "config", doing="reading the repository's id")
        return str(json.loads(done.stdout)["id"])

    def snapshots(self, tags: Sequence[str] = ("dr",)) -> list[Snapshot]:
        """Return the snapshots that bear all of `tags`, oldest first; without any, all."""
        asked = ["--tag", ",".join(tags)] if tags else []
        done = self._call("snapshots", "--no-lock", *asked, doing="listing the snapshots")
        return [snapshot_of(item) for item in json.loads(done.stdout or b"[]") or []]

    def unlock(self) -> None:
        """Remove locks whose process is dead or that are older than 30 minutes. May be called any time."""
        self._call("unlock", doing="removing stale locks")

    # -- capturing ----------------------------------------------------------------------------------

    def backup_tree(
        self,
        paths: Sequence[str],
        *,
        cwd: Path,
        tags: Mapping[str, str],
        excludes: Sequence[str] = (),
        one_filesystem: bool = False,
        expected: Expected | None = None,
    ) -> Stored:
        """Store paths (absolute, or relative to `cwd`) as one snapshot.

        Where it is `expected` how much there is, restic does not walk it all a second time to find that out. What it
        could not read, or skipped without a word, is in the result, not an error. Where it leaves out what it cannot
        read of the snapshot before, all is read again, without that one.
        """
        own = [x for x in paths if not x.startswith("/")]
        argv = ["backup", *self.tags_of(tags), "--group-by", "host,paths"]
        argv += [f"--exclude={pattern}" for pattern in excludes]
        argv += [f"--exclude=!{cwd / x}" for x in own if excludes]
        argv += ["--one-file-system"] if one_filesystem else []
        argv += ["--no-scan"] if expected else []
        stored = self._store(*argv, "--", *paths, cwd=cwd, expected=expected)
        if not stored.gaps:
            return stored
        whole = self._store(*argv, "--force", "--", *paths, cwd=cwd, expected=expected)
        with suppress(RefusedError, LockedError, DamageError):  # the later one of a run counts
            self.forget([stored.snapshot_id])
        return whole

    def _store(self, *arguments: str, cwd: Path, expected: Expected | None) -> Stored:
        done, events = self._run(*arguments, cwd=cwd, expected=expected)
        if done.code not in (0, INCOMPLETE) or "snapshot_id" not in events.summary:
            raise failure(done.code or 1, events, where=self.where, doing="the backup")
        return stored_of(events)

    def backup_output(self, argv: Sequence[str], *, filename: str, tags: Mapping[str, str]) -> Stored:
        """Store what a command writes as one file. Raises when it fails, and leaves no snapshot then."""
        name = ("--stdin-filename", filename, "--stdin-from-command")
        done, events = self._run("backup", *self.tags_of(tags), *name, "--", *argv)
        if done.code != 0 or "snapshot_id" not in events.summary:
            raise failure(done.code or 1, events, where=self.where, doing="the backup")
        return stored_of(events)

    def backup_stream(self, filename: str, *, tags: Mapping[str, str], work: Path) -> StreamBackup:
        """Begin a snapshot of bytes that the caller writes; see `StreamBackup`."""
        name = ("--stdin-filename", filename, "--stdin-from-command")
        argv, room = self.argv("backup", *self.tags_of(tags), *name), Room(self.cache, self.location, self.where)
        return StreamBackup(argv, env=self.environment(), where=self.where, work=work, room=room, left=self.locks_left)

    def copy_from(self, other: Repository, snapshot_ids: Sequence[str]) -> None:
        """Copy snapshots from another repository, keeping time, host and tags; what is there stays.

        Both must be reachable with one set of S3 keys: `env` of this one wins.
        """
        refuse_two_ways(self, other)
        env = {**other.env, **self.env, "RESTIC_FROM_REPOSITORY": other.location, **trust_of_both(self, other)}
        for key in ("RESTIC_PASSWORD", "RESTIC_PASSWORD_FILE", "RESTIC_KEY_HINT"):
            env |= {key.replace("RESTIC_", "RESTIC_FROM_"): other.env[key]} if key in other.env else {}
        both = replace(self, options=tuple(dict.fromkeys((*self.options, *other.options))))
        both._json("copy", *snapshot_ids, doing="copying points from another target", env=env)

    def forget(self, snapshot_ids: Sequence[str]) -> None:
        """Remove snapshots; the data stays until a prune. That it ends well proves nothing: list them again.

        Waits half a minute for another program's lock, then raises `LockedError`.
        """
        for start in range(0, len(snapshot_ids), 500):
            self._call("forget", *snapshot_ids[start : start + 500], doing="removing snapshots", tries=1)

    def prune(self, *, max_repack: int | None = None) -> None:
        """Remove the data that no snapshot needs; of packs in use in part at most `max_repack` bytes are stored again.

        May be called again after any death. Waits half a minute for another program's lock, then raises `LockedError`.
        """
        most = [f"--max-repack-size={max_repack}"] if max_repack is not None else []
        self._call("prune", *most, doing="freeing space", tries=1)

    @contextmanager
    def occupied(self, work: Path) -> Iterator[None]:
        """Hold restic's own lock on the repository: that of a backup, which is given up in the end.

        So restic prunes nothing meanwhile, and what is taken away is told from an attack
        (`dr.run.timetravel.attack_history`).
        """
        holder = self.backup_stream("nothing", tags={}, work=work)
        try:
            holder.write(b"")
            yield
        finally:
            holder.abort()

    # -- reading ------------------------------------------------------------------------------------

    def restore(
        self, snapshot_id: str, to: Path, *, include: Sequence[str] | Path = (), overwrite: str = "if-changed"
    ) -> Restored:
        """Write a snapshot, or what patterns (or a file's lines) `include`, below `to`; damage is in `errors`.

        Where the line to the target breaks amid it, it goes on with what is not there yet. Runs of zeros become holes.
        """
        argv = ["restore", snapshot_id, "--no-lock", "--sparse", "--target", str(to), "--overwrite", overwrite]
        argv += [f"--include-file={include}"] if isinstance(include, Path) else [f"--include={one}" for one in include]
        return retry.persist(lambda: self._restored(argv), what=self.where)

    def _restored(self, argv: Sequence[str]) -> Restored:
        done, events = self._run(*argv)
        summary = events.summary
        if done.code not in (0, 1) or (done.code and not summary):
            raise failure(done.code, events, where=self.where, doing="the restore")
        if done.code and (broken := broken_off(events, where=self.where, doing="the restore")):
            raise broken
        errors = tuple(f"{item}: {text}" if item else text for item, text in events.errors)
        if done.code and not errors:
            errors = (events.complaint,)
        return Restored(int(summary.get("files_restored", 0)), int(summary.get("bytes_restored", 0)), errors)

    def dump(self, snapshot_id: str, path: str) -> bytes:
        """Return one file of a snapshot."""
        return self._call("dump", "--no-lock", snapshot_id, path, doing="reading a stored file").stdout

    def reading(self, snapshot_id: str, path: str) -> AbstractContextManager[Iterator[bytes]]:
        """Give the bytes of one file of a snapshot, as they come; what ails restic is raised at their end.

        Where the line to the target breaks amid it, it is read again from there.
        """
        return stream_of(self.argv("dump", "--no-lock", snapshot_id, path), env=self.environment(), where=self.where)

    def ls(self, snapshot_id: str) -> list[dict[str, Any]]:
        """Return the nodes of a snapshot, as restic describes them."""
        return list(self.nodes(snapshot_id))

    def nodes(self, snapshot_id: str) -> Iterator[dict[str, Any]]:
        """Return the nodes of a snapshot, of which there may be millions, one after the other."""
        argv = self.argv("ls", "--no-lock", "--json", snapshot_id)
        with stream_of(argv, env=self.environment(), where=self.where, doing="listing a snapshot") as chunks:
            yield from nodes_of(chunks)

    # -- proving ------------------------------------------------------------------------------------

    def check(self, *, read_data_subset: str | None = None) -> Checked:
        """Look for damage: the structure, and with `read_data_subset` ("2/10", "5%") a decrypted part.

        Damage is a result. Raises when the check could not be made: nothing was opened, or not all was given.
        """
        argv = ["check", "--no-lock"]
        argv += [f"--read-data-subset={read_data_subset}"] if read_data_subset else []
        done, events = self._run(*argv)
        if done.code not in (0, 1) or (done.code and not events.errors and not events.summary.get("broken_packs")):
            raise failure(done.code, events, where=self.where, doing="the check")
        refuse_withheld((text for _, text in events.errors), where=self.where, doing="the check")
        return checked_of(done.code, events)

    def indexed(self, ids: Collection[str]) -> Index:
        """Return what these index files of the repository name. One restic process for each; a file never changes."""
        packs = {}
        for pack in self._indexed_packs(sorted(ids)):
            ends = [blob["offset"] + blob["length"] for blob in pack.get("blobs", [])]
            packs[pack["id"]] = max(ends, default=0)
        return Index(packs, tuple(sorted(ids)))

    def find_pack(self, pack_ids: Sequence[str]) -> set[str]:
        """Return the ids of the snapshots that need any of these packs.

        By what the index says is in them, as a damaged pack cannot be asked.
        """
        blobs: dict[str, list[str]] = {"data": [], "tree": []}
        for pack in self._indexed_packs(self._index_ids()) if pack_ids else ():
            for blob in pack.get("blobs", []) if pack["id"] in pack_ids else ():
                blobs[blob["type"]].append(blob["id"])
        return self._needing("--blob", blobs["data"]) | self._needing("--tree", blobs["tree"])

    def unneeded_packs(self, *, timeout: float) -> set[str]:
        """Return packs that no snapshot here needs, each by the first eight digits of its id: all that restic says.

        By restic's own walk of every tree, as before a prune, changing and locking nothing. `DrError` when it takes
        more than `timeout` seconds, or the repository is not whole.
        """
        argv = self.argv("prune", "--dry-run", "--no-lock", "--max-unused=unlimited", "-v")
        heed = Tries(self.where)
        done = command.run(argv, env=self.environment(), timeout=timeout, death="INT", heed=heed)
        if done.code != 0:
            events = Events()
            events.feed_all(done.stderr)
            raise failure(done.code, events, where=self.where, doing="finding what is needed")
        return unneeded_of(done.stdout.decode("utf-8", "replace"))

    def lacking(self, checked: Checked) -> set[str]:
        """Return the ids of the snapshots that need what a check found no index to name.

        Where nothing at all is said of what it lacks, nothing can be told apart: `DrError`.
        """
        if not (checked.clean or checked.blobs or checked.trees or checked.missing or checked.truncated):
            raise DamageError("the check does not say what is lacking", self.where, hint="see `restic check`")
        found = self._needing("--blob", checked.blobs)
        for start in range(0, len(checked.trees), 500):
            done, _ = self._run("find", "--no-lock", "--tree", *checked.trees[start : start + 500])
            found |= snapshots_in(done)
        return found

    def repair_index(self) -> None:
        """Make the index anew of what the packs themselves say they hold, and remove index files that are of no use."""
        self._call("repair", "index", doing="repairing the index")

    def repair_packs(self, packs: Sequence[str], *, cwd: Path) -> None:
        """Store again what is whole in spoilt packs, and remove them. Leaves a copy of each in `cwd`."""
        done, events = self._run("repair", "packs", *packs, cwd=cwd)
        if done.code != 0:
            raise failure(done.code, events, where=self.where, doing="salvaging packs")

    def repair_snapshots(self, ids: Sequence[str]) -> None:
        """Leave out of these snapshots what is lost. What is changed has a new id, and no mark that says so."""
        self._call("repair", "snapshots", "--forget", *ids, doing="repairing snapshots")

    def mark(self, snapshot_id: str, **tags: str) -> None:
        """Add tags of ours to a snapshot, which gives it a new id."""
        added = [f"--add=dr-{key}={value}" for key, value in tags.items()]
        self._call("tag", *added, snapshot_id, doing="marking a snapshot")

    def index_files(self) -> dict[str, set[str]]:
        """Return which packs each index file names. One restic process for each."""
        return {index: {pack["id"] for pack in self._indexed_packs([index])} for index in self._index_ids()}

    def _index_ids(self) -> tuple[str, ...]:
        done = self._call("list", "--no-lock", "index", doing="listing the index")
        return tuple(line.decode() for line in done.stdout.split())

    def _indexed_packs(self, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
        for index in ids:
            body = json.loads(self._call("cat", "--no-lock", "index", index, doing="reading the index").stdout)
            yield from body.get("packs", [])

    def _needing(self, kind: str, ids: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for start in range(0, len(ids), 500):
            done, events = self._run("find", "--no-lock", kind, *ids[start : start + 500])
            if done.code != 0:
                raise failure(done.code, events, where=self.where, doing="finding what a pack holds")
            found |= snapshots_in(done)
        return found

    # -- mechanism ----------------------------------------------------------------------------------

    def environment(self) -> dict[str, str]:
        """Return the whole environment of a restic process: what it needs, and no stray secrets."""
        kept = {key: os.environ[key] for key in _KEEP_ENV if key in os.environ}
        own = {
            "RESTIC_REPOSITORY": self.location,
            "RESTIC_CACHE_DIR": str(self.cache),
            "RESTIC_PROGRESS_FPS": "2" if activity.watched() else "0.2",
        }
        return {**kept, **own, **self.limits.env, **self.env}

    def argv(self, *arguments: str) -> list[str]:
        """Return the full command line, which holds no secret."""
        options = [part for option in self.options for part in ("-o", option)]
        stuck = f"--stuck-request-timeout={retry.budget():.0f}s"
        limits = self.limits.options(arguments[0] if arguments else "")
        return [self.program, "--json", f"--retry-lock={LOCK_WAIT}", stuck, *limits, *options, *arguments]

    def tags_of(self, tags: Mapping[str, str]) -> list[str]:
        """Return the arguments that mark a snapshot as ours."""
        pairs = ["dr", *(f"dr-{key}={value}" for key, value in tags.items())]
        return ["--host", self.host, *(f"--tag={pair}" for pair in pairs)]

    def _run(
        self,
        *arguments: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        expected: Expected | None = None,
    ) -> tuple[command.Done, Events]:
        events, lines, room = Events(), [], Room(self.cache, self.location, self.where)

        def take(line: str) -> None:
            if line.startswith(STATUS):
                room.heed(line)
                told(line, expected)
                return
            lines.append(line)
            if len(lines) < 10_000:
                events.feed(line)

        own, heed = env or self.environment(), Tries(self.where)
        done = self.runner(self.argv(*arguments), env=own, cwd=cwd, on_line=take, death="INT", heed=heed)
        if lines:
            events.feed(lines[-1])
        events.feed_all(done.stderr)
        events.given_up = heed.gave_up
        self.locks_left.update(events.locks_left)
        text = "\n".join(lines).encode("utf-8", "surrogateescape")
        return command.Done(done.argv, done.code, text, done.stderr, done.seconds), events

    def _call(self, *arguments: str, doing: str, tries: int = retry.TRIES) -> command.Done:
        def once() -> command.Done:
            own, heed = self.environment(), Tries(self.where)
            done = command.run(self.argv(*arguments), env=own, death="INT", heed=heed)
            if done.code != 0:
                events = Events(given_up=heed.gave_up)
                events.feed_all(done.stderr)
                raise failure(done.code, events, where=self.where, doing=doing)
            return done

        return retry.persist(once, what=self.where, tries=tries)

    def _json(self, *arguments: str, doing: str, env: Mapping[str, str] | None = None) -> dict[str, Any]:
        whole = {**self.environment(), **env} if env else None

        def once() -> dict[str, Any]:
            done, events = self._run(*arguments, env=whole)
            if done.code != 0:
                raise failure(done.code, events, where=self.where, doing=doing)
            return events.summary

        return retry.persist(once, what=self.where)


def make_if_absent(repository: Repository, *, exists: Callable[[], bool]) -> str:
    """Make the repository unless `exists` says that it is there; return its id where it was made now, else "".

    Two makers at once: the loser finds the winner's.
    """
    if exists():
        return ""
    try:
        return repository.init()
    except (TargetDownError, NoRepositoryError):
        raise
    except DrError:
        if exists():
            return ""
        raise
