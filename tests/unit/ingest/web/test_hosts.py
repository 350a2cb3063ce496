"""Which Host and Origin pass: the table that keeps DNS rebinding out."""

from __future__ import annotations

import ipaddress

import pytest

from ingest.web.hosts import MAX_REMEMBERED, HostRules, origin_matches, own_addresses

OWN = [ipaddress.ip_address("10.1.2.3"), ipaddress.ip_address("fd00::7")]


def rules(*allowed: str, bound: str = "127.0.0.1") -> HostRules:
    return HostRules(allowed=allowed, bound=bound, addresses=OWN)


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:5000", "LOCALHOST", "localhost.", "127.0.0.1", "127.0.0.1:80", "127.9.9.9", "[::1]:5000", "[::1]",
     "10.1.2.3:5000", "[fd00::7]:1"],
)  # fmt: skip
def test_loopback_and_own_addresses_pass(host: str) -> None:
    assert rules().host_is_allowed(host)


@pytest.mark.parametrize(
    "host",
    [None, "", "evil.com", "localhost.evil.com", "evil.com:5000", "127.0.0.1.nip.io", "10.1.2.4", "8.8.8.8", "0.0.0.0:5000",
     "user@localhost", "localhost/x", "localhost:5000x", "[::1", "[fd00::8]", "localhost, evil.com", "2130706433", "a b"],
)  # fmt: skip
def test_other_names_and_addresses_do_not(host: str | None) -> None:
    assert not rules(bound="0.0.0.0").host_is_allowed(host)


@pytest.mark.parametrize(
    ("allowed", "host", "passes"),
    [
        ("ingest.example.com", "ingest.example.com:443", True),
        ("ingest.example.com", "Ingest.Example.Com", True),
        ("ingest.example.com", "x.ingest.example.com", False),
        (".example.com", "a.b.example.com", True),
        (".example.com", "example.com", False),
        (".example.com", "badexample.com", False),
        ("*", "anything.at.all:1", True),
        ("*", "user@host", False),
    ],
)
def test_allowed_hosts(allowed: str, host: str, passes: bool) -> None:
    assert rules(allowed).host_is_allowed(host) is passes


def test_the_name_it_was_bound_to_passes() -> None:
    assert rules(bound="gpu-7").host_is_allowed("gpu-7:5000")


def test_what_is_remembered_is_bounded() -> None:
    every = rules("*")
    for number in range(2 * MAX_REMEMBERED):
        assert every.host_is_allowed(f"h{number}")
    assert len(every._known_good) == MAX_REMEMBERED


@pytest.mark.parametrize(
    ("origin", "host", "matches"),
    [
        ("http://localhost:5000", "localhost:5000", True),
        ("https://ingest.example.com", "ingest.example.com", True),
        ("https://ingest.example.com", "ingest.example.com:443", True),
        ("http://[::1]:5000", "[::1]:5000", True),
        ("http://localhost:5001", "localhost:5000", False),
        ("http://localhost", "localhost:5000", False),
        ("http://evil.com", "localhost:5000", False),
        ("http://localhost.evil.com:5000", "localhost:5000", False),
        ("null", "localhost:5000", False),
        ("", "localhost:5000", False),
        ("file://", "localhost:5000", False),
        ("chrome-extension://localhost", "localhost", False),
        ("http://localhost:x", "localhost", False),
    ],
)
def test_only_our_own_pages_pass(origin: str, host: str, matches: bool) -> None:
    assert origin_matches(origin, host) is matches


def test_this_machine_has_addresses() -> None:
    assert ipaddress.ip_address("127.0.0.1") in own_addresses()
