"""What `dr notify` tells, as documents."""

from __future__ import annotations

from typing import Any

from dr.evidence.seal import encode


def tried_document(channel: str, error: str) -> dict[str, Any]:
    """One channel that a test message was sent to."""
    return {"channel": channel, "outcome": "failed" if error else "ok", "error": error or None}


def notice_document(channel: str, state: str, notice: object) -> dict[str, Any]:
    """What a channel was told, or is to be told."""
    return {"channel": channel, "state": state, **encode(notice)}


def channel_document(name: str, known: object | None) -> dict[str, Any]:
    """How a channel is: since when it fails, and why; nothing where it was never used."""
    told = {"failing": None, "error": ""} if known is None else encode(known)
    return {**told, "name": name}
