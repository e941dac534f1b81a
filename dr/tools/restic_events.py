"""What restic says, typed: its JSON lines, its exit codes, and what they mean for us.

A line that is no JSON is a message, never a crash (restic mixes plain text into its JSON).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Any, NamedTuple

from dr.errors import (
    DamageError,
    DrError,
    InterruptedRunError,
    LockedError,
    NoRepositoryError,
    RefusedError,
    TargetDownError,
)
from dr.late_dataclass import dataclass
from dr.tools import activity, command, restic_tries, service_refusals, web_page
from dr.tools.s3_actions import denied, denied_to_restic

#: Exit codes of restic >= 0.17 (its manual, "Exit codes").
INCOMPLETE, NO_REPOSITORY, LOCKED, WRONG_PASSWORD, INTERRUPTED = 3, 10, 11, 12, 130

#: How a line begins that says how far restic is.
STATUS = '{"message_type":"status"'

_LOCK_LEFT = re.compile(r"Remove\(<lock/\w+>\) failed: (.+)")
_PACK = r"pack ([0-9a-f]{64}):? "


@dataclass(frozen=True)
class Snapshot:
    """One snapshot as the repository lists it; `tags` holds our `key=value` tags.

    `bytes` and `files` are what restic counted when it made it; None where it did not say.
    """

    id: str
    time: datetime
    paths: tuple[str, ...]
    tags: dict[str, str]
    bytes: int | None
    files: int | None
    hostname: str = ""


@dataclass(frozen=True)
class Stored:
    """What one backup stored. `unreadable` names what restic could not read; `dirs` counts those above paths too.

    `bytes_added` is what the repository grew by, `raw_added` the same before compression.
    """

    snapshot_id: str
    files: int
    bytes: int
    bytes_added: int
    unreadable: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()  # declared paths that restic did not find
    raw_added: int = 0
    dirs: int = 0
    gaps: bool = False  # restic left something out because what it reads of the snapshot before is damaged


class Expected(NamedTuple):
    """How many files and bytes a backup is about to find, by who has just walked them."""

    files: int
    bytes: int


@dataclass(frozen=True)
class Restored:
    """What one restore wrote; `errors` names each item that could not be restored whole."""

    files: int
    bytes: int
    errors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checked:
    """What `restic check` found. `missing` and `truncated` are pack ids (size got, size expected).

    `blobs` and `trees` are what snapshots need and no index names; `index_broken`: an index file cannot be read, and
    nothing else was looked at. `unread` index files are those.
    """

    code: int
    errors: tuple[str, ...] = ()
    broken_packs: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    truncated: dict[str, tuple[int, int]] = field(default_factory=dict)
    blobs: tuple[str, ...] = ()
    trees: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    index_broken: bool = False

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return self.code == 0 and not self.errors


@dataclass(frozen=True)
class Index:
    """What the repository's index names: packs with their stored size, and the index files read."""

    packs: dict[str, int]
    indexes: tuple[str, ...]


@dataclass
class Events:
    """A collector for one restic process: typed events in, summary and complaints out."""

    summary: dict[str, Any] = field(default_factory=dict)
    errors: list[tuple[str, str]] = field(default_factory=list)  # item, message
    messages: list[str] = field(default_factory=list)
    fatal: str = ""
    #: Operations that failed and did not work since: the last cause of each.
    failing: dict[str, str] = field(default_factory=dict)
    #: Whether we ended it, since another try could not help, or its tries were too many.
    given_up: bool = False
    _rclone: str = ""

    def feed(self, line: str) -> None:
        """Take one line of stdout or stderr."""
        event = _json(line)
        kind = event.get("message_type") if event is not None else None
        if event is None or kind is None:
            self._rclone = restic_tries.said_by_rclone(line) or self._rclone
            if found := restic_tries.try_of(line):
                self.failing[found.doing] = restic_tries.cause_of(found, self._rclone)
            elif worked := restic_tries.worked(line):
                self.failing.pop(worked, None)
            if line.strip():
                self.messages.append(line.strip())
        elif kind in ("summary", "initialized"):
            self.summary = event
        elif kind == "error":
            self.errors.append((str(event.get("item", "")), _error_text(event)))
        elif kind == "exit_error":
            said = str(event.get("message", "")).removeprefix("Fatal: ")
            self.fatal = _STACK.split(said, maxsplit=1)[0].strip()

    def feed_all(self, text: bytes) -> None:
        """Take many lines."""
        for line in text.decode("utf-8", "replace").splitlines():
            self.feed(line)

    @property
    def locks_left(self) -> list[str]:
        """Why restic could not remove its own lock in the end, which it ends well with all the same."""
        return [found[1].strip() for message in self.messages if (found := _LOCK_LEFT.match(message))]

    @property
    def complaint(self) -> str:
        """The most telling words there are, in one line of at most 300 characters."""
        last = self.messages[-1].removeprefix("Fatal: ") if self.messages else ""
        crash = next(filter(_CRASH.match, self.messages), "")  # what follows are the lines of restic's own program
        texts = [self.fatal, crash, *(text for _, text in self.errors[:1]), last]
        return " ".join(next((x for x in texts if x), "no reason given").split())[:300]


_CRASH = re.compile(r"fatal error: |panic: ")
_NO_MEMORY = re.compile(r"out of memory|cannot allocate memory|failed to reserve \w+ ?\w* memory", re.IGNORECASE)
_MEMORY = "free some memory, or take something else off this host: see the kernel's log (`dmesg`)"


def told(line: str, expected: Expected | None = None) -> None:
    """Pass on how far restic says it is: bytes and files of a backup or a restore. Names of files are left out.

    `expected` is of how much, where restic does not count that itself.
    """
    if activity.watched() and (event := _json(line)) is not None:
        done, files = (event.get("bytes_done", event.get("bytes_restored")), event.get("files_done"))
        activity.progress(
            done or 0,
            expected.bytes if expected else event.get("total_bytes"),
            files=files if files is not None else event.get("files_restored"),
            total_files=expected.files if expected else event.get("total_files"),
        )


#: Where restic goes on with the lines of its own program.
_STACK = re.compile(r"\n(?:main\.|github\.com/|runtime\.)")


def _json(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _error_text(event: dict[str, Any]) -> str:
    error = event.get("error")
    nested = error.get("message") if isinstance(error, dict) else None
    return str(nested or event.get("message") or error or "").strip()


_CONFIG = re.compile(
    r"config file has zero size|unable to (?:load|open) config.*(?:ciphertext|invalid)|config or key \w+ is damaged",
    re.IGNORECASE,
)
_DOWN = re.compile(
    r"connection refused|no such host|i/o timeout|network is unreachable|no route to host|"
    r"connection reset|server misbehaving|tls handshake|unexpected eof|service unavailable|"
    r"internal ?error|context deadline exceeded|broken pipe|use of closed network connection|"
    r"connection lost|ssh command exited: exit status 255|unable to start the sftp session|request timeout",
    re.IGNORECASE,
)
_DAMAGE = re.compile(
    r"ciphertext verification failed|invalid data returned|does not match|is damaged|hash mismatch|"
    r"unexpected file size|not found in (repository|index)|unknown blob [0-9a-f]|no such key|does not exist|"
    r"file does not exist",
    re.IGNORECASE,
)


def failure(code: int, events: Events, *, where: str, doing: str) -> DrError:
    """Return what a failed process deserves. One that failed because we are stopping was interrupted."""
    if command.stopping():
        return InterruptedRunError(f"{doing} was interrupted", where, hint="start the command again")
    return error_for(code, events, where=where, doing=doing)


def error_for(code: int, events: Events, *, where: str, doing: str) -> DrError:
    """Return the error that a failed restic process deserves, knowing whether another try can help.

    An exit code restic does not document is a failure like any other.
    """
    cause = events.complaint
    heard = " ".join([events.fatal, *(text for _, text in events.errors), *events.messages])
    if code == WRONG_PASSWORD and not events.failing:  # else its keys could not be listed, or read
        return RefusedError(
            "the passphrase does not open the repository",
            where,
            hint="put back the one that made it: in the plan's secrets.passphrase, or from your copy of STATE/secrets; "
            "a system or target that was renamed needs its old name, by which its passphrase is kept",
        )
    if events.failing and (events.given_up or code in (INTERRUPTED, -2, -9) or _CANCELLED in heard):
        causes = list(events.failing.values())  # what failed first was given up, unless another cannot change at all
        why = " ".join(next(filter(restic_tries.is_permanent, causes), causes[0]).split())[:300]
        given_up = _by_words(why, where=where, doing=doing, cause=why)
        given_up.retryable = False  # the budget is spent, or no other try can help
        return given_up
    if code in (INTERRUPTED, -2, -15):
        return InterruptedRunError(f"{doing} was interrupted", where, hint="start the command again")
    if code == -9 or _NO_MEMORY.search(cause):
        how = "was killed, as the kernel does where memory runs out" if code == -9 else "found no memory"
        return DrError(f"{doing} failed: restic {how}", where, "" if code == -9 else cause, hint=_MEMORY)
    if code == LOCKED:
        return LockedError(
            "the repository is locked by another program", where, cause, hint="wait for it to end", retryable=True
        )
    if restic_tries.GONE.search(heard):
        hint = "make it with `dr target create`, or correct its name"
        return TargetDownError("there is no such bucket", where, cause, hint=hint)
    if web_page.HEARD.search(heard):
        return _by_words(heard, where=where, doing=doing, cause=cause)
    if code == NO_REPOSITORY and not _DOWN.search(heard):
        return NoRepositoryError("there is no repository here", where, hint="the first backup makes one")
    return broken_off(events, where=where, doing=doing) or _by_words(heard, where=where, doing=doing, cause=cause)


#: What restic says of what it was doing when it was asked to stop.
_CANCELLED = "context canceled"


#: What a line that broke leaves: never what a stored object that is too short does, of which restic says just that.
_BROKE = re.compile(rf"{_DOWN.pattern}|ssh command exited", re.IGNORECASE)


def broken_off(events: Events, *, where: str, doing: str) -> DrError | None:
    """Return the error of a process that lost its line to the target; None where anything else ails it too.

    restic tells of each file then that it is not whole, which says nothing of what is stored. So it is with what the
    target did not give for a reason that lasts, such as keys that expired amid it, or an archive.
    """
    causes, complaints = list(events.failing.values()), [events.fatal, *(text for _, text in events.errors)]
    kept = [*filter(restic_tries.is_permanent, causes), *filter(restic_tries.ARCHIVED.search, complaints)]
    if kept:
        return _by_words(kept[0], where=where, doing=doing, cause=kept[0][:300])
    if not causes or not all(map(_BROKE.search, causes)) or any(map(_DAMAGE.search, complaints)):
        return None
    return TargetDownError(
        f"{doing} failed: the connection to the target broke",
        where,
        " ".join(causes[0].split())[:300],
        hint="check the network and the service, then try again",
        retryable=True,
    )


def _by_words(heard: str, *, where: str, doing: str, cause: str) -> DrError:
    if web_page.HEARD.search(heard):
        return web_page.error("a repository", where, cause)
    if _CONFIG.search(heard):
        return DamageError(
            f"{doing} failed: the repository's `config` is damaged",
            where,
            cause,
            hint="put back the `config` of another copy of this repository, or let `dr target rewind` do it where the "
            "bucket keeps versions; until then recover from another copy with --target",
        )
    if restic_tries.READ_ONLY.search(heard):
        return DrError(
            f"{doing} failed: the target's disk is read-only", where, cause, hint="see why, and mount it for writing"
        )
    if restic_tries.CERTIFICATE.search(heard):
        return TargetDownError(
            f"{doing} failed: the target's certificate is not trusted",
            where,
            cause,
            hint="name its authority's certificate under `ca_file`, or correct the endpoint, or the certificate",
        )
    if restic_tries.SPACE.search(heard):
        return DrError(f"{doing} failed: the disk is full", where, cause, hint="free some space, then try again")
    if restic_tries.ARCHIVED.search(heard):
        what = f"{doing} failed: objects lie in an archive"
        return TargetDownError(what, where, cause, hint=restic_tries.ARCHIVED_HINT)
    if action := denied_to_restic(heard):
        return denied(action, where, cause)
    if refused := service_refusals.refusal(heard, where=where, doing=doing, cause=cause):
        return refused
    if refused := service_refusals.withheld(cause, where=where, doing=doing):
        return refused
    if restic_tries.REFUSED.search(heard):
        return RefusedError(
            "the target refused the credentials", where, cause, hint="check the target's key pair and its rights"
        )
    if _DOWN.search(heard):
        return TargetDownError(
            f"{doing} failed: the target does not answer",
            where,
            cause,
            hint="check the network and the service, then try again",
            retryable=True,
        )
    if _DAMAGE.search(heard):
        return DamageError(
            f"{doing} failed: stored data is damaged",
            where,
            cause,
            hint="run `dr verify --level 2` to name the damaged objects, and use another point or target",
        )
    return DrError(f"{doing} failed", where, cause, hint="run again with -v to see all that restic says")


def snapshot_of(item: Mapping[str, Any]) -> Snapshot:
    """Return what one item of restic's list of snapshots says."""
    pairs = (tag.partition("=") for tag in item.get("tags") or [])
    summary = item.get("summary") or {}
    return Snapshot(
        id=item["id"],
        time=datetime.fromisoformat(item["time"]),
        paths=tuple(item.get("paths") or ()),
        tags={key.removeprefix("dr-"): value for key, mark, value in pairs if mark},
        bytes=summary.get("total_bytes_processed"),
        files=summary.get("total_files_processed"),
        hostname=item.get("hostname", ""),
    )


#: Where a directory of the snapshot before cannot be loaded, restic leaves it out of the new one, and ends with 3.
_OWN_DAMAGE = "the repository could be damaged"


def stored_of(events: Events) -> Stored:
    """Return what a backup stored, by its events."""
    summary = events.summary
    skipped = [x.rpartition(" does not exist")[0] for x in events.messages if "does not exist, skipping" in x]
    # What an index that was mended no longer names is stored again: restic calls that an error, and it is none.
    told = [(item, text) for item, text in events.errors if "storing the file again" not in text]
    unreadable = [item or text for item, text in told if _OWN_DAMAGE not in text]
    return Stored(
        snapshot_id=str(summary["snapshot_id"]),
        files=int(summary.get("total_files_processed", 0)),
        bytes=int(summary.get("total_bytes_processed", 0)),
        bytes_added=int(summary.get("data_added_packed", summary.get("data_added", 0))),
        unreadable=tuple(unreadable),
        skipped=tuple(skipped),
        raw_added=int(summary.get("data_added", 0)),
        dirs=sum(int(summary.get(f"dirs_{how}", 0)) for how in ("new", "changed", "unmodified")),
        gaps=len(unreadable) < len(told),
    )


def checked_of(code: int, events: Events) -> Checked:
    """Return what a check found, by its exit code and events."""
    texts = [text for _, text in events.errors] + events.messages
    whole = "\n".join(texts)
    sizes = re.findall(_PACK + r"unexpected file size: got (\d+), expected (\d+)", whole)
    found = [text for text in texts if re.search(r"pack [0-9a-f]{8}|error|fail|damage", text)]
    return Checked(
        code,
        errors=tuple(found) if code else (),
        broken_packs=tuple(events.summary.get("broken_packs") or ()),
        missing=tuple(re.findall(_PACK + r"does not exist", whole)),
        truncated={pack: (int(got), int(want)) for pack, got, want in sizes},
        blobs=tuple(dict.fromkeys(re.findall(r"blob ([0-9a-f]{64}) not found in index", whole))),
        trees=tuple(dict.fromkeys(re.findall(r"id ([0-9a-f]{64}) not found in (?:repository|index)", whole))),
        unread=tuple(dict.fromkeys(re.findall(r"error loading index ([0-9a-f]{64})", whole))),
        # `suggest_repair_index` says less: two index files that name one pack, as in a late mirror, do no harm.
        index_broken=any(text in whole for text in ("error loading index", "repository index is damaged")),
    )


def unneeded_of(text: str) -> set[str]:
    """Return the packs, by the first eight digits, that a prune rehearsed with `-v` says it would remove.

    Raises `DrError` when its list is not there: nothing may then be taken for unneeded.
    """
    found = re.search(r"no longer used packs:\s*\{([0-9a-f\s]*)\}", text)
    if not found:
        raise DrError("restic does not say which packs are needed", hint="update restic, or this program")
    stray = re.search(r"following unreferenced packs:\s*\{([0-9a-f\s]*)\}", text)
    return {*found[1].split(), *(stray[1].split() if stray else ())}


def snapshots_in(found: command.Done) -> set[str]:
    """Return the snapshots in what restic found, and those that it could not search, which it says and ends with 0."""
    text = (found.stdout + found.stderr).decode("utf-8", "replace")
    return set(re.findall(r'(?:"snapshot":"|belongs to snapshot )([0-9a-f]{64})', text))
