"""One channel to another host, as bytes both ways: a break is never taken for an end."""

from __future__ import annotations

from contextlib import suppress

from paramiko import Channel, SSHException

from dr.errors import DrError
from dr.late_dataclass import dataclass
from dr.tools import command

#: How often a waiting call looks whether it should go on waiting.
POLL_SECONDS = 0.2
#: What paramiko raises when a connection is no more.
GONE = (SSHException, EOFError, OSError)


@dataclass
class HostDownError(DrError):
    """Another host cannot be reached, or the connection to it was lost."""

    retryable: bool = True


def lost(channel: Channel, host: str) -> HostDownError:
    """Return the error for a connection that broke under a channel."""
    transport = channel.get_transport()
    return down(host, str(transport.get_exception() or "") if transport else "")


def down(host: str, reason: str) -> HostDownError:
    """Return the error for a connection that broke."""
    return HostDownError(
        f"the connection to {host} was lost", cause=reason, hint="see whether the host and the network are well"
    )


class Line:
    """One channel: bytes both ways. No call hangs when the program is asked to stop, unless it is `regardless`."""

    def __init__(self, channel: Channel, host: str, *, regardless: bool = False) -> None:
        self.channel, self.host, self.regardless = channel, host, regardless
        self.closing = False
        channel.settimeout(POLL_SECONDS)

    def read(self, size: int = 1 << 20) -> bytes:
        """Return up to `size` bytes as soon as some are there; empty at the end. A break raises."""
        while True:
            try:
                data = self.channel.recv(size)
            except TimeoutError:
                self.heed_stop()
                continue
            except GONE as error:  # reading tells the host to send more, and that may fail
                raise lost(self.channel, self.host) from error
            if not data:
                self.heed_stop()
                if not self.channel.eof_received and not self.closing:
                    raise lost(self.channel, self.host)
            return data

    def write(self, data: bytes | memoryview) -> None:
        """Write all of it; `BrokenPipeError` when the other side reads no more."""
        rest = memoryview(data)
        while rest:
            try:
                count = 0 if self.closing else self.channel.send(bytes(rest[: 64 << 10]))
            except TimeoutError:
                self.heed_stop()
                continue
            except GONE as error:
                raise BrokenPipeError(f"{self.host} takes no more input") from error
            if not count:
                raise BrokenPipeError(f"{self.host} takes no more input")
            rest = rest[count:]

    def heed_stop(self) -> None:
        """Raise `InterruptedRunError`, and hang up, when the program was asked to stop."""
        if self.stopping():
            self.hang_up()
            command.raise_if_stopping()

    def stopping(self) -> bool:
        """Whether to stop."""
        return command.stopping() and not self.regardless

    def hang_up(self) -> None:
        """Send no more: the guard on the host then ends what runs there."""
        self.closing = True
        with suppress(*GONE):
            self.channel.shutdown_write()

    def close(self) -> None:
        """Close the channel. May be called twice."""
        self.closing = True
        with suppress(*GONE):
            self.channel.close()
