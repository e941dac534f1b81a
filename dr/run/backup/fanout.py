"""One stream into several targets at once: read once, hashed once, stored everywhere.

A target that fails, or stalls while others go on, is dropped; the stream itself goes on while one is left.
"""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections.abc import Iterable, Mapping

from dr.errors import DrError, TargetDownError
from dr.tools import activity
from dr.tools.restic import Repository
from dr.tools.restic_events import Stored
from dr.tools.restic_stream import StreamBackup

_BLOCKS_AHEAD = 16
STALL_SECONDS = 60.0


class Sink:
    """One target's end of the stream, fed by a thread of its own through a bounded queue."""

    def __init__(self, backup: StreamBackup) -> None:
        self._backup = backup
        self._blocks: queue.Queue[bytes | None] = queue.Queue(_BLOCKS_AHEAD)
        self.error: DrError | None = None
        self._thread = threading.Thread(target=self._drain, daemon=True)
        self._thread.start()

    def offer(self, block: bytes, until: float) -> bool:
        """Hand over a block; False when this sink is lost. `until` is a monotonic time."""
        while self.error is None:
            try:
                self._blocks.put(block, timeout=0.2)
            except queue.Full:
                if time.monotonic() > until:
                    self.error = TargetDownError("the target stalled while others went on", hint="see its network")
            else:
                return True
        return False

    def commit(self) -> Stored | DrError:
        """Finish: the source has succeeded."""
        self._blocks.put(None)
        self._thread.join()
        if self.error is None:
            try:
                return self._backup.commit()
            except DrError as error:
                return error
        return self.error

    def abort(self) -> None:
        """End without a snapshot; safe after anything."""
        self.error = self.error or DrError("the source failed")
        self._backup.abort()
        self._thread.join(timeout=10)

    def _drain(self) -> None:
        while True:
            try:
                block = self._blocks.get(timeout=0.5)
            except queue.Empty:
                if self.error:
                    return
                continue
            if block is None or self.error:
                return
            try:
                self._backup.write(block)
            except DrError as error:
                self.error = error
            except OSError as error:
                self.error = DrError("the stream to restic broke", cause=error.strerror or "")


def pour(blocks: Iterable[bytes], backups: Mapping[str, StreamBackup]) -> tuple[str, int, dict[str, Stored | DrError]]:
    """Pour blocks into every backup; return SHA-256, size, and what became of each target.

    When the source raises, every backup is aborted, so that no snapshot is left, and the error goes on.
    """
    digest, size = hashlib.sha256(), 0
    sinks = {name: Sink(backup) for name, backup in backups.items()}
    patience = STALL_SECONDS if len(sinks) > 1 else float("inf")
    try:
        for block in blocks:
            digest.update(block)
            size += len(block)
            activity.progress(size)
            until = time.monotonic() + patience
            taken = [sink.offer(block, until) for sink in sinks.values()]
            if not any(taken):
                break
    except BaseException:
        for sink in sinks.values():
            sink.abort()
        raise
    results = {name: sink.commit() if sink.error is None else sink.error for name, sink in sinks.items()}
    for name, result in results.items():
        if isinstance(result, DrError):
            sinks[name].abort()
    return digest.hexdigest(), size, results


def hold_size(repository: Repository, snapshot_id: str, size: int) -> None:
    """Raise `DrError` unless the snapshot of a stream holds as many bytes as were poured, by its own listing."""
    files = [node for node in repository.nodes(snapshot_id) if node.get("type") == "file"]
    there = sum(int(node.get("size", 0)) for node in files)
    if len(files) != 1 or there != size:
        raise DrError(
            f"the snapshot holds {there:,} bytes of the stream's {size:,}", repository.where,
            hint="run the backup again; where it happens again, replace the restic program (`dr doctor`)",
        )  # fmt: skip
