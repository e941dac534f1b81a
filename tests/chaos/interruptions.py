"""What interrupts: each is struck at a moment that the events of the command name, and mended once it has ended."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from scripts.servers.s3 import S3Server
from tests.chaos.world import SYSTEM, World
from tests.proxy import Proxy


@dataclass
class Struck:
    """How an interrupted command ended, and whether it was struck before that."""

    code: int
    err: str
    events: int
    struck: bool


class Interruption(ABC):
    """One kind. `before` is done before the command starts, `strike` at the moment, `mend` after its end."""

    name: str
    #: Seconds by which the command's clock is ahead.
    ahead = 0.0
    #: Whether it is there from the start: then there is no moment.
    standing = False

    def before(self, world: World) -> None:  # noqa: B027 - most kinds need nothing
        """Get ready."""

    @abstractmethod
    def strike(self, world: World, process: int) -> bool:
        """Interrupt the command, whose process is `process`; return whether there was anything to interrupt."""

    def mend(self, world: World) -> None:  # noqa: B027 - the same
        """Take it away, as time or a person at the other end would."""


class Kill(Interruption):
    """kill -9 of the program."""

    name = "kill dr"

    def strike(self, world: World, process: int) -> bool:
        """Do it."""
        return _signal(process, signal.SIGKILL)


class Stop(Interruption):
    """SIGTERM, as of a machine that shuts down."""

    name = "stop dr"

    def strike(self, world: World, process: int) -> bool:
        """Do it."""
        return _signal(process, signal.SIGTERM)


class KillRestic(Interruption):
    """kill -9 of whatever restic runs."""

    name = "kill restic"

    def strike(self, world: World, process: int) -> bool:
        """Do it to all that the command has started."""
        return sum(_signal(child, signal.SIGKILL) for child in _below(process)) > 0


class KillScratch(Interruption):
    """kill -9 of the database server that a drill or a recovery has started for itself."""

    name = "kill the scratch server"

    def strike(self, world: World, process: int) -> bool:
        """Do it, where there is one."""
        servers = [child for child in _below(process) if _is_server(_line_of(child))]
        return sum(_signal(server, signal.SIGKILL) for server in servers) > 0


def _is_server(line: bytes) -> bool:
    """Whether a command line is of a database server, and not of what makes its data directory."""
    program = line.partition(b"\0")[0].rpartition(b"/")[2]
    return b"postgres\0-D" in line or (program in (b"mariadbd", b"mysqld") and b"--bootstrap" not in line)


#: What starts servers again: a server ends with the thread that started it.
_SUPERVISOR = ThreadPoolExecutor(1)


@dataclass
class KillService(Interruption):
    """The S3 server is killed, and started again at once, as by its supervisor."""

    server: S3Server
    name: str = "kill the S3 server"

    def strike(self, world: World, process: int) -> bool:
        """Do it."""
        self.server.kill()
        _SUPERVISOR.submit(self.server.start).result()
        return True


@dataclass
class Cut(Interruption):
    """The network is cut, and is whole again after the command has ended."""

    wire: Proxy
    name: str = "cut the network"

    def strike(self, world: World, process: int) -> bool:
        """Do it."""
        self.wire.down = True
        self.wire.drop()
        return True

    def mend(self, world: World) -> None:
        """Let it pass again."""
        self.wire.down = False


@dataclass
class Blink(Interruption):
    """All connections break once, and new ones are taken at once."""

    wire: Proxy
    name: str = "break every connection once"

    def strike(self, world: World, process: int) -> bool:
        """Do it."""
        self.wire.drop()
        return True


@dataclass
class Slow(Interruption):
    """The network takes its time."""

    wire: Proxy
    name: str = "slow the network"
    standing = True

    def before(self, world: World) -> None:
        """Let every block wait."""
        self.wire.delay = 0.01

    def strike(self, world: World, process: int) -> bool:
        """It is slow already."""
        return True

    def mend(self, world: World) -> None:
        """Let it pass at once."""
        self.wire.delay = 0.0


@dataclass
class Full(Interruption):
    """A disk is full, and has room again after the command has ended."""

    folder: str
    name: str = ""

    def __post_init__(self) -> None:
        """Name it."""
        self.name = f"fill the disk of {self.folder}"

    def strike(self, world: World, process: int) -> bool:
        """Fill it."""
        with (world.site.root / self.folder / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1 << 16))
        return True

    def mend(self, world: World) -> None:
        """Make room."""
        (world.site.root / self.folder / "ballast").unlink(missing_ok=True)


class ReadOnly(Interruption):
    """The state directory is on a disk that is read-only from the start."""

    name = "a read-only state"
    standing = True

    def before(self, world: World) -> None:
        """Make it so."""
        subprocess.run(["mount", "-o", "remount,ro", world.site.root / "state"], check=True)

    def strike(self, world: World, process: int) -> bool:
        """It is so already."""
        return True

    def mend(self, world: World) -> None:
        """Make it writable."""
        subprocess.run(["mount", "-o", "remount,rw", world.site.root / "state"], check=True)


@dataclass
class Clock(Interruption):
    """The clock is wrong by so many seconds for this one command, and it is killed."""

    ahead: float
    name: str = ""

    def __post_init__(self) -> None:
        """Name it."""
        self.name = (
            f"a clock that is {'ahead' if self.ahead > 0 else 'behind'} by {abs(self.ahead) / 3600:.0f} h, and a kill"
        )

    def strike(self, world: World, process: int) -> bool:
        """Kill it."""
        return _signal(process, signal.SIGKILL)


def _signal(process: int, number: int) -> bool:
    """Send a signal; return whether there was a process to take it."""
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return False
    return True


def _line_of(process: int) -> bytes:
    """Return a process's command line; nothing where it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def _below(process: int) -> list[int]:
    """Return the processes that a process started, and that those did."""
    found, todo = [], [process]
    while todo:
        parent = todo.pop()
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                todo += [int(each) for each in task.read_text().split()]
        found.append(parent)
    return found[1:]


@dataclass
class Moment:
    """When it strikes: after so many events of the command, and so many seconds."""

    event: int
    seconds: float
    reached: threading.Event = field(default_factory=threading.Event)


def interrupted(world: World, interruption: Interruption, moment: Moment, *arguments: str) -> Struck:
    """Type a command, interrupt it at the moment, and mend what was broken once it has ended."""
    pipe = world.site.root / "events"
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)
    process: list[int] = []
    begun, seen, struck = threading.Event(), [0], [interruption.standing]

    def watch() -> None:
        with pipe.open() as events:
            for line in events:
                seen[0] += 1
                if seen[0] == moment.event and not interruption.standing and '"command_ended"' not in line:
                    begun.wait()
                    time.sleep(moment.seconds)
                    struck[0] = interruption.strike(world, process[0])

    def is_begun(number: int) -> None:
        process.append(number)
        begun.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    interruption.before(world)
    try:
        code, _, err = world.site.forker.run(
            [*world.site.argv(*arguments, "--events", str(pipe))[3:]],
            env=world.site.env,
            cwd=world.site.root,
            ahead=interruption.ahead,
            begun=is_begun,
        )
    finally:
        _release(pipe, watcher)
        interruption.mend(world)
    assert "Traceback" not in err, err
    return Struck(code, err, seen[0], struck[0])


def _release(pipe: Path, watcher: threading.Thread) -> None:
    """Let the watcher end, also where nobody ever opened the pipe."""
    with contextlib.suppress(OSError):
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
    watcher.join()


def commands(chance: random.Random, world: World, verbs: list[str]) -> tuple[str, ...]:
    """Return a command to interrupt."""
    verb = chance.choice(verbs)
    if verb == "recover":
        replaced = ("--replace", world.live.name) if world.live else ()
        return ("recover", SYSTEM, "--to", str(world.site.root / f"out-{chance.randrange(10**9)}"), *replaced, "--yes")
    if verb == "expire":
        return (verb, SYSTEM, "--confirm-many")
    level = ("--level", str(chance.randint(1, 3))) if verb == "verify" else ()
    return (verb, SYSTEM, *level)
