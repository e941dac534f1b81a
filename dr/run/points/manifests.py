"""The manifests of points, brought from where their copies lie."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import field
from pathlib import Path

from dr.errors import DrError, InterruptedRunError
from dr.evidence.manifest_parts import take
from dr.evidence.record import Copy, Point
from dr.late_dataclass import dataclass
from dr.run.points.choose import ready
from dr.run.workspace.toolbox import Place, Toolbox
from dr.sources.driver import MANIFEST, Foretold


@dataclass
class Manifests:
    """Brings manifests from the targets of a system, each from the first copy that can be read.

    A target that does not answer is asked once. `target` names the one to use, and none is used in its place.
    """

    toolbox: Toolbox
    target: str | None = None
    down: dict[str, DrError] = field(default_factory=dict)
    _ready: set[str] = field(default_factory=set)

    def bring(self, point: Point, source: str, to: Path) -> None:
        """Write the manifest of one source of a point into a file.

        Raises `DrError` where no copy of it can be read; of several causes the first.
        """
        try:
            self._read(point, source, MANIFEST, lambda chunks: take(chunks, to))
        except DrError:
            to.unlink(missing_ok=True)
            raise

    def bring_beginning(self, point: Point, source: str, told: Foretold, to: Path) -> None:
        """Write the file by which a source of a point tells of its tables, or its beginning. Raises as `bring` does."""

        def keep(chunks: Iterator[bytes]) -> None:
            left = told.most
            with to.open("wb") as kept:
                for chunk in chunks:
                    kept.write(chunk[:left])
                    left -= len(chunk)
                    if left <= 0:
                        return

        self._read(point, source, told.file, keep, data=told.data)

    def _read(
        self, point: Point, source: str, file: str, act: Callable[[Iterator[bytes]], None], *, data: bool = False
    ) -> None:
        problems: list[DrError] = []
        for copy, place in self._copies(point, source):
            try:
                self._require(place)
                held = copy.snapshots[source]
                snapshot = held if data else copy.manifests.get(source, held)
                with place.repository.reading(snapshot, f"/{file}") as chunks:
                    act(chunks)
            except InterruptedRunError:
                raise
            except DrError as error:
                problems.append(error)
            else:
                return
        raise next(iter(problems), None) or DrError(
            f"no copy of the point {point.run_id} can be read",
            f"{point.system}: {source}",
            hint="see what is wrong with the targets by `dr doctor`",
        )

    def _copies(self, point: Point, source: str) -> Iterable[tuple[Copy, Place]]:
        places = {place.name: place for place in self.toolbox.everywhere}
        copies: Sequence[Copy] = [copy for copy in point.copies if not copy.destroyed and source in copy.snapshots]
        for copy in copies:
            if copy.target in places and self.target in (None, copy.target):
                yield copy, places[copy.target]

    def _require(self, place: Place) -> None:
        if place.name in self.down:
            raise self.down[place.name]
        if place.name not in self._ready:
            try:
                ready(place)
            except DrError as error:
                self.down[place.name] = error
                raise
            self._ready.add(place.name)
