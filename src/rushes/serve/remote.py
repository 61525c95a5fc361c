"""Files from the public internet, over https, within a time, a size and a number of redirects."""

import asyncio
import io
import re
import ssl
from collections.abc import Callable
from urllib.parse import urljoin, urlsplit

import httpcore2

from rushes.serve.addresses import Address, NotPublic, PublicNetwork, Resolve, SystemResolver, is_public
from rushes.serve.limits import MIB, Limits
from rushes.serve.refusals import Refusal

PORT = 443
_TIMEOUTS = {"timeout": {"connect": 10.0}}  # for one address; the limit over all holds besides
_REDIRECTS = (301, 302, 303, 307, 308)
_URL = re.compile(r"[!-\[\]-~]{1,8192}")  # printable ASCII without spaces and backslashes, on which parsers disagree
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?:{_LABEL}\.)*(?P<last>{_LABEL})", re.I)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.I)
_HEADERS = [("Accept", "*/*"), ("Accept-Encoding", "identity"), ("User-Agent", "rushes")]


class _Stop(Exception):
    """Why there is no file, as a sentence about "it", and the status for the client."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class Remote:
    """Downloads, a few at once.

    Args:
        limits: Of time and redirects.
        resolve: From a name and a port to addresses; the system's way unless told.
        allowed: Whether an address may be connected to.
        tls: Whose certificates are believed; the system's unless told.
        port: Connect to this one; URLs cannot name another than 443.
        at_once: Downloads at once; further ones wait for their turn.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        resolve: Resolve | None = None,
        allowed: Callable[[Address], bool] = is_public,
        tls: ssl.SSLContext | None = None,
        port: int = PORT,
        at_once: int = 4,
    ) -> None:
        self._limits = limits
        self._network = PublicNetwork(resolve or SystemResolver(at_once), allowed, port)
        self._tls = tls or httpcore2.default_ssl_context()
        self._turn = asyncio.Semaphore(at_once)

    async def get(self, url: str, most_bytes: int, param: str | None = None) -> bytes:
        """The body of the answer to a GET.

        Args:
            url: https://name/path; no other port, no user, no address instead of a name.
            most_bytes: Of the body.
            param: The field of the request that is to blame when there is none.

        Raises:
            Refusal: 413 for a body that is too large, 400 for everything else that goes wrong.
        """
        try:
            async with self._turn, asyncio.timeout(self._limits.download_s):
                return await self._follow(url, most_bytes)
        except TimeoutError:
            stop = _Stop(f"it takes longer than {self._limits.download_s:g} s")
        except NotPublic:
            stop = _Stop("its host is not at a public address")
        except (httpcore2.ConnectError, httpcore2.TimeoutException):
            stop = _Stop("its host cannot be reached over https")
        except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError):
            stop = _Stop("its host broke the connection off")
        except _Stop as reason:
            stop = reason
        code = "too_large" if stop.status == 413 else "download_failed"
        raise Refusal(f"the file cannot be downloaded: {stop.reason}", status=stop.status, param=param, code=code)

    async def _follow(self, url: str, most_bytes: int) -> bytes:
        for _ in range(self._limits.redirects + 1):
            target = _parsed(url)
            # A pool for each: the name behind every redirect is resolved and checked anew.
            async with (
                httpcore2.AsyncConnectionPool(ssl_context=self._tls, network_backend=self._network) as pool,
                pool.stream("GET", target, headers=_HEADERS, extensions=_TIMEOUTS) as response,
            ):
                if response.status not in _REDIRECTS:
                    return await _body(response, most_bytes)
                location = _header(response, b"location")
            if not location or not _URL.fullmatch(location):
                raise _Stop("it redirects to nowhere")
            url = _joined(url, location)
        raise _Stop(f"it redirects more than {self._limits.redirects} times")


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise _Stop("its URL is malformed") from None


def _parsed(url: str) -> httpcore2.URL:
    """The parts of a URL, taken apart once and handed on apart: no second parser reads it differently."""
    if not _URL.fullmatch(url):
        raise _Stop("its URL has spaces, control characters or characters that are not ASCII; escape them")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _Stop("its URL is malformed") from None
    if parts.scheme.lower() != "https":
        raise _Stop("only https is followed")
    if "@" in parts.netloc:
        raise _Stop("a URL with a user or a password is not followed")
    name = _NAME.fullmatch(host)
    if name is None or _NUMBER.fullmatch(name["last"]) or len(host) > 253:
        raise _Stop("its URL must name a host, not an address")
    if port not in (None, PORT):
        raise _Stop(f"only port {PORT} is connected to")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return httpcore2.URL(scheme="https", host=host, target=target)


async def _body(response: httpcore2.Response, most_bytes: int) -> bytes:
    if response.status != 200:
        raise _Stop(f"its host answers with status {response.status}")
    if (_header(response, b"content-encoding") or "identity").lower() != "identity":
        raise _Stop("its host sends it compressed, which was not asked for")
    too_large = _Stop(f"it is larger than {most_bytes / MIB:g} MiB", 413)
    length = _header(response, b"content-length") or "0"
    if length.isdecimal() and int(length[:20]) > most_bytes:
        raise too_large
    body = io.BytesIO()
    async for chunk in response.aiter_stream():
        if body.tell() + len(chunk) > most_bytes:
            raise too_large
        body.write(chunk)
    return body.getvalue()


def _header(response: httpcore2.Response, name: bytes) -> str | None:
    for key, value in response.headers:
        if key.lower() == name:
            return value.decode("latin-1")
    return None
