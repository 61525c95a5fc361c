"""Connections to public addresses alone: a name is resolved once, and what was checked is what is connected to."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

import httpcore2

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]

TRIED = 4  # addresses of one name

_NOT_PUBLIC_4 = tuple(
    ip_network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
        *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        "168.63.129.16/32",  # public by its number, yet a cloud's service for its own machines
    )
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# Inside it: protocol assignments with Teredo and benchmarking, documentation, 6to4.
_NOT_PUBLIC_6 = tuple(ip_network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
_NAT64 = IPv6Network("64:ff9b::/96")


class NotPublic(Exception):
    """A name that leads, or may lead, to an address that is not public."""


def is_public(address: Address) -> bool:
    """Is it a unicast address of the public internet? For IPv6 that says yes only to what is known to be."""
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return False
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in _NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        return address in _GLOBAL_UNICAST and not any(address in network for network in _NOT_PUBLIC_6)
    return address.is_global and not any(address in network for network in _NOT_PUBLIC_4)


class SystemResolver:
    """Names through the system, in threads of its own: one that hangs must not hold up what else uses threads."""

    def __init__(self, threads: int = 4) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="resolver")

    async def __call__(self, host: str, port: int) -> list[str]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _addresses, host, port)
        return list(dict.fromkeys(found))


def _addresses(host: str, port: int) -> list[str]:
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class PublicNetwork(httpcore2.AsyncNetworkBackend):
    """What httpcore2 opens its connections with.

    Args:
        resolve: From a name and a port to addresses.
        allowed: Whether an address may be connected to. One that may not forbids the name altogether.
        port: Connect to this one whatever the URL says; for tests.
    """

    def __init__(self, resolve: Resolve, allowed: Callable[[Address], bool], port: int | None = None) -> None:
        self._resolve, self._allowed, self._port = resolve, allowed, port
        self._backend = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """A connection to the first of the name's addresses that answers.

        Raises:
            NotPublic: One of its addresses is not allowed.
            httpcore2.ConnectError: It has none, or none answers.
        """
        addresses = await self._checked(host, port)
        for address in addresses[:TRIED]:
            try:
                # A number is not resolved again.
                return await self._backend.connect_tcp(str(address), self._port or port, timeout, local_address)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        raise httpcore2.ConnectError("no address answers")

    async def _checked(self, host: str, port: int) -> list[Address]:
        try:
            found = await self._resolve(host, port)
            addresses = [ip_address(text) for text in found]
        except (OSError, ValueError):  # UnicodeError, for a label that is too long, is one of these
            raise httpcore2.ConnectError("no such name") from None
        if not all(self._allowed(address) for address in addresses):
            raise NotPublic
        return addresses

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore2.AsyncNetworkStream:
        raise NotPublic

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
