"""Another host over SSH: programs run there as they do here, and files move by SFTP. Nothing is installed there.

One connection a host, made when it is first needed, made again when it broke, used by several threads.
"""

from __future__ import annotations

import logging
import os
import pwd
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

import paramiko

from dr.errors import DrError, RefusedError
from dr.late_dataclass import dataclass
from dr.tools import command
from dr.tools.command import Done
from dr.tools.sftp import Sftp
from dr.tools.ssh_keys import HostKey, KnownHosts, own_keys
from dr.tools.ssh_line import POLL_SECONDS, HostDownError, Line, down
from dr.tools.ssh_process import SshProcess, feed_and_read
from dr.tools.ssh_wire import PACKET, WINDOW, Wire

logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)  # what goes wrong is raised, once

# AES-GCM first: with hardware for it, encryption costs next to nothing. Nothing older than counter mode and SHA-2.
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")
_DIGESTS = (
    "hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512",
)  # fmt: skip
_SILENT_AFTER = 3  # times `keepalive`: then a peer that answers nothing is dead
_FAULTS = (paramiko.SSHException, EOFError, OSError)


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a host is, and who we are there; `user` None: as here."""

    host: str
    user: str | None = None
    port: int = 22

    @property
    def login(self) -> str:
        """The name we log in with."""
        return self.user or pwd.getpwuid(os.geteuid()).pw_name

    def __str__(self) -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.login}@{name}" + (f":{self.port}" if self.port != 22 else "")


@dataclass(frozen=True, kw_only=True)
class Login(Address):
    """All that it takes to reach a host.

    `key` None: the keys of the running SSH agent. `jumps`: hosts to go through, in order, known by the same
    file and reached with the same key. Times in seconds. `at_once`: programs and file sessions at a time.
    """

    known_hosts: Path
    key: Path | None = None
    jumps: tuple[Address, ...] = ()
    connect_timeout: float = 15
    keepalive: float = 15
    at_once: int = 4


class SshHost:
    """A host reached over SSH; see `dr.tools.host.Host`. Safe for several threads.

    A thread that holds a program or a file session waits for no other's end when it starts more: so nobody
    waits for himself, and `at_once` may be passed by what one thread holds.
    """

    here = False

    def __init__(self, login: Login) -> None:
        self.login = login
        self.name = str(login)
        self._gate = _Gate(login.at_once)
        self._lock = threading.Lock()
        self._connection: _Connection | None = None

    def start(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | None = None,
        feed: bool = False,
        standing: bool = False,
        heed: Callable[[str], bool] | None = None,
    ) -> SshProcess:
        """See `Host`. Of a program that is killed the code is -9; of one that a signal ended, 128 and the signal.

        `heed` is given each line of its standard error; when that returns True it is killed.
        """
        command.raise_if_stopping()
        return self._start(argv, timeout=timeout, standing=standing, heed=heed).begin(env or {}, cwd, feed=feed)

    def _start(
        self,
        argv: Sequence[str],
        *,
        timeout: float | None,
        regardless: bool = False,
        standing: bool = False,
        heed: Callable[[str], bool] | None = None,
    ) -> SshProcess:
        leave = _stay if standing else self._gate.enter(regardless=regardless)
        try:
            line = Line(self._channel(), self.name, regardless=regardless)
        except BaseException:
            leave()
            raise
        return SshProcess(line, argv, timeout=timeout, kill_group=self._kill_group, over=leave, heed=heed)

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdin: bytes | None = None,
        timeout: float | None = None,
        regardless: bool = False,
    ) -> Done:
        """See `Host`."""
        process = self._start(argv, timeout=timeout, regardless=regardless)
        with process.begin(env or {}, cwd, feed=stdin is not None):
            stdout = feed_and_read(process, stdin)
            done = process.finish()
        return Done(done.argv, done.code, stdout, done.stderr, done.seconds)

    @contextmanager
    def files(self) -> Iterator[Sftp]:
        """A session to work with files, for several threads. Raises `DrError` when the host offers none."""
        command.raise_if_stopping()
        leave = self._gate.enter()
        try:
            line = Line(self._channel(), self.name)
            try:
                line.channel.invoke_subsystem("sftp")
            except paramiko.SSHException as error:
                raise DrError(
                    f"{self.name} offers no SFTP", hint="set `Subsystem sftp internal-sftp` in its sshd_config"
                ) from error
            except (EOFError, OSError) as error:
                raise down(self.name, str(error)) from error
            with Sftp(line, self.name) as session:
                yield session
        finally:
            leave()

    def close(self) -> None:
        """End the connection. May be called twice; the next use makes a new one."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection:
            connection.close()

    def _channel(self) -> paramiko.Channel:
        for again in (True, False):
            connection = self._connected()
            try:
                return connection.channel()
            except paramiko.ChannelException as error:
                raise HostDownError(
                    f"{self.name} opens no further channel", cause=error.text,
                    hint="lower `at_once` in the plan, or raise MaxSessions in that host's sshd_config",
                ) from error  # fmt: skip
            except _FAULTS as error:
                broken = not connection.alive or not isinstance(error, paramiko.SSHException)
                if broken:  # perhaps long ago: then a new one will do
                    connection.close()
                if not (broken and again):
                    raise down(self.name, str(error)) from error
        raise AssertionError("unreachable")

    def _connected(self) -> _Connection:
        with self._lock:
            if self._connection is None or not self._connection.alive:
                self._connection = _Connection(self.login, self.name)
            return self._connection

    def _kill_group(self, group: int) -> None:
        with self._channel() as channel:
            channel.settimeout(POLL_SECONDS)
            channel.exec_command(f"exec sh -c 'kill -s KILL -- -{group}'")
            channel.status_event.wait(_Gate.PATIENCE)


def _stay() -> None:
    """What a program that never took a place gives back."""


class _Gate:
    """Lets so many in at a time."""

    PATIENCE = 1.0

    def __init__(self, limit: int) -> None:
        self._limit, self._inside = limit, Counter[int]()
        self._changed = threading.Condition()

    def enter(self, *, regardless: bool = False) -> Callable[[], None]:
        """Wait for a place; return what gives it back, which may be called twice."""
        me = threading.get_ident()
        with self._changed:
            while not self._inside[me] and self._inside.total() >= self._limit:
                if not regardless:
                    command.raise_if_stopping()
                self._changed.wait(POLL_SECONDS)
            self._inside[me] += 1
        left = threading.Event()

        def leave() -> None:
            with self._changed:
                if not left.is_set():
                    left.set()
                    self._inside[me] -= 1
                    self._changed.notify()

        return leave


class _Connection:
    """One connection, with those to the hosts it goes through. Raises `DrError` when it cannot be made."""

    def __init__(self, login: Login, name: str) -> None:
        self._login, self._name = login, name
        self._transports: list[paramiko.Transport] = []
        self._closed = threading.Event()
        try:
            with own_keys(login.key) as keys:
                for address in (*login.jumps, login):
                    self._reach(address, keys)
        except BaseException:
            self.close()
            raise
        for transport in self._transports:
            cast(Wire, transport.packetizer).silence = _SILENT_AFTER * login.keepalive
            threading.Thread(target=self._keep_alive, args=(transport,), name="dr-ssh-alive", daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether it can be used."""
        return not self._closed.is_set() and all(transport.is_active() for transport in self._transports)

    def channel(self) -> paramiko.Channel:
        """Open a channel for a program."""
        transport = self._transports[-1]
        channel = transport.open_session(timeout=self._login.connect_timeout)
        cast(Wire, transport.packetizer).attach(channel)
        return channel

    def close(self) -> None:
        """End it. May be called twice."""
        self._closed.set()
        for transport in reversed(self._transports):
            transport.close()

    # -- making it -----------------------------------------------------------------------------------------

    def _reach(self, address: Address, keys: Sequence[paramiko.PKey]) -> None:
        """Go one host further."""
        known = KnownHosts(self._login.known_hosts, address.host, address.port)
        transport = paramiko.Transport(
            self._socket(address), default_window_size=WINDOW, default_max_packet_size=PACKET, packetizer_class=Wire
        )
        self._transports.append(transport)
        known.check(self._greet(transport, address, known))
        _log_in(transport, address, keys)

    def _socket(self, address: Address) -> socket.socket | paramiko.Channel:
        timeout = self._login.connect_timeout
        try:
            if self._transports:
                return self._through(address, timeout)
            made = socket.create_connection((address.host, address.port), timeout)
        except socket.gaierror as error:
            raise HostDownError(
                f"there is no host {address.host}", str(address), error.strerror or "", hint="correct its name, or DNS"
            ) from error
        except TimeoutError as error:
            raise HostDownError(
                f"no answer within {timeout:g} s", str(address), hint="see whether it runs, and the firewalls"
            ) from error
        except OSError as error:
            raise HostDownError(
                "it cannot be reached", str(address), error.strerror or str(error), hint="see whether sshd runs there"
            ) from error
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # a peer that takes nothing more is noticed as well
            silence = int(_SILENT_AFTER * self._login.keepalive * 1000)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, silence)
        return made

    def _through(self, address: Address, timeout: float) -> paramiko.Channel:
        before = self._transports[-1]
        try:
            channel = before.open_channel(
                "direct-tcpip", (address.host, address.port), ("127.0.0.1", 0), timeout=timeout
            )
        except _FAULTS as error:
            refused = isinstance(error, paramiko.ChannelException) and error.code == 1
            raise HostDownError(
                "it cannot be reached through the jump host", str(address), str(error),
                hint="allow TCP forwarding on the jump host" if refused else "see whether sshd runs there",
                retryable=not refused,
            ) from error  # fmt: skip
        cast(Wire, before.packetizer).attach(channel)
        return channel

    def _greet(self, transport: paramiko.Transport, address: Address, known: KnownHosts) -> HostKey:
        """Agree on ciphers and keys; return the key by which the host has shown who it is."""
        timeout = self._login.connect_timeout
        transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = timeout
        options = transport.get_security_options()
        options.ciphers, options.digests = _CIPHERS, _DIGESTS
        options.key_types = known.algorithms(options.key_types)
        try:
            transport.start_client(timeout=timeout)
            found = transport.get_remote_server_key()
            return HostKey(found.get_name(), found.asbytes())
        except paramiko.ssh_exception.IncompatiblePeer as error:
            raise DrError(
                "we and it have no cipher or key type in common", str(address), str(error),
                hint="allow aes128-gcm@openssh.com or aes128-ctr, and an Ed25519 or RSA host key, in its sshd_config",
            ) from error  # fmt: skip
        except _FAULTS as error:
            raise HostDownError(
                "it does not greet as an SSH server does", str(address), str(error),
                hint="see whether sshd listens there, and is not overloaded (MaxStartups)",
            ) from error  # fmt: skip

    # -- keeping it ----------------------------------------------------------------------------------------

    def _keep_alive(self, transport: paramiko.Transport) -> None:
        """Ask now and then for an answer, any answer; the `Wire` notices when none comes."""
        while not self._closed.wait(self._login.keepalive) and transport.is_active():
            with suppress(*_FAULTS):
                transport.global_request("keepalive@openssh.com", wait=True)


def _log_in(transport: paramiko.Transport, address: Address, keys: Sequence[paramiko.PKey]) -> None:
    reason = "it accepts none of our keys"
    began = time.monotonic()
    for key in keys:
        try:
            missing = transport.auth_publickey(address.login, key)
        except paramiko.BadAuthenticationType as error:
            reason = f"it accepts {' or '.join(error.allowed_types) or 'nothing'}, and no keys"
            break
        except paramiko.AuthenticationException as error:
            slow = transport.auth_timeout is not None and time.monotonic() - began >= transport.auth_timeout
            if slow or (not transport.is_active() and len(keys) == 1):
                raise HostDownError("it went away during the login", str(address), str(error), hint="see it") from error
            if not transport.is_active():
                reason = "it hung up after too many keys: name the right one in the plan"
                break
            continue
        except _FAULTS as error:
            raise HostDownError(
                "it went away during the login", str(address), str(error), hint="see that host's log"
            ) from error
        if not missing:
            return
        reason = f"a key is not enough for it: it wants {' and '.join(missing)} too"
    raise RefusedError(f"it does not let {address.login} in", str(address), reason, hint=_invitation(address, keys))


def _invitation(address: Address, keys: Sequence[paramiko.PKey]) -> str:
    shown = f"{keys[0].get_name()} {keys[0].get_base64()}" if len(keys) == 1 else "our public key"
    return f"add this line to ~{address.login}/.ssh/authorized_keys there: {shown}"
