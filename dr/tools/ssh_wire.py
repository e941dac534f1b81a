"""How SSH packets are read here: whole buffers at a time, and a channel's data straight to who reads it.

paramiko reads each packet in several small pieces, and copies it seven times on its way through its general
machinery: a third of what plain `ssh` moves. This keeps its protocol, and reads packets itself. It uses what
paramiko offers for that: the packet reader may be another class, and so may a channel's buffer.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakValueDictionary

from paramiko.buffered_pipe import BufferedPipe, PipeTimeout
from paramiko.channel import Channel
from paramiko.message import Message
from paramiko.packet import NeedRekeyException, Packetizer
from paramiko.ssh_exception import SSHException

#: Bytes that a channel may be sent before we have read them: what fills a line of 600 Mbit/s and 100 ms.
WINDOW = 8 << 20
#: The largest block of data we take in one packet. OpenSSH sends 32 KiB mostly, and more when it has more.
PACKET = 128 << 10
_LONGEST = 512 << 10  # no packet is so long; OpenSSH's own limit is half of it
_BUFFER = 1 << 20
_CHANNEL_OPENED, _CHANNEL_DATA = 91, 94
_CONNECTION = 80  # messages from here on are of channels (RFC 4250, 4.1.2); below: of logins, keys, and the line itself
_TAG = 16
_Block = bytes | memoryview
if TYPE_CHECKING:
    _Buffer = BufferedPipe[Any]
else:
    _Buffer = BufferedPipe


class _Cipher(Protocol):
    def decrypt(self, nonce: bytes, data: memoryview, associated_data: memoryview) -> bytes: ...


class Inbox(_Buffer):
    """What a channel has received and nobody has read yet: blocks in a row, taken without moving the others."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()
        self._blocks: deque[_Block] = deque()
        self._size, self._shut = 0, False

    def feed(self, data: _Block) -> None:
        """Add a block."""
        with self._changed:
            self._blocks.append(data)
            self._size += len(data)
            self._changed.notify()

    def read(self, nbytes: int, timeout: float | None = None) -> bytes:
        """Return up to `nbytes` as soon as some are there; empty at the end. Raises `PipeTimeout`."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._size or self._shut, timeout):
                raise PipeTimeout
            return b"".join(self._take(nbytes))

    def _take(self, wanted: int) -> list[_Block]:
        taken: list[_Block] = []
        while wanted > 0 and self._blocks:
            block = self._blocks.popleft()
            if len(block) > wanted:
                self._blocks.appendleft(memoryview(block)[wanted:])
                block = memoryview(block)[:wanted]
            taken.append(block)
            wanted -= len(block)
            self._size -= len(block)
        return taken

    def empty(self) -> bytes:
        """Return all that is there."""
        with self._changed:
            return b"".join(self._take(self._size))

    def read_ready(self) -> bool:
        """Whether something is there."""
        return self._size > 0

    def close(self) -> None:
        """No more will come."""
        with self._changed:
            self._shut = True
            self._changed.notify_all()

    def __len__(self) -> int:
        return self._size


class Wire(Packetizer):
    """The packets of one connection.

    AES-GCM packets are read here; with another cipher paramiko reads them, from our buffer. `silence` is
    after how many seconds without a sign of the peer it counts as dead; None: never.
    """

    # For ciphers with 16-byte blocks OpenSSH changes keys after 64 GiB; paramiko's 512 MiB only cost time.
    REKEY_BYTES = 1 << 35
    REKEY_PACKETS = 1 << 31

    def __init__(self, socket: Any) -> None:
        super().__init__(socket)
        self.silence: float | None = None
        self.silent = False
        self._socket = socket
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._from = self._to = 0
        self._heard = time.monotonic()
        self._cipher: _Cipher | None = None
        self._nonce, self._counter = b"", 0
        self._number = self._received = 0
        self._kept: deque[tuple[int, Message]] = deque()  # until keys have been changed
        self._fresh: dict[int, Inbox] = {}  # of channels just opened: their data may come before `attach`
        self._inboxes: WeakValueDictionary[int, Inbox] = WeakValueDictionary()

    def attach(self, channel: Channel) -> None:
        """Let a channel's data go straight to where it is read. Called once, when it has just been opened."""
        inbox = self._fresh.pop(channel.chanid, None) or Inbox()
        self._inboxes[channel.chanid] = inbox
        channel.in_buffer = inbox
        if channel.eof_received or channel.closed:
            inbox.close()

    # -- what paramiko calls ---------------------------------------------------------------------------

    def set_inbound_cipher(self, **settings: Any) -> None:  # type: ignore[override] # paramiko names them all
        """Read with other keys from the next packet on."""
        super().set_inbound_cipher(**settings)
        self._cipher = settings["block_engine"] if settings.get("aead") else None
        self._received = 0
        if self._cipher:
            initial: bytes = settings["iv_in"]
            self._nonce, self._counter = initial[:4], int.from_bytes(initial[4:], "big")

    def reset_seqno_in(self) -> None:
        """Number packets from nought again."""
        super().reset_seqno_in()
        self._number = 0

    def readline(self, timeout: float) -> str:
        """Return one line of the greeting."""
        deadline = time.monotonic() + timeout
        while (end := self._buffer.find(b"\n", self._from, self._to)) < 0:
            if time.monotonic() > deadline or self._to - self._from > _LONGEST:
                raise TimeoutError("no greeting")
            self._receive(check_rekey=False)
        line = bytes(self._view[self._from : end])
        self._from = end + 1
        return line.removesuffix(b"\r").decode("utf-8", "replace")

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        """Return exactly `n` bytes as they came."""
        self._have(n, check_rekey=check_rekey)
        self._from += n
        return bytes(self._view[self._from - n : self._from])

    def read_message(self) -> tuple[int, Message]:
        """Return the next message that is not plain data of a channel; such data is handed on.

        While keys are changed because we asked for it, what is said of channels is kept until that is done: the
        peer may have said it before it heard of our wish, and paramiko answers some of it (the end of a channel)
        in the very thread that changes the keys, where it would wait for itself until the connection is given up.
        """
        while True:
            if self._kept and not self.need_rekey():
                return self._kept.popleft()
            found = self._next_message()
            if found and not (self.need_rekey() and found[0] >= _CONNECTION):
                return found
            if found:
                self._kept.append(found)
            if self.need_rekey():
                raise NeedRekeyException

    def _next_message(self) -> tuple[int, Message] | None:
        """Read a message; None when it was data, and handed on."""
        if self._cipher is None:
            kind, message = super().read_message()
            if kind == _CHANNEL_DATA and self._hand_on(memoryview(message.asbytes())):
                return None
        else:
            body = self._open(self._cipher)
            kind = body[0]
            if kind == _CHANNEL_DATA and self._hand_on(body[1:]):
                return None
            message = Message(bytes(body[1:]))
            message.seqno = self._number - 1
        self._note_opened(kind, message.asbytes())
        return kind, message

    # -- reading ---------------------------------------------------------------------------------------

    def _open(self, cipher: _Cipher) -> memoryview:
        """Return the next packet's payload. A packet that was tampered with raises, and ends the connection."""
        self._have(4, check_rekey=True)
        size = int.from_bytes(self._view[self._from : self._from + 4], "big")
        if not 12 <= size <= _LONGEST:
            raise SSHException(f"a packet claims to have {size} bytes")
        self._have(4 + size + _TAG, check_rekey=False)
        begin = self._from + 4
        nonce = self._nonce + self._counter.to_bytes(8, "big")
        plain = cipher.decrypt(nonce, self._view[begin : begin + size + _TAG], self._view[self._from : begin])
        self._counter = (self._counter + 1) & 0xFFFF_FFFF_FFFF_FFFF
        self._number = (self._number + 1) & 0xFFFF_FFFF
        self._from = begin + size + _TAG
        self._received += size
        if self._received >= self.REKEY_BYTES and not self.need_rekey():
            self._trigger_rekey()  # type: ignore[attr-defined] # the stubs do not know it
        if not 0 < plain[0] < size - 1:
            raise SSHException("a packet is nothing but padding")
        return memoryview(plain)[1 : size - plain[0]]

    def _hand_on(self, body: memoryview) -> bool:
        """Give a channel's data to its inbox; False when it has none."""
        inbox = self._inboxes.get(int.from_bytes(body[:4], "big"))
        if inbox is None:
            return False
        inbox.feed(body[8 : 8 + int.from_bytes(body[4:8], "big")])
        return True

    def _note_opened(self, kind: int, body: bytes) -> None:
        if kind == _CHANNEL_OPENED:
            number, inbox = int.from_bytes(body[:4], "big"), Inbox()
            self._fresh[number] = self._inboxes[number] = inbox

    def _have(self, size: int, *, check_rekey: bool) -> None:
        """Read until the buffer holds so many bytes."""
        if self._from + size > len(self._buffer):
            rest = self._to - self._from
            self._buffer[:rest] = self._buffer[self._from : self._to]
            self._from, self._to = 0, rest
        while self._to - self._from < size:
            self._receive(check_rekey=check_rekey)

    def _receive(self, *, check_rekey: bool) -> None:
        if self._from == self._to:
            self._from = self._to = 0
        try:
            count = self._read_some()
        except (TimeoutError, BlockingIOError):
            self._idle(check_rekey=check_rekey and self._from == self._to)
            return
        except OSError as error:
            raise EOFError(error.strerror or str(error)) from error
        if not count:
            raise EOFError
        self._heard = time.monotonic()
        self._to += count

    def _read_some(self) -> int:
        room = self._view[self._to :]
        if not isinstance(self._socket, Channel):
            return int(self._socket.recv_into(room))
        data = self._socket.recv(len(room))
        room[: len(data)] = data
        return len(data)

    def _idle(self, *, check_rekey: bool) -> None:
        """Nothing came for a moment: see whether it is worth while to go on."""
        if self.closed or self.handshake_timed_out():
            raise EOFError
        if self.silence and time.monotonic() - self._heard > self.silence:
            self.silent = True
            raise EOFError(f"nothing was heard of it for {self.silence:g} s")
        if check_rekey and self.need_rekey():
            raise NeedRekeyException
