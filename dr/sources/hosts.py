"""From the host that a plan names to one where programs can be started. Nothing is reached yet."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, cast

from dr.plan.host import SshHost, split_address
from dr.tools.host import Host, ThisHost

if TYPE_CHECKING:
    from dr.tools import ssh
    from dr.tools.agent import Agent


def open_host(declared: SshHost | None) -> Host:
    """Return the host; this one when the plan names none. Plans with the same host share its connection."""
    if declared is None:
        return ThisHost()
    from dr.tools.ssh import Address, Login

    user, host, port = split_address(declared.ssh)
    jumps = [split_address(part) for part in declared.jump.split(",")] if declared.jump else []
    return _shared(
        Login(
            user=user,
            host=host,
            port=port,
            known_hosts=declared.known_hosts or Path.home() / ".ssh" / "known_hosts",
            key=declared.key,
            jumps=tuple(Address(user=user, host=host, port=port) for user, host, port in jumps),
            connect_timeout=declared.connect_timeout,
            keepalive=declared.keepalive,
            at_once=declared.at_once,
        )
    )


def open_agent(declared: SshHost | None, host: Host, program: str) -> Agent | None:
    """Return restic on a host whose mode is `agent`; None for any other. Nothing is reached yet."""
    if declared is None or declared.mode != "agent":
        return None
    from dr.tools.agent import Agent

    return Agent(cast("ssh.SshHost", host), program)


@functools.cache
def _shared(login: ssh.Login) -> ssh.SshHost:
    from dr.tools.ssh import SshHost as Remote

    return Remote(login)
