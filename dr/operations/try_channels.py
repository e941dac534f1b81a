"""`dr notify test`: each channel is sent a message that says it is a test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dr.catalog.notices import ChannelState
from dr.errors import DrError, InterruptedRunError
from dr.late_dataclass import dataclass
from dr.notify.message import Message
from dr.operations.summaries import headed
from dr.operations.tell import new_id, sent
from dr.session import Session

if TYPE_CHECKING:
    from dr.plan.site import Channel


@dataclass(frozen=True)
class Tried:
    """What came of trying a channel; `error` "" when it took the message."""

    channel: str
    error: str = ""
    hint: str = ""


def try_channels(session: Session, channels: Sequence[Channel]) -> list[Tried]:
    """Send each channel a message that says it is a test, at whatever hour."""
    site, found = session.declarations.site, []
    for channel in channels:
        text = f"This is a test of the channel {channel.name!r}. Nothing is wrong.\n"
        message = Message(
            id=new_id(), subject=headed(site.organisation, "test"), text=text, organisation=site.organisation
        )
        state = session.catalog.notices.channels().get(channel.name, ChannelState(name=channel.name))
        try:
            left = sent(session, channel, message, state)
            found.append(Tried(channel.name, left.error))
        except InterruptedRunError:
            raise
        except DrError as error:
            what = error.sentence
            found.append(Tried(channel.name, what, error.hint))
    return found
