"""Which Host and Origin a request may carry. Pure: headers in, verdict out.

Why: a browser on this machine can be made to call a service on loopback by a page of any site, under a name that the
attacker's DNS points here (DNS rebinding). The Host header then carries that name, so only names that are ours pass.
Any site can also send simple requests across origins; these carry an Origin, which has to be the Host's own.

An address literal needs no DNS, hence cannot be rebound; still only this machine's own pass.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

import psutil

MAX_REMEMBERED = 256
_LOOPBACK_NAMES = frozenset({"localhost", "ip6-localhost"})
_DEFAULT_PORTS = {"http": 80, "https": 443}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def own_addresses() -> frozenset[Address]:
    """The addresses of this machine's interfaces."""
    found: set[Address] = set()
    for entries in psutil.net_if_addrs().values():
        for entry in entries:
            if entry.family in {socket.AF_INET, socket.AF_INET6}:
                found.add(ipaddress.ip_address(entry.address.partition("%")[0]))
    return frozenset(found)


def split_host(value: str) -> tuple[str, int | None] | None:
    """Name and port of a Host header; None if it is not one."""
    try:
        parts = urlsplit("//" + value)
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname or parts.username is not None or parts.path or parts.query or parts.fragment:
        return None
    return parts.hostname.rstrip("."), port


class HostRules:
    """The check, with the names and addresses that pass.

    Args:
        allowed: Further names; `.example.com` stands for every name below it, `*` for every name.
        bound: What the service listens on; a name given there passes too.
        addresses: This machine's own.
    """

    def __init__(self, *, allowed: Iterable[str], bound: str, addresses: Iterable[Address]) -> None:
        names = {name.lower().rstrip(".") for name in (*allowed, bound)} - {"0.0.0.0", "::"}  # noqa: S104  # refused
        self._any = "*" in names
        self._suffixes = tuple(name for name in names if name.startswith("."))
        self._names = names | _LOOPBACK_NAMES
        self._addresses = frozenset(addresses)
        self._known_good: set[str] = set()

    def host_is_allowed(self, host: str | None) -> bool:
        """Whether a request with this Host header is meant for us."""
        if host is None:
            return False
        if host in self._known_good:
            return True
        good = self._judge(host)
        if good and len(self._known_good) < MAX_REMEMBERED:
            self._known_good.add(host)
        return good

    def _judge(self, host: str) -> bool:
        parts = split_host(host)
        if parts is None:
            return False
        name = parts[0].lower()
        if self._any or name in self._names or (self._suffixes and name.endswith(self._suffixes)):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or address in self._addresses


def origin_matches(origin: str, host: str) -> bool:
    """Whether a request from this origin comes from our own pages: scheme aside, it names the same host and port.

    The scheme is left open because TLS may end at a proxy in front, which passes the Host on.
    """
    try:
        parts = urlsplit(origin)
        origin_port = parts.port
    except ValueError:
        return False
    wanted = split_host(host)
    if wanted is None or parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        return False
    default = _DEFAULT_PORTS[parts.scheme]
    return parts.hostname.lower() == wanted[0].lower() and (origin_port or default) == (wanted[1] or default)
