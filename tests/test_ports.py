"""The ports of throw-away servers: nobody else is given one, and no connection takes one by chance."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from scripts.servers import ports

ROOT = Path(__file__).parents[1]


def test_two_processes_are_never_given_the_same_port() -> None:
    asking = (
        "import sys; from scripts.servers.ports import own_ports; print(*own_ports(200), flush=True); sys.stdin.read()"
    )
    both = [
        subprocess.Popen(
            [sys.executable, "-c", asking], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    try:
        given = [port for each in both for port in each.stdout.readline().split()]
    finally:
        for each in both:
            each.communicate()
    assert len(set(given)) == len(given) == 400


def test_a_port_that_somebody_listens_on_or_was_given_is_passed_over() -> None:
    one, other = ports.own_ports(2)
    with socket.create_server(("127.0.0.1", one)):
        assert not ports._free(one) and ports._free(other)
    assert not ports._marked(other)


def test_none_is_among_those_that_the_system_hands_out() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert max(ports.own_ports(50)) < lowest or lowest <= 2 * ports._LOWEST
