"""One question to a web server, with a deadline for all of it and a bound on its answer."""

from __future__ import annotations

import http.client
import socket
import ssl
import urllib.request
from typing import Final
from urllib.parse import SplitResult, urlsplit

from ivr_consent.anchors.links import connect, cut_off
from ivr_consent.anchors.place import AnchorError, Limit

_PORTS: Final = {"http": 80, "https": 443}


def post(url: str, body: bytes, kind: str, limit: Limit, max_answer: int, remedy: str) -> bytes:
    """The answer to a POST, through a proxy where the environment names one (``http_proxy``, ``no_proxy``, …).

    No redirection is followed. Raises :class:`AnchorError`.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    server = f"the server {host}"
    try:
        proxy = _proxy(parts)
        with connect(*(proxy or (host, parts.port or _PORTS[parts.scheme])), limit) as plain, cut_off(plain, limit):
            link = plain
            if parts.scheme == "https":
                if proxy is not None:
                    _tunnel(plain, parts)
                link = ssl.create_default_context().wrap_socket(plain, server_hostname=host)
            with link:
                return _exchange(link, parts, body, kind, max_answer, absolute=proxy is not None and link is plain)
    except ssl.SSLCertVerificationError as error:
        told = error.verify_message or "it is not trusted"
        raise AnchorError(f"{server} has a wrong certificate for https ({told}); {remedy}") from None
    except _Refused as error:
        raise AnchorError(f"{server} {error}; {remedy}") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        told = limit.why() if not limit.left() else f"cannot be asked ({_plain(error)})"
        raise AnchorError(f"{server} {told}; {remedy}") from None


class _Refused(Exception):
    """An answer that is none: the message completes a sentence that begins with the server."""


def _exchange(
    link: socket.socket, parts: SplitResult, body: bytes, kind: str, max_answer: int, *, absolute: bool
) -> bytes:
    target = parts._replace(fragment="").geturl() if absolute else f"{parts.path or '/'}{_query(parts)}"
    connection = http.client.HTTPConnection(parts.netloc)
    connection.sock = link
    connection.request("POST", target, body, {"Content-Type": kind, "Connection": "close", "Host": parts.netloc})
    with connection.getresponse() as response:
        if response.status != http.client.OK:
            raise _Refused(f"answered {response.status} ({_plain(response.reason)})")
        answer = response.read(max_answer + 1)
    if len(answer) > max_answer:
        raise _Refused(f"answered with more than {max_answer} bytes")
    return answer


def _query(parts: SplitResult) -> str:
    return f"?{parts.query}" if parts.query else ""


def _proxy(parts: SplitResult) -> tuple[str, int] | None:
    """Where the environment wants us to go through. Raises :class:`ValueError`."""
    named = urllib.request.getproxies().get(parts.scheme)
    if not named or urllib.request.proxy_bypass(parts.netloc):
        return None
    proxy = urlsplit(named if "://" in named else f"http://{named}")
    if proxy.scheme != "http" or not proxy.hostname or proxy.username is not None:
        raise ValueError(
            f"the proxy of the environment is not of the form http://proxy.example:3128, for {parts.scheme}"
        )
    return proxy.hostname, proxy.port or 3128


def _tunnel(link: socket.socket, parts: SplitResult) -> None:
    """Have a proxy connect us to the server."""
    there = f"{parts.netloc}{'' if parts.port else f':{_PORTS[parts.scheme]}'}"
    link.sendall(f"CONNECT {there} HTTP/1.1\r\nHost: {there}\r\n\r\n".encode("ascii"))
    with http.client.HTTPResponse(link, method="CONNECT") as response:
        response.begin()
    if response.status != http.client.OK:
        raise _Refused(f"is behind a proxy that answered {response.status} ({_plain(response.reason)})")


def _plain(value: object) -> str:
    """What a server said, as a line: it is shown to an administrator."""
    text = str(value) or type(value).__name__
    return "".join(letter if letter.isprintable() else " " for letter in text)[:200]
