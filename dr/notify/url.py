"""Chats, pagers and webhooks, by the apprise library. Sole user of it; loaded only when such a channel is used."""

from __future__ import annotations

import importlib
import logging

from dr.errors import DrError
from dr.notify.message import Message
from dr.plan.secret import SecretPlace
from dr.sources.secret import read_secret


def send(to: SecretPlace, message: Message, *, where: str) -> None:
    """Send it. Raises `DrError`, which does not tell the address: it holds a secret.

    A redirect counts as not taken: followed, a POST becomes a GET that bears no message, and is answered all the same.
    An address that ends with `redirect=yes` has it followed.
    """
    try:
        apprise = importlib.import_module("apprise")
    except ImportError:
        hint = "run `pip install 'dr-orchestrator[notify]'` where dr is installed, or use `mail` or `command`"
        raise DrError("this channel needs the apprise library, which is not installed", where, hint=hint) from None
    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # what it logs may hold the address
    speaker = apprise.Apprise(asset=apprise.AppriseAsset(http_redirects=False))
    if not speaker.add(read_secret(to, where)):
        hint = "write one as apprise documents them, such as `msteams://…`"
        raise DrError("the address of this channel is not one that apprise knows", where, hint=hint)
    if not speaker.notify(title=message.subject, body=message.text):
        hint = "see the service, and the address in its secret place: name where it is now, a redirect is not followed"
        raise DrError("the service did not take the notice", where, hint=hint)
