"""Seeded random interruptions of every verb, and what must hold after each.

No point is called complete that plain restic does not bring back byte for byte; no point is lost; the chain of evidence
is whole; nothing is left running or lying about; and the next run ends well without anybody's help. CI takes 60,
`make chaos` takes 1,000, `CHAOS=200 pytest tests/chaos` as many as are wanted, and `CHAOS_FROM=7` begins with another
chain.
"""

from __future__ import annotations

import os
import random
import secrets
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from dr.cli.main import COMMANDS
from scripts.servers.mariadb import MariadbServer
from scripts.servers.postgres import PostgresServer
from scripts.servers.s3 import S3Server
from tests.chaos.interruptions import (
    Blink,
    Clock,
    Cut,
    Full,
    Interruption,
    Kill,
    KillRestic,
    KillScratch,
    KillService,
    Moment,
    ReadOnly,
    Slow,
    Stop,
    commands,
    interrupted,
)
from tests.chaos.world import SYSTEM, WELL, Live, World, digest_of, make_world
from tests.conftest import Site
from tests.databases import mysql_database, postgres_database
from tests.proxy import Proxy

#: So many interruptions befall one district, one after the other: what one leaves behind meets the next.
CHAIN = 10
CHAINS = range(int(os.environ.get("CHAOS_FROM", "0")), int(os.environ.get("CHAOS", "60")) // CHAIN)
VERBS = ["backup", "backup", "verify", "drill", "replicate", "recover", *({"expire"} & COMMANDS.keys())]
#: How many events a command of each verb writes, at first guess; what was seen takes its place.
EVENTS = 14


@pytest.fixture
def room(site: Site) -> Iterator[Site]:
    """A site with its state and its primary each on a small disk of its own, where disks can be mounted."""
    with ExitStack() as stack:
        for name in ("state", "primary") if os.geteuid() == 0 else ():
            at = site.root / name
            at.mkdir(exist_ok=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m,mode=700", "none", at], check=True)
            stack.callback(_unmount, at)
        site.escrow(False)
        yield site


def _unmount(at: Path) -> None:
    subprocess.run(["umount", "-l", at], check=True)


def _everywhere(chance: random.Random) -> list[Interruption]:
    """What can interrupt, wherever the primary is."""
    kills: list[Interruption] = [Kill(), Kill(), Stop(), KillRestic()]
    clocks: list[Interruption] = [Clock(ahead=chance.choice((-90_000, -3600, 3600, 90_000)))]
    disks: list[Interruption] = [Full("state"), ReadOnly()] if os.geteuid() == 0 else []
    return kills + clocks + disks


def _on_disk(
    site: Site, chance: random.Random, restic: str, live: Live | None = None
) -> tuple[World, list[Interruption]]:
    place = site.root / "primary"
    target = f"local: {{path: {place}}}"
    world = make_world(site, chance, restic=restic, target=target, where=f"{place}/{SYSTEM}", env={}, live=live)
    more: list[Interruption] = [Full("primary")] if os.geteuid() == 0 else []
    return world, [*_everywhere(chance), *more, *([KillScratch()] * 3 if live else [])]


def _in_a_bucket(
    site: Site, chance: random.Random, restic: str, s3: S3Server, wire: Proxy
) -> tuple[World, list[Interruption]]:
    bucket = f"chaos-{secrets.token_hex(6)}"
    s3.client().create_bucket(Bucket=bucket)
    keys = s3.write_keys(site.root / "keys")
    target = f"s3: {{endpoint: '{wire.endpoint}', bucket: {bucket}, prefix: dr, credentials: {{file: {keys}}}}}"
    env = dict(zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), s3.keys(), strict=True))
    where = f"s3:{s3.endpoint}/{bucket}/dr/{SYSTEM}"
    world = make_world(site, chance, restic=restic, target=target, where=where, env=env)
    return world, [*_everywhere(chance), KillService(s3), Cut(wire), Blink(wire), Blink(wire), Slow(wire)]


@contextmanager
def _live(request: pytest.FixtureRequest, chain: int) -> Iterator[Live | None]:
    """Every third chain has a live database, which drills and recoveries bring up: PostgreSQL and MariaDB in turn."""
    if chain % 3 != 2:
        yield None
    elif chain % 6 == 2:
        postgres: PostgresServer = request.getfixturevalue("postgres")
        with postgres_database(postgres, name="chaos") as name:
            yield Live(postgres, name)
    else:
        mariadb: MariadbServer = request.getfixturevalue("mariadb")
        with mysql_database(mariadb, name="chaos") as name:
            yield Live(mariadb, name)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("chain", CHAINS)
def test_whatever_interrupts_it_the_next_run_puts_it_right(
    room: Site,
    s3: S3Server,
    request: pytest.FixtureRequest,
    quick_restic: str,
    chain: int,
    record_property: Callable[[str, object], None],
) -> None:
    chance = random.Random(chain)
    with Proxy(s3.port) as wire, _live(request, chain) as live:
        if chain % 3 == 0:
            world, kinds = _in_a_bucket(room, chance, quick_restic, s3, wire)
        else:
            world, kinds = _on_disk(room, chance, quick_restic, live)
        expected: dict[str, int] = {}
        for number in range(CHAIN):
            if chance.random() < 0.7:
                world.change()
            arguments, kind = commands(chance, world, VERBS), chance.choice(kinds)
            most = expected.get(arguments[0], EVENTS)
            if isinstance(kind, KillScratch):  # only these two start one
                arguments = commands(chance, world, ["drill", "recover"])
            moment = Moment(chance.randint(2, max(2, most - 1)), chance.choice((0.0, 0.0, chance.uniform(0, 0.3))))
            told = f"chain {chain}, {number}: {kind.name} at event {moment.event} of dr {arguments[0]}"
            if world.live and arguments[0] == "recover":
                world.live.now |= world.live.versions.keys()
            struck = interrupted(world, kind, moment, *arguments)
            record_property("interruption", f"{arguments[0]}|{kind.name}|{'struck' if struck.struck else 'missed'}")
            expected[arguments[0]] = max(struck.events, expected.get(arguments[0], 2))
            try:
                _goes_on(world, arguments)
                world.hold()
            except AssertionError as error:
                raise AssertionError(f"{told} (exit {struck.code})\n{struck.err}\n{error}") from error
        record_property("restored", world.restored)


def _goes_on(world: World, arguments: tuple[str, ...]) -> None:
    """Type the same once more: it ends well, with nobody's help."""
    if arguments[0] != "recover":
        world.run(*arguments)
        return
    out = Path(arguments[3])
    world.run(*arguments, code=(*WELL, 2))  # 2: it had been finished, and its directory is not empty
    found = digest_of(out / "docs" / str(world.source)[1:])
    assert found in world.versions.values(), "what was recovered is no version of the source"
