"""The heartbeat: a service that misses this host when it falls silent, by the protocol of healthchecks.io.

Each system and verb is a check of its own, `dr-SYSTEM-VERB`, which the service makes when it is first pinged
(`?create=1`). A run pings `/start`, and in its end its exit status with a line of log; both bear one `rid`, so that the
service knows how long it took. A run that is killed pings nothing more, and that is what the service is for.
"""

from __future__ import annotations

import re
import threading
import uuid

from dr.tools.http import Answer, fetch

#: The longest that one ping may take: a run makes two.
SECONDS = 5.0
_LOG_BYTES = 10_000


def slug(*words: str) -> str:
    """Return a check's name, as the service takes it: small letters, digits, `-` and `_`."""
    return re.sub(r"[^a-z0-9_-]+", "-", "-".join(("dr", *words)).lower())


def ping(base: str, check: str, *, signal: str, run_id: str = "", log: str = "", seconds: float = SECONDS) -> str:
    """Ping a check. `signal` is `start` or an exit status. Return why it failed, "" when it was taken; never raises.

    Ends in time even while names are looked up in vain. What it returns does not hold the address, which is a secret.
    """
    rid = f"&rid={uuid.uuid5(uuid.NAMESPACE_OID, run_id)}" if run_id else ""
    url = f"{base.rstrip('/')}/{check}/{signal}?create=1{rid}"
    body = log.encode("utf-8", "replace")[:_LOG_BYTES]
    found: list[Answer] = []
    # Its own limit comes later than ours, so that one sentence is told of a service that does not answer.
    thread = threading.Thread(
        target=lambda: found.append(fetch(url, seconds=2 * seconds, body=body, proxies=True)), daemon=True
    )
    thread.start()
    thread.join(seconds)
    if not found:
        return f"it does not answer within {seconds:.0f} s"
    answer = found[0]
    if answer.status is None:
        return answer.problem.replace(base, "its address")
    # The service answers with 200 to what it does not know, too, and says so in the text.
    refused = answer.status >= 300 or "not found" in answer.text.lower()
    return f"it answered {answer.status} {answer.text.strip()[:80]}".strip() if refused else ""
