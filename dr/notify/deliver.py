"""A message on its way: by the kind of the channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dr.notify.message import Message

if TYPE_CHECKING:
    from dr.plan.site import Channel


def deliver(channel: Channel, message: Message) -> str:
    """Send a message. Return "" once the channel took it, or what it took only in part. Raises `DrError`."""
    to = channel.to
    if to.mail:
        from dr.notify import mail

        return mail.send(to.mail, message, where=f"notify: {channel.name}")
    if to.command:
        from dr.notify import program

        program.send(to.command, message, where=f"notify: {channel.name}")
    elif to.url:
        from dr.notify import url

        url.send(to.url, message, where=f"notify: {channel.name}")
    return ""
