"""What all tests share: a real restic, a real S3 server, and the program as typed."""

from __future__ import annotations

import functools
import gc
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from dr.tools import command
from dr.tools.restic_program import find_restic
from dr.tools.state_dir import StateDir
from scripts.servers.mariadb import MariadbServer
from scripts.servers.postgres import PostgresServer
from scripts.servers.rclone import RcloneServer
from scripts.servers.rest import RestServer
from scripts.servers.s3 import S3Server
from scripts.servers.sshd import Sshd
from tests import made_once
from tests.compiled import compile_once
from tests.forked import Forker, Running
from tests.in_memory import folder_in_memory, temporary_beside
from tests.quick_restic import make_quick

if TYPE_CHECKING:
    from dr.session import Session

ROOT = Path(__file__).parents[1]
SERVERS = (S3Server, PostgresServer, MariadbServer, Sshd, RestServer, RcloneServer)
#: Fixtures of tests that `make fast` leaves out: servers, repositories of restic, the program as typed.
WHOLE = {"s3", "other_s3", "postgres", "mariadb", "sshd", "rest_server", "rclone_server", "restic_program"}
#: How programs written in Go share the machine: one processor each, and no garbage collected before there is much.
GO = {"GOMAXPROCS": "1", "GOGC": "400"}
SHARED = pytest.StashKey[Forker]()
# The same examples each time, however slow the machine: chance fails no run. `--hypothesis-profile=explore` looks for
# others.
settings.register_profile("explore", database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("explore"), derandomize=True)
settings.load_profile("same")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our option."""
    parser.addoption("--plain-restic", action="store_true", help="restic as it is, with keys that take a second each")
    parser.addoption("--fast", action="store_true", help="only what starts no server and takes no time")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Let tests write into memory, unless a place was named: here, or by the run whose worker this is.

    So do servers, and programs that make temporary files. Several workers share the program that is loaded, and what
    their modules are compiled to; the program is loaded while they collect the tests.
    """
    if not config.option.basetemp and (folder := folder_in_memory()):
        config.option.basetemp = str(folder)
        os.environ["TMPDIR"] = str(temporary := temporary_beside(folder))
        tempfile.tempdir = None  # asked again, also by workers
        for made in (folder, temporary):
            config.add_cleanup(functools.partial(shutil.rmtree, made, ignore_errors=True))
    if getattr(config.option, "numprocesses", None) and not config.option.fast:
        config.stash[SHARED] = forker = Forker()
        config.add_cleanup(lambda: forker.__exit__())
        compile_once(config.args)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker where the program is loaded."""
    if forker := node.config.stash.get(SHARED, None):
        node.workerinput["forker"] = forker.path


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest. With --fast leave out what is marked as slow, and what starts servers."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
    if config.getoption("--fast"):
        left = {item for item in items if _takes_time(item)}
        config.hook.pytest_deselected(items=[item for item in items if item in left])
        items[:] = [item for item in items if item not in left]


def pytest_collection_finish() -> None:
    """Have the garbage collector not go through what was loaded and collected again and again: it stays to the end."""
    gc.freeze()


def _takes_time(item: pytest.Item) -> bool:
    """Whether it is marked so, or its module or fixtures have to do with servers."""
    names = vars(item.module).values() if isinstance(item, pytest.Function) else ()
    return (
        any(item.get_closest_marker(name) for name in ("slow", "long", "browser", "bench"))
        or not WHOLE.isdisjoint(getattr(item, "fixturenames", ()))
        or any(value in SERVERS for value in names if isinstance(value, type))
    )


@pytest.fixture(scope="session", autouse=True)
def no_servers(pytestconfig: pytest.Config) -> Iterator[None]:
    """With --fast a test that starts a server all the same fails."""
    with pytest.MonkeyPatch.context() as patch:
        for server in SERVERS if pytestconfig.getoption("--fast") else ():
            patch.setattr(server, "start", lambda self: pytest.fail("it starts a server: mark it as slow"))
        yield


@pytest.fixture(scope="session")
def forker(pytestconfig: pytest.Config) -> Iterator[Forker]:
    """The program, loaded once for all workers."""
    with Forker(getattr(pytestconfig, "workerinput", {}).get("forker")) as running:
        yield running


@pytest.fixture(scope="session")
def plain_restic() -> str:
    """The restic under test as it is: DR_RESTIC, else the project's."""
    return find_restic(os.environ)


@pytest.fixture(scope="session", autouse=True)
def quick_restic(
    plain_restic: str, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[str]:
    """The same with cheap keys, in DR_RESTIC; the plain one where that is asked for, or is the only way."""
    plain, made = Path(shutil.which(plain_restic) or plain_restic), None
    if not pytestconfig.getoption("--plain-restic"):
        made = make_quick(plain, tmp_path_factory.mktemp("quick"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DR_RESTIC", str(made or plain))
        yield str(made or plain)
    if made:
        made.unlink()


@pytest.fixture(scope="session", autouse=True)
def go_alone() -> Iterator[None]:
    """Programs written in Go take one processor each: what they do in a test is little, and its parts wait for others.

    On two, a fifth of restic's time goes into looking for work that is not there; and another fifth into collecting
    garbage while there is little of it.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name, value in GO.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session", autouse=True)
def plain_clients() -> Iterator[None]:
    """PostgreSQL's own clients first on the PATH: Debian's wrapper around them costs five times their time."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda place: int(place.parent.name))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", ":".join([*map(str, places[-1:]), os.environ["PATH"]]))
        yield


@pytest.fixture(scope="session", autouse=True)
def directories_made_once() -> Iterator[None]:
    """Database servers start from copies of a directory that was made once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PostgresServer, "make_program", staticmethod(made_once.postgres_maker))
        patch.setattr(MariadbServer, "make_program", staticmethod(made_once.mariadb_maker))
        yield


@pytest.fixture(scope="session")
def restic_program(quick_restic: str) -> str:
    """The restic that tests run. Where they are about restic itself, a module has `plain_restic` in this place."""
    return quick_restic


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One S3 server a session."""
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def other_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A second S3 server: another provider."""
    with S3Server(tmp_path_factory.mktemp("other-s3")) as server:
        yield server


@pytest.fixture
def bucket(s3: S3Server) -> str:
    """A fresh bucket."""
    name = f"test-{secrets.token_hex(6)}"
    s3.client().create_bucket(Bucket=name)
    return name


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One PostgreSQL server a session."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariadbServer]:
    """One MariaDB server a session."""
    with MariadbServer(tmp_path_factory.mktemp("mariadb")) as server:
        yield server


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """One SSH server a session: the "other host"."""
    with Sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture(scope="session")
def rest_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestServer]:
    """One REST server of restic a session, which lets its login delete."""
    with RestServer(tmp_path_factory.mktemp("rest")) as server:
        yield server


@pytest.fixture(scope="session")
def rclone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RcloneServer]:
    """One WebDAV server of rclone a session."""
    with RcloneServer(tmp_path_factory.mktemp("rclone")) as server:
        yield server


@pytest.fixture(autouse=True)
def _not_stopping() -> Iterator[None]:
    yield
    command.resume()


@dataclass
class Ran:
    """How the program ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON document, which must be all that is on stdout."""
        return json.loads(self.out)


@dataclass
class Site:
    """A configuration and a state, and the program run on them."""

    root: Path
    env: dict[str, str]
    forker: Forker
    also: tuple[str, ...] = ()  # modules that the program loads too: kinds that tests define

    @property
    def state(self) -> StateDir:
        """The state directory."""
        return StateDir(self.root / "state")

    def session(self, **more: Any) -> Session:
        """Return a session as the program makes it, with `more` (`clock`, `jobs`)."""
        from dr.session import Session

        return Session(self.root / "config", self.state, **more)

    def plan(self, system: str, text: str) -> Path:
        """Write a plan."""
        return self._write("plans", system, text)

    def target(self, name: str, text: str) -> Path:
        """Write a target."""
        return self._write("targets", name, text)

    def _write(self, kind: str, name: str, text: str) -> Path:
        path = self.root / "config" / kind / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def escrow(self, wanted: bool) -> None:
        """Switch escrow on or off. It is off unless a test is about it: its key takes seconds a repository."""
        path = self.root / "state" / "escrow" / "recipient"
        if wanted:
            path.unlink(missing_ok=True)
            return
        for folder in (path.parents[1], path.parent):
            folder.mkdir(mode=0o700, exist_ok=True)
        path.write_text("none\n")

    def argv(self, *arguments: str) -> list[str]:
        """The command line."""
        config, state = str(self.root / "config"), str(self.root / "state")
        return [sys.executable, "-m", "dr", "--config", config, "--state", state, *arguments]

    def dr(self, *arguments: str, code: int | None = 0, **env: str) -> Ran:
        """Run the program as typed; `code` is what it must end with (None: anything)."""
        ran = Ran(*self.forker.run(self.argv(*arguments)[3:], env={**self.env, **env}, cwd=self.root, also=self.also))
        assert "Traceback" not in ran.err, ran.err
        assert code is None or ran.code == code, f"exit {ran.code}, not {code}\n{ran.out}\n{ran.err}"
        return ran

    def start(self, *arguments: str, **env: str) -> Running:
        """Start the program as typed, and return while it runs."""
        return self.forker.start(self.argv(*arguments)[3:], env={**self.env, **env}, cwd=self.root, also=self.also)

    def interpreter(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        """Start the program in an interpreter of its own, which loads it."""
        return subprocess.Popen(
            self.argv(*arguments),
            env={**self.env, **env},
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            stdin=subprocess.DEVNULL,
        )


@pytest.fixture
def site(tmp_path: Path, restic_program: str, forker: Forker, request: pytest.FixtureRequest) -> Site:
    """An empty site."""
    counted = [] if request.node.get_closest_marker("slow") else [x for x in os.environ if x.startswith("COVERAGE_")]
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "DR_RESTIC": restic_program,
        **GO,
        "PYTHONPATH": str(ROOT),
        "LANG": "C.UTF-8",
        # Where coverage is measured, the program as typed counts too; not in slow tests, which it would slow down more.
        **{name: os.environ[name] for name in [*counted, "TMPDIR"] if name in os.environ},
    }
    (tmp_path / "config" / "plans").mkdir(parents=True)
    made = Site(tmp_path, env, forker)
    made.escrow(False)
    return made


@pytest.fixture
def files_site(site: Site) -> Site:
    """A site with one system of files and two local targets."""
    source = site.root / "source"
    (source / "deep").mkdir(parents=True)
    for number in range(5):
        (source / "deep" / f"file-{number}.bin").write_bytes(os.urandom(50_000))
    (source / "letter.txt").write_text("a letter\n")
    site.target("disk", f"target: disk\nlocal: {{path: {site.root}/disk}}\n")
    site.target("vault", f"target: vault\nlocal: {{path: {site.root}/vault}}\n")
    site.plan("share", plan_text("share", f"docs: {{files: {{paths: [{source}]}}}}"))
    return site


def plan_text(system: str, *sources: str, targets: str = "[disk, vault]", more: str = "") -> str:
    """A plan."""
    lines = "".join(f"  {source}\n" for source in sources)
    return (
        f"system: {system}\ntitle: The {system} system\nowner: {{role: Data manager}}\n"
        f"objectives: {{rto: 1h, rpo: 4h, mtd: 8h}}\nsources:\n{lines}targets: {targets}\n{more}"
    )


Planner = Callable[..., str]
