"""An answer that is a web page, where a service was asked: a filter, a proxy or a network's login page stands between.

Such a page comes with status 200, or as a redirect to one, so that it is taken for success: an object seems to be
there, and another one damaged. No other try can help. A page that tells of an error (a 503 of a proxy) is none of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from dr.errors import TargetDownError

#: What browsers show. No service answers so, and nobody stores such objects beside a repository.
_SHOWN = ("text/html", "application/xhtml+xml")
#: To another address, by GET: what S3 and REST servers never say.
_SEND_AWAY = (302, 303)
#: "Network Authentication Required", RFC 6585.
_LOG_IN = 511
#: The same in restic's words, S3 and REST; a line that broke off amid an answer is no page.
HEARD = re.compile(
    r"invalid character '<' looking for beginning of value|XML syntax error(?!.*unexpected EOF)|"
    r"expected element type <\w+> but have <html|Last-Modified time format is invalid|"
    r": 30[23] (?:Found|See Other)|stopped after \d+ redirects|511 Network Authentication",
    re.IGNORECASE,
)
HINT = "log in to that network, or have the filter or proxy let the target pass; or correct the target's address"


def page_in(status: int, headers: Mapping[str, str]) -> str:
    """Return of an answer that is a web page what it is, in words; nothing of any other. `headers` are of any case."""
    named = {name.lower(): str(value) for name, value in headers.items()}
    shown = named.get("content-type", "").partition(";")[0].strip().lower()
    if status in _SEND_AWAY or (300 <= status < 400 and shown in _SHOWN):
        return f"status {status}, to {place}" if (place := _place(named.get("location", ""))) else f"status {status}"
    return f"status {status}, {shown or 'a page'}" if status == _LOG_IN or (status < 300 and shown in _SHOWN) else ""


def error(what: str, where: str, cause: str) -> TargetDownError:
    """Return the error of a page that came where `what`, such as "S3", was asked for. No other try can help."""
    told = f"the target answers with a web page, not {what}: a filter or a login page stands between"
    return TargetDownError(told, where, cause, hint=HINT)


def _place(address: str) -> str:
    """Return an address without what may be secret in it."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" if host else parts.path
