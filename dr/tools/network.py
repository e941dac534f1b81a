"""The way to a service over HTTP: which proxy leads there, and whose certificates are believed.

restic is a Go program, boto3 a Python one, and each has rules of its own. There is one set of rules here: those of Go,
which restic cannot be talked out of. So what reaches a target with one half reaches it with the other.
"""

from __future__ import annotations

import atexit
import functools
import ipaddress
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from dr.errors import DrError, RefusedError
from dr.late_dataclass import dataclass

#: Where systems keep the authorities they believe, as Go looks for them: the first file there is, and all directories.
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem",
)  # fmt: skip
_FOLDERS = ("/etc/ssl/certs", "/etc/pki/tls/certs")
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True)
class Way:
    """How a service is spoken to; see `addressing` and `ca_file` of a target. Nothing: as is usual there."""

    addressing: Literal["path", "virtual"] | None = None
    ca_file: Path | None = None

    def url(self, endpoint: str, bucket: str) -> str:
        """Return whom requests go to: the endpoint, or the bucket's own name below it."""
        parts = urlsplit(endpoint)
        return f"{parts.scheme}://{bucket}.{parts.netloc}" if self.addressing == "virtual" else endpoint


def knock(url: str, ca_file: Path | None) -> None:
    """Connect, to the proxy where one leads there, and hear whose certificate the service has; within seconds.

    `OSError` or `ValueError` for what is not there, `ssl.SSLError` among them for a certificate that is not trusted.
    """
    import socket

    proxy = proxy_for(url, os.environ)
    parts = urlsplit(proxy or url)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    with socket.create_connection((parts.hostname or "", port), timeout=5) as line:
        if url.startswith("https:") and not proxy:
            import ssl

            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(authorities(ca_file))
            with context.wrap_socket(line, server_hostname=parts.hostname):
                pass


# -- proxies -----------------------------------------------------------------------------------------


def proxy_for(url: str, env: Mapping[str, str]) -> str:
    """Return the proxy that leads to an address, by the environment as Go reads it; nothing for none.

    NO_PROXY holds names (with all below them), addresses, networks (10.0.0.0/8), each with or without a port, and `*`.
    What is on this machine has no proxy. Raises `DrError` for a proxy of a kind that only one half knows.
    """
    parts = urlsplit(url)
    upper = f"{parts.scheme}_proxy".upper()
    proxy = env.get(upper) or env.get(upper.lower()) or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if not proxy or _goes_direct(
        (parts.hostname or "").lower(), port, env.get("NO_PROXY") or env.get("no_proxy") or ""
    ):
        return ""
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    kind = urlsplit(proxy).scheme
    if kind not in ("http", "https") or not urlsplit(proxy).hostname:
        raise DrError(
            f"{upper} names a proxy of a kind that cannot be used here ({kind})",
            hint=f"name an http proxy, or put {parts.hostname} into NO_PROXY",
        )
    return proxy


def _goes_direct(host: str, port: int, no_proxy: str) -> bool:
    address = _address(host)
    if host == "localhost" or (address and address.is_loopback):
        return True
    return any(_spares(entry, host, address, port) for entry in no_proxy.lower().replace(" ", ",").split(",") if entry)


def _spares(entry: str, host: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None, port: int) -> bool:
    """Whether an entry of NO_PROXY means this host."""
    if entry == "*":
        return True
    if "/" in entry and address:
        with suppress(ValueError):
            return address in ipaddress.ip_network(entry, strict=False)
    name, named_port = _split(entry)
    if named_port and named_port != str(port):
        return False
    if (own := _address(name)) is not None:
        return own == address
    bare = name.removeprefix("*")
    return host.endswith(bare) if bare.startswith(".") else host == bare or host.endswith(f".{bare}")


def _split(entry: str) -> tuple[str, str]:
    """Return a host and its port, if it has one: an address of six has colons of its own."""
    if _address(entry) is not None:
        return entry, ""
    name, colon, port = entry.rpartition(":")
    return (name.strip("[]"), port) if colon and port.isdecimal() else (entry.strip("[]"), "")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    with suppress(ValueError):
        return ipaddress.ip_address(host)
    return None


# -- this very host ----------------------------------------------------------------------------------


@functools.lru_cache(maxsize=256)
def is_this_host(host: str) -> bool:
    """Whether a name or an address is that of this host: loopback, an own interface's, its own name.

    Names are looked for in /etc/hosts alone: nothing is asked over a network.
    """
    name = host.lower().strip("[]").rstrip(".")
    if (address := _address(name.partition("%")[0])) is not None:
        return _is_own(address)
    if name == "localhost" or name.endswith(".localhost") or name == os.uname().nodename.lower():
        return True
    return any(_is_own(address) for address, names in _hosts() if name in names)


def _is_own(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether a socket can be bound to it, as to addresses of this host alone."""
    if address.is_loopback or address.is_unspecified:
        return True
    import socket

    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


def _hosts() -> Iterator[tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, list[str]]]:
    with suppress(OSError, UnicodeDecodeError):
        for line in Path("/etc/hosts").read_text("utf-8").splitlines():
            first, *names = line.partition("#")[0].lower().split() or [""]
            if (address := _address(first)) is not None:
                yield address, names


# -- authorities -------------------------------------------------------------------------------------


def authorities(ca_file: Path | None = None) -> str:
    """Return the file of the authorities to believe: `ca_file` alone, or all that this system believes, as Go does.

    SSL_CERT_FILE and SSL_CERT_DIR are the system's. Raises `RefusedError` when `ca_file` holds none.
    """
    if ca_file is None:
        return _of_the_system(os.environ.get("SSL_CERT_FILE", ""), os.environ.get("SSL_CERT_DIR", ""))
    try:
        found = _CERTIFICATE.search(ca_file.read_bytes())
    except OSError as error:
        raise RefusedError(
            f"the authorities file {ca_file} cannot be read", cause=error.strerror or "", hint="correct `ca_file`"
        ) from error
    if not found:
        raise RefusedError(
            f"the authorities file {ca_file} holds no certificate",
            hint="write the authority's certificate there, in PEM",
        )
    return str(ca_file)


@functools.lru_cache(maxsize=8)
def _of_the_system(file: str, folders: str) -> str:
    """Return one file with all certificates of the system; it goes away with this process."""
    bundle = file or next((each for each in _BUNDLES if Path(each).is_file()), "")
    places = folders.split(":") if folders else _FOLDERS
    found = dict.fromkeys(_certificates([bundle] if bundle else []))
    beside = dict.fromkeys(_certificates(_files_in(places)))
    if bundle and beside.keys() <= found.keys():
        return bundle
    import tempfile

    descriptor, name = tempfile.mkstemp(prefix="dr-authorities-", suffix=".pem")
    with os.fdopen(descriptor, "wb") as whole:
        whole.write(b"\n".join([*(found | beside), b""]))
    atexit.register(Path(name).unlink, missing_ok=True)
    return name


def _files_in(folders: Iterable[str]) -> Iterator[str]:
    for folder in folders:
        with suppress(OSError):
            yield from sorted(str(path) for path in Path(folder).iterdir() if path.is_file())


def _certificates(files: Iterable[str]) -> Iterator[bytes]:
    for file in files:
        with suppress(OSError):
            yield from _CERTIFICATE.findall(Path(file).read_bytes())


# -- what ails a connection --------------------------------------------------------------------------


def why_untrusted(error: BaseException | None) -> str:
    """Return what is wrong with a certificate, in OpenSSL's words; nothing when an error is about something else."""
    import ssl

    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message or "its certificate is not believed"
        inner = [each for each in (*error.args, *vars(error).get("kwargs", {}).values()) if isinstance(each, Exception)]
        error = next(iter(inner), None) or error.__cause__ or error.__context__
    return ""
