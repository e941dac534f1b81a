"""Which files the points of a system hold: one folder of one point, the versions of a name over all points, and what
changed from one point to another. Answered from the index of files, which is brought up to date from the targets first.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Self

from dr.catalog.file_index import FileIndex, Indexed
from dr.errors import DrError, UsageError
from dr.evidence import manifest
from dr.evidence.file_version import Difference, Found, Version
from dr.evidence.record import Point
from dr.late_dataclass import dataclass
from dr.plan.declarations import Loaded
from dr.queries.file_changes import compared, content_of, found_of, same, within
from dr.report.phrases import writable
from dr.run.recovery.checks.pattern import in_all_points
from dr.run.recovery.selected import outermost, pattern_of, tops_of
from dr.session import Session

#: Of so many indexed points one may be gone before the versions that only those had are thrown away.
_STALE = 5


@dataclass(frozen=True)
class Asked:
    """What a person asked of: one point (of this run, or the newest at a time), one source, one target, or any."""

    source: str | None = None
    point: str | None = None
    at: datetime | None = None
    target: str | None = None


class Files:
    """The files of one system's points; a context that holds the index open.

    `say` hears what could not be brought up to date: an answer then rests on what is known. Raises `CatalogError` when
    the index cannot be used, `UsageError` for a point or source that there is not, `DrError` where nothing matches.
    """

    def __init__(self, session: Session, loaded: Loaded, *, say: Callable[[str, DrError], None]) -> None:
        self._session, self._loaded, self._say = session, loaded, say
        found = session.points(loaded)
        self._none = not found
        points = (point for point in found if any(_readable(point, source) for source in point.kinds))
        self._points = {point.run_id: point for point in points}
        self._destroyed = any(copy.destroyed for point in found for copy in point.copies)

    def __enter__(self) -> Self:
        """Open the index."""
        self._index = FileIndex(self._session.state, self._loaded.plan.system)
        self._index.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self._index.__exit__(*_)

    # -- the questions ------------------------------------------------------------------------------

    def point(self, asked: Asked) -> Point:
        """Return the point that is meant. Raises `DrError` where there is none."""
        self.require(asked)
        points = [point for point in self._points.values() if self._has(point, asked)]
        if asked.point is not None:
            if asked.point not in self._points:
                raise UsageError(
                    f"there is no recovery point {asked.point!r}",
                    self._loaded.plan.system,
                    hint=f"see them with `dr points {self._loaded.plan.system}`",
                )
            points = [self._points[asked.point]]
        elif asked.at is not None:
            points = [point for point in points if point.consistency_time <= asked.at]
        if not points:
            raise DrError(
                "there is no recovery point of that time, source and target",
                self._loaded.plan.system,
                hint=f"see them with `dr points {self._loaded.plan.system}`",
            )
        return max(points, key=lambda point: point.consistency_time)

    def require(self, asked: Asked) -> None:
        """Raise `DrError` where nothing is on record, or can be read any more, or no point has the source or target."""
        system = self._loaded.plan.system
        if self._none:
            raise DrError(
                "there is no recovery point yet", system,
                hint="run `dr backup`, or `dr points rebuild` if the catalog is new",
            )  # fmt: skip
        if self._destroyed and not self._points:
            raise DrError(
                "no file of it can be listed or brought back: its keys were destroyed", system,
                hint="see when in `dr report`, which lists what was done",
            )  # fmt: skip
        if asked.source and not any(asked.source in point.kinds for point in self._points.values()):
            raise UsageError(
                f"no recovery point has a source {asked.source!r}", system,
                hint=f"the plan's: {', '.join(self._loaded.plan.pattern_bases)}",
            )  # fmt: skip
        held = sorted({copy.target for point in self._points.values() for copy in point.copies})
        if held and asked.target is not None and asked.target not in held:
            raise UsageError(
                f"no recovery point lies on a target {asked.target!r}", system, hint=f"they lie on: {', '.join(held)}"
            )

    def lists(self, point: Point, source: str | None = None) -> bool:
        """Whether the files of a point can be told: of those of an attacked target, say, only a view of its past can.

        Why they cannot is told.
        """
        try:
            for name in [source] if source else point.kinds:
                self._seq(point, name)
        except UsageError:
            raise
        except DrError as error:
            self._say("what the paths hold is not known before the recovery", error)
            return False
        return True

    def by_time(self) -> list[Point]:
        """Return all points, the oldest first."""
        return sorted(self._points.values(), key=lambda point: point.consistency_time)

    def names(self, run_id: str) -> bool:
        """Whether there is a point of this run."""
        return run_id in self._points

    def listed(self, point: Point, path: str | None, source: str | None = None) -> Iterator[Found]:
        """Yield what lay at a path in a point: the entries of a folder, or one entry. Without a path, the roots.

        A path is absolute, or relative to what the plan declares. Raises `DrError`, with the nearest names, where
        nothing lay there.
        """
        there, names = path is None, [source] if source else sorted(point.kinds)
        for name in names:
            seq = self._seq(point, name)
            if path is None:
                yield from self._roots(seq, name)
            elif (entries := self._at(seq, name, path)) is not None:
                there = True
                yield from entries
        if not there:
            raise self._nothing(point, path or "", names)

    def selected(self, point: Point, paths: Sequence[str], source: str | None = None) -> Generator[Found, None, None]:
        """Yield the entries of a point that a recovery of these paths would bring back; each once.

        Only the folders are read that the paths begin with. Raises `UsageError`, with the nearest names, in the end
        where the point holds nothing at one of them.
        """
        lacking = dict.fromkeys(paths)
        names = [source] if source else sorted(point.kinds)
        for name in names:
            seq, bases = self._seq(point, name), self._bases(name)
            whole, one_by_one = pattern_of(bases, paths), {path: pattern_of(bases, [path]) for path in paths}
            for top in outermost(top for path in paths for top in tops_of(bases, path)):
                for entry in self._at_and_below(seq, name, top):
                    bare = entry.path.lstrip(b"/")
                    if whole.fullmatch(bare):
                        for path in [path for path in lacking if one_by_one[path].fullmatch(bare)]:
                            del lacking[path]
                        yield entry
        for path in lacking:
            error = self._nothing(point, path, names)
            raise UsageError(error.what, error.where, hint=error.hint)

    def _at_and_below(self, seq: int, source: str, top: bytes) -> Iterator[Found]:
        """Yield the entry of a path, and all below it."""
        entry = self._index.at_path(seq, source, top)
        if entry is not None:
            yield entry
        if entry is None or entry.kind == "dir":
            yield from self._index.below(seq, source, top)

    def versions(
        self, pattern: str, *, any_case: bool = False, since: datetime | None = None, source: str | None = None
    ) -> list[Version]:
        """Return every version of the names that match, the newest first; each content of a name once.

        A pattern without `/` is held against the last part of a name, another against the whole path. Raises `DrError`
        where no point can be read any more, or none has the source.
        """
        self.require(Asked(source=source))
        self.bring_up_to_date()
        whole = "/" in pattern
        wanted = pattern if not whole or pattern.startswith(("/", "*")) else f"*/{pattern}"
        glob, exact = in_all_points(wanted, any_case=any_case)
        found = self._index.matching(glob, whole=whole, any_case=any_case)
        named = (
            entry
            for entry in found
            if exact.fullmatch(os.fsdecode(entry.path if whole else entry.path.rpartition(b"/")[2]))
        )
        versions = self._versions_of(named, source)
        return [version for version in versions if since is None or version.last_seen >= since]

    def _versions_of(self, entries: Iterator[Found], source: str | None = None) -> list[Version]:
        """Return what entries of any names make: each content of a name once, the newest first."""
        known = self._known()
        found: dict[tuple[str, bytes, object], list[tuple[Found, list[Indexed]]]] = {}
        for entry in entries:
            held = [each for each in known.get(entry.source, ()) if within(entry, each.seq)]
            if held and source in (None, entry.source):
                found.setdefault((entry.source, entry.path, content_of(entry)), []).append((entry, held))
        versions = [_version(spans) for spans in found.values()]
        return sorted(versions, key=lambda each: (each.last_seen, each.first_seen, each.entry.path), reverse=True)

    def differences(self, one: Point, two: Point, source: str | None = None) -> list[Difference]:
        """Return what changed from one point to a later one, by path."""
        found: list[Difference] = []
        for name in [source] if source else sorted(one.kinds.keys() & two.kinds.keys()):
            entries = self._index.changed(name, self._seq(one, name), self._seq(two, name))
            found += compared(name, entries, before=self._seq(one, name))
        return found

    def since_then(self, point: Point, source: str | None = None) -> list[Difference]:
        """Return what changed from a point to what lies there now, which is listed and hashed as by a backup.

        A source that is not one of files is left out, and that is told; named, or where there is no other, it raises
        `UsageError`.
        """
        found: list[Difference] = []
        of_files = [name for name in point.kinds if point.kinds[name] == "files"]
        for name in [source] if source else sorted(point.kinds):
            seq = self._seq(point, name)
            try:
                found += compared(name, self._beside_live(seq, name), before=seq)
            except UsageError as error:
                if source or not of_files:
                    raise
                self._say(f"the source {name} is left out", error)
        return found

    def _beside_live(self, seq: int, source: str) -> Iterator[Found]:
        """Yield what a point holds that is not there now as it was, and what is there now that it does not hold."""
        import tempfile

        from dr.sources.driver import Tree

        with tempfile.TemporaryDirectory(prefix="live-", dir=self._index.folder) as folder:
            driver = self._session.toolbox(self._loaded).source(source)
            captured = driver.capture(Path(folder), self._index.last(source)) if driver.kind == "files" else None
            if not isinstance(captured, Tree):
                raise UsageError(
                    f"what lies in the source {source!r} now cannot be compared file by file", self._loaded.plan.system,
                    hint="name a source of files with --source; a database is compared by `dr drill`",
                )  # fmt: skip
            live = {entry.path: entry for entry in manifest.read(captured.cwd / captured.manifest_name)}
        for was in self._index.everything(seq, source):
            now = live.pop(was.path, None)
            if now is None or not same(was, now):
                yield replace(was, last=seq)
                yield from [found_of(source, seq + 1, now)] if now else ()
        yield from (found_of(source, seq + 1, entry) for entry in live.values())

    def nearest(self, text: str) -> list[str]:
        """Return names that are like a text, the likest first."""
        wanted = text.rstrip("/").rpartition("/")[2].strip("*?")
        import difflib

        near = difflib.get_close_matches(wanted, self._index.names_like(wanted, 20_000), n=3, cutoff=0.5)
        return [writable(name) for name in near]

    # -- the index ----------------------------------------------------------------------------------

    def bring_up_to_date(self) -> None:
        """Take in the manifests of the points that the index does not have, from the targets.

        What cannot be brought is told, and left out.
        """
        known = {(each.source, each.run_id) for each in self._index.points()}
        lacking: dict[str, list[Point]] = {}
        for point in sorted(self._points.values(), key=lambda point: point.consistency_time):
            for source in point.kinds:
                if (source, point.run_id) not in known and _readable(point, source):
                    lacking.setdefault(source, []).append(point)
        for source, points in lacking.items():
            self._take_in(source, points)
        stale = {run_id for _, run_id in known} - self._points.keys()
        if len(stale) * _STALE > len(known):
            self._index.keep_only(self._points)

    def _take_in(self, source: str, points: Sequence[Point]) -> None:
        """Take in points of a source, by time; all of the source again where one is older than what was taken in."""
        from dr.run.points.manifests import Manifests

        newest = max((each.at for each in self._index.points() if each.source == source), default=None)
        if newest is not None and points[0].consistency_time < newest:
            self._index.forget_source(source)
            points = [p for p in self.by_time() if source in p.kinds and _readable(p, source)]
        brought = Manifests(self._session.toolbox(self._loaded))
        import tempfile

        with tempfile.TemporaryDirectory(prefix="index-", dir=self._index.folder) as folder:
            for point in points:
                listed = Path(folder) / "manifest"
                try:
                    brought.bring(point, source, listed)
                    self._index.take_in(source, point.run_id, point.consistency_time, listed)
                except DrError as error:
                    self._say(f"the files of the point {point.run_id} ({source}) are not known", error)
                listed.unlink(missing_ok=True)

    def _known(self) -> dict[str, list[Indexed]]:
        """Return the indexed points that are on record, by source, the newest first."""
        known: dict[str, list[Indexed]] = {}
        for each in reversed(self._index.points()):
            if each.run_id in self._points:
                known.setdefault(each.source, []).append(each)
        return known

    def _seq(self, point: Point, source: str) -> int:
        """Return the number of a point in the index, taken in now where it is not there yet."""
        if source not in point.kinds:
            raise UsageError(
                f"the point {point.run_id} has no source {source!r}", point.system,
                hint=f"its sources: {', '.join(sorted(point.kinds))}",
            )  # fmt: skip
        seq = self._index.seq_of(source, point.run_id)
        if seq is None:
            self.bring_up_to_date()
            seq = self._index.seq_of(source, point.run_id)
        if seq is None:
            raise DrError(
                f"the files of the point {point.run_id} ({source}) cannot be listed: its manifest could not be read",
                point.system,
                hint="see what is wrong with the targets by `dr doctor`, or name another point",
            )
        return seq

    def _has(self, point: Point, asked: Asked) -> bool:
        sources = point.kinds if asked.source is None else {asked.source} & point.kinds.keys()
        return any(_readable(point, source, asked.target) for source in sources)

    def _roots(self, seq: int, source: str) -> list[Found]:
        """Return what a source holds at the top: what is in its folder where it has one, else its files or folders."""
        entries: list[Found] = []
        for folder in self._index.top_folders(seq, source):
            entries += self._index.entries(seq, source, folder)
        if len(entries) == 1 and entries[0].kind == "dir":
            return list(self._index.entries(seq, source, entries[0].path)) or entries
        return entries

    def _at(self, seq: int, source: str, path: str) -> Iterator[Found] | None:
        """Return what is in the folder of that path, or the one entry; None where the source holds nothing there."""
        wanted = path.encode("utf-8", "surrogateescape").rstrip(b"/") or b"/"
        for root in [b""] if wanted.startswith(b"/") else self._starts(source):
            at = wanted if wanted.startswith(b"/") else root.rstrip(b"/") + b"/" + wanted
            entry = self._index.at_path(seq, source, at)
            if entry is not None and entry.kind != "dir":
                return iter([entry])
            entries = self._index.entries(seq, source, at)
            first = next(entries, None)
            if first is not None:
                return chain([first], entries)
            if entry is not None:
                return iter(())
        return None

    def _starts(self, source: str) -> list[bytes]:
        """Return what a relative path starts from: the declared paths of files, else the top."""
        return [path.encode("utf-8", "surrogateescape") for path in self._bases(source)]

    def _bases(self, source: str) -> tuple[str, ...]:
        return self._loaded.plan.pattern_bases.get(source, ("/",))

    def _nothing(self, point: Point, path: str, sources: Sequence[str]) -> DrError:
        near, last = self.nearest(path), path.rstrip("/").rpartition("/")[2]
        hint = f"names like it: {', '.join(near)}" if near else f"see what is there with `dr ls {point.system}`"
        if last in near:
            typed = shlex.join(["dr", "find", point.system, last])
            hint = f"there is a {last!r} elsewhere: see its whole path with `{typed}`"
        return DrError(
            f"the point {point.run_id} holds nothing at {path!r} in {', '.join(sources)}", point.system, hint=hint
        )


def _version(spans: Sequence[tuple[Found, Sequence[Indexed]]]) -> Version:
    """Return one version of the spans of one content: with another owner or time between them it is the same."""
    points = sorted({each for _, within in spans for each in within}, key=lambda each: each.seq, reverse=True)
    newest = max((entry for entry, _ in spans), key=lambda entry: entry.first)
    return Version(newest, points[-1].at, points[0].at, tuple(each.run_id for each in points))


def _readable(point: Point, source: str, target: str | None = None) -> bool:
    """Whether a copy of it may be read: also of a point that is incomplete, as a person may name it."""
    copies = [copy for copy in point.copies if not copy.destroyed and not copy.missing and source in copy.snapshots]
    return any(target in (None, copy.target) for copy in copies)
