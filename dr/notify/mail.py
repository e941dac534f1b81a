"""E-mail, by the standard library: a mail server with TLS, or this host's own `sendmail`. Sole user of smtplib."""

from __future__ import annotations

import re
import shutil
import smtplib
import ssl
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime

from dr.errors import DrError, RefusedError
from dr.notify.message import Message
from dr.plan.site import Mail
from dr.sources.secret import read_secret
from dr.tools import command

SECONDS = 30.0
_PORTS = {"starttls": 587, "tls": 465, "none": 25}


def send(to: Mail, message: Message, *, where: str) -> str:
    """Send it. Return which recipients were refused, where others were not. Raises `DrError`."""
    mail = built(to, message)
    if to.server is None:
        _by_sendmail(to, mail, where)
        return ""
    try:
        refused = _by_server(to, mail, where)
    except smtplib.SMTPAuthenticationError as error:
        hint = "see `login` in site.yaml"
        raise RefusedError(f"the mail server {to.server} refused the login", where, _said(error), hint=hint) from None
    except smtplib.SMTPRecipientsRefused as error:
        names = ", ".join(sorted(error.recipients))
        raise DrError(
            f"the mail server refused every recipient: {names}", where, hint="see `to` in site.yaml"
        ) from None
    except smtplib.SMTPNotSupportedError as error:
        hint = "write `security: tls` or `none`, as the server has it, or remove `login`"
        raise DrError(f"the mail server {to.server} cannot do that", where, str(error), hint=hint) from None
    except smtplib.SMTPException as error:
        raise DrError(f"the mail server {to.server} took no mail", where, _said(error), hint=_SERVER) from None
    except ssl.SSLError as error:
        reason = getattr(error, "verify_message", "") or error.reason or "TLS failed"
        hint = "see `security`, or name its authority with `ca_file`"
        raise DrError(f"the mail server {to.server} cannot be trusted", where, str(reason), hint=hint) from None
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise DrError(f"the mail server {to.server} cannot be reached", where, reason, hint=_SERVER) from None
    return f"the mail server refused {', '.join(sorted(refused))}" if refused else ""


_SERVER = "see `server` in site.yaml, and the server"


def built(to: Mail, message: Message) -> EmailMessage:
    """Return the mail. One that is sent again bears the same Message-ID."""
    mail = EmailMessage()
    mail["Subject"] = _one_line(message.subject)[:200]
    mail["From"] = _address(to.sender, message.organisation)
    mail["To"] = ", ".join(to.to)
    mail["Date"] = format_datetime(datetime.now(UTC))
    mail["Message-ID"] = f"<{message.id}@{to.sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.text)
    if message.page:
        mail.add_attachment(message.page.encode(), maintype="text", subtype="html", filename="report.html")
    return mail


def _address(sender: str, organisation: str) -> Address | str:
    name = _one_line(organisation)
    return Address(f"dr, {name}" if name else "dr", addr_spec=sender) if sender.isascii() else sender


def _one_line(text: str) -> str:
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def _by_server(to: Mail, mail: EmailMessage, where: str) -> dict[str, tuple[int, bytes]]:
    host, _, port = (to.server or "").rpartition(":") if ":" in (to.server or "") else (to.server or "", "", "")
    number = int(port) if port else _PORTS[to.security]
    trust = ssl.create_default_context(cafile=str(to.ca_file) if to.ca_file else None)
    password = read_secret(to.login.password, where) if to.login else ""
    with (
        smtplib.SMTP_SSL(host, number, timeout=SECONDS, context=trust)
        if to.security == "tls"
        else smtplib.SMTP(host, number, timeout=SECONDS)
    ) as server:
        if to.security == "starttls":
            server.starttls(context=trust)
        if to.login:
            server.login(to.login.user, password)
        return server.send_message(mail)


def _by_sendmail(to: Mail, mail: EmailMessage, where: str) -> None:
    found = shutil.which("sendmail") or shutil.which("sendmail", path="/usr/sbin:/usr/lib")
    if not found:
        hint = "install a mail transfer agent, or name a mail server with `server`"
        raise DrError("the program 'sendmail' is not on this machine", where, hint=hint)
    done = command.run([found, "-i", "-f", to.sender, "--", *to.to], stdin=mail.as_bytes(), timeout=SECONDS)
    if done.code != 0:
        reason = done.last_words or f"exit code {done.code}"
        raise DrError("sendmail took no mail", where, reason, hint="see the mail transfer agent's log")


def _said(error: smtplib.SMTPException) -> str:
    """Return what the server said, in one line."""
    said = getattr(error, "smtp_error", b"") or str(error)
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    code = getattr(error, "smtp_code", None)
    return re.sub(r"\s+", " ", f"{code} {text}" if code else text).strip()[:200]
