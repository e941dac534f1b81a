"""A mail server that keeps what it is sent: as much of SMTP as senders speak, with TLS and login where asked for."""

from __future__ import annotations

import base64
import email
import email.policy
import socketserver
import ssl
import threading
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any, Self


class SmtpSink:
    """On a port of its own on loopback. `mails` are in the order in which they came."""

    def __init__(
        self, *, tls: ssl.SSLContext | None = None, at_once: bool = False, login: tuple[str, str] | None = None
    ) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[list[str]] = []
        #: What is answered to a mail, and to a recipient, in the place of being taken.
        self.refusal = ""
        self.unknown: set[str] = set()
        #: Called when a mail came, before it is acknowledged.
        self.taken: Callable[[], None] = lambda: None
        sink = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                try:
                    _Dialogue(sink, self, tls, at_once, login).run()
                except (OSError, ssl.SSLError):
                    return

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = int(self.server.server_address[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


class _Dialogue:
    def __init__(
        self, sink: SmtpSink, handler: Any, tls: ssl.SSLContext | None, at_once: bool, login: tuple[str, str] | None
    ) -> None:
        self.sink, self.tls, self.login = sink, tls, login
        self.socket, self.file, self.safe, self.known = handler.request, handler.rfile, False, login is None
        self.to: list[str] = []
        if at_once:
            self._protect()

    def _protect(self) -> None:
        assert self.tls
        self.socket = self.tls.wrap_socket(self.socket, server_side=True)
        self.file, self.safe = self.socket.makefile("rb"), True

    def say(self, *lines: str) -> None:
        """Answer."""
        self.socket.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def run(self) -> None:
        """Speak until the other side ends."""
        self.say("220 sink.example ready")
        while line := self.file.readline().decode().strip():
            verb, _, rest = line.partition(" ")
            if verb.upper() == "QUIT":
                self.say("221 bye")
                return
            getattr(self, f"on_{verb.lower()}", self.unknown)(rest)

    def unknown(self, rest: str) -> None:
        self.say("500 what?")

    def on_ehlo(self, rest: str) -> None:
        more = ["250-STARTTLS"] if self.tls and not self.safe else []
        self.say("250-sink.example", *more, "250 AUTH PLAIN" if self.login else "250 SIZE 10000000")

    def on_starttls(self, rest: str) -> None:
        self.say("220 go on")
        self._protect()

    def on_auth(self, rest: str) -> None:
        _, user, password = base64.b64decode(rest.split()[1]).decode().split("\0")
        self.known = self.login == (user, password)
        self.say("235 welcome" if self.known else "535 5.7.8 not you")

    def on_mail(self, rest: str) -> None:
        self.to = []
        self.say("250 ok" if self.known else "530 log in first")

    def on_rcpt(self, rest: str) -> None:
        name = rest.partition("<")[2].partition(">")[0]
        if name in self.sink.unknown:
            self.say("550 no such user")
            return
        self.to.append(name)
        self.say("250 ok")

    def on_rset(self, rest: str) -> None:
        self.say("250 ok")

    def on_data(self, rest: str) -> None:
        self.say("354 go on")
        body = b""
        while (line := self.file.readline()) not in (b".\r\n", b""):
            body += line.removeprefix(b".") if line.startswith(b"..") else line
        if self.sink.refusal:
            self.say(self.sink.refusal)
            return
        mail = email.message_from_bytes(body, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        self.sink.mails.append(mail)
        self.sink.recipients.append(self.to)
        self.sink.taken()
        self.say("250 taken")
