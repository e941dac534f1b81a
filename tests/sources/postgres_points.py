"""Points of PostgreSQL databases, and what a restore makes of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from dr.plan.source_kinds import PostgresSource
from dr.sources import database_inventory as facts
from dr.sources.database_inventory import DatabaseInventory
from dr.sources.driver import RestoredSource, RestoreSlot
from dr.sources.postgres.driver import Postgres
from dr.tools.host import Host, ThisHost
from scripts.servers.owned import own_folder
from tests import made_once
from tests.waiting import soon


@dataclass
class Point:
    """A capture, as it lies in a repository."""

    filename: str
    data: bytes
    kept: Path
    declared: PostgresSource
    annexes: list[Path] = field(default_factory=list)

    def restored(
        self,
        *,
        real: bool = False,
        replace: tuple[str, ...] = (),
        token: str = "tok",
        host_: Host | None = None,
        **more: object,
    ) -> RestoredSource:
        quick = {"bin": str(made_once.postgres_programs())} if self.declared.bin is None and host_ is None else {}
        declared = self.declared.model_copy(update={**quick, **more})
        room = RestoreSlot(
            root=self.kept, apart=self.kept, annex=self.annex, token=token, real=real, replace=frozenset(replace)
        )
        return Postgres("db", declared, host=host_ or ThisHost()).restored(room)

    def annex(self, kind: str) -> Path:
        self.annexes.append(own_folder("t-"))
        return self.annexes[-1]

    def change(self, **facts_: object) -> None:
        """Let the facts say something else."""
        found = facts.read(self.kept / facts.FILENAME)
        assert found is not None
        facts.write(self.kept / facts.FILENAME, replace(found, **facts_))

    @property
    def blocks(self) -> Iterator[bytes]:
        return (self.data[at : at + 65536] for at in range(0, len(self.data), 65536))


Capture = Callable[..., Point]


def restored(point: Point, instance: RestoredSource) -> RestoredSource:
    """Do what the engine does."""
    instance.preflight()
    instance.provision()
    instance.pour(point.filename, point.blocks)
    instance.start()
    return instance


def both(instance: RestoredSource) -> tuple[DatabaseInventory, DatabaseInventory]:
    before, after = instance.captured(), instance.facts()
    assert before is not None and after is not None
    return before, after


def left_in(place: Path) -> list[str]:
    """The processes that work in a directory or name it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(place) in os.readlink(process / "cwd") or str(place).encode() in (process / "cmdline").read_bytes():
                found.append((process / "cmdline").read_bytes().decode())
        except OSError:
            continue
    return found


def gone_from(place: Path) -> bool:
    """Whether no process is left there, after time to end."""
    return soon(lambda: not left_in(place))


SCRIPT = """
import sys, time
from pathlib import Path
from dr.plan.source_kinds import PostgresSource
from dr.sources.driver import RestoreSlot
from dr.sources.postgres.driver import Postgres
from dr.tools.host import ThisHost

kept, annex, filename, real, socket = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4] == "real", sys.argv[5]
room = RestoreSlot(root=kept, apart=kept, annex=lambda kind: annex, token="first", real=real, replace=frozenset(["school"]))
declared = PostgresSource(database="school", host=socket, user="postgres")
instance = Postgres("db", declared, host=ThisHost()).restored(room)

def blocks():
    data = (kept / "data").read_bytes()
    yield data[: len(data) // 2]
    print("half", flush=True)
    time.sleep(60)

instance.preflight()
instance.provision()
instance.pour(filename, blocks())
"""


def killed_amid(point: Point, *, real: bool, before: Callable[[Path], None] = lambda annex: None) -> Path:
    """Let a process of its own restore half of a point, and kill it."""
    (point.kept / "data").write_bytes(point.data)
    annex = point.annex("postgres")
    argv = [sys.executable, "-c", SCRIPT, str(point.kept), str(annex), point.filename, "real" if real else "drill",
            str(point.declared.host)]  # fmt: skip
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "half\n"
    before(annex)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    return annex
