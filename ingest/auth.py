"""Tokens: made once, kept as a hash, checked on every request where the service can be reached from elsewhere.

A token is 256 random bits, `ingest_` before them so that a scanner for leaked secrets can know it. The database keeps
its SHA-256 without salt or stretching: those protect what people choose, and nobody can try 2**256 tokens. A plain hash
lets the check be one look-up by index, and a look into the index's timing says nothing about the token behind it.

Roles: write, read, and admin, which is both. Tokens come as `Authorization: Bearer`, or `Basic` with the token as
password (or as user name), which is what tools that only know user and password can send.

A checked token is remembered for CACHE_SECONDS, so that revoking one takes that long to be felt everywhere; an unknown
one for less. Both memories are bounded.

A browser logs in by a token once and gets a session: random bits of its own in a cookie, of which the database keeps the hash,
too. Sessions are looked up at each request (a person clicks a thousand times less often than a client sends), so a revoked
token ends its sessions at once. What keeps other sites from using the cookie stands in `ingest.web.sessions`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeVar
from uuid import UUID

from ingest.store.housekeeping import FoundToken

Role = Literal["write", "read", "admin"]
ROLES: Final = ("write", "read", "admin")

TOKEN_PREFIX: Final = "ingest_"  # noqa: S105  # marks tokens, is none
CACHE_SECONDS: Final = 3.0
UNKNOWN_SECONDS: Final = 2.0
CACHE_MAX: Final = 4096
"""Remembered tokens, and as many unknown ones."""
_Kept = TypeVar("_Kept")
Find = Callable[[bytes], Awaitable[FoundToken | None]]
_TOKEN = re.compile(r"ingest_[A-Za-z0-9_-]{43}")
_SESSION = re.compile(r"[A-Za-z0-9_-]{43}")


class Unauthenticated(Exception):
    """No token, or none that is valid. The message may be shown to the caller."""


class Forbidden(Exception):
    """The token's role does not allow this."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks."""

    token_id: UUID | None
    name: str
    role: Role


LOCAL: Final = Principal(None, "local", "admin")
"""Whoever can reach a service that listens on loopback only."""


def new_token() -> str:
    """A fresh token. It is shown once and never stored."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def new_session() -> str:
    """A fresh session, for a cookie."""
    return secrets.token_urlsafe(32)


def hash_token(token: str) -> bytes:
    """What the database keeps of a token, or of a session."""
    return hashlib.sha256(token.encode()).digest()


def token_of_header(header: str | None) -> str | None:
    """The token that an Authorization header carries, if it is one of ours by its form."""
    scheme, _, rest = (header or "").partition(" ")
    match scheme.lower():
        case "bearer":
            candidates = [rest.strip()]
        case "basic":
            try:
                user, _, password = base64.b64decode(rest, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                return None
            candidates = [password, user]
        case _:
            return None
    return next((candidate for candidate in candidates if _TOKEN.fullmatch(candidate)), None)


def role_allows(role: Role, access: str) -> bool:
    """Whether a token of this role may use a route of this access."""
    return role in {"admin", access}


class Authenticator:
    """Checks requests against the tokens in the database.

    Args:
        find: Looks a token's hash up; None for one that is unknown, expired or revoked.
        find_session: Looks a session's hash up; None also if the token behind it is not valid any more.
        required: Whether tokens are needed at all.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        find: Find,
        *,
        find_session: Find | None = None,
        required: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find = find
        self._find_session = find_session
        self.required = required
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[Principal, float]] = OrderedDict()
        self._unknown: OrderedDict[bytes, float] = OrderedDict()

    async def check(self, header: str | None, access: str, *, session: str | None = None) -> Principal:
        """Who sent this Authorization header or this session's cookie, if they may use a route of this access.

        Raises:
            Unauthenticated, Forbidden: They may not.
            DatabaseUnavailable: The token could not be looked up.
        """
        if not self.required or access == "open":
            return LOCAL
        principal = await self.identify(header, session=session)
        if not role_allows(principal.role, access):
            raise Forbidden(
                f"The token {principal.name!r} has the role {principal.role}; this takes {access}."
            )
        return principal

    async def identify(self, header: str | None, *, session: str | None = None) -> Principal:
        """Who sent this, whatever they may do. The header goes before the session.

        Raises:
            Unauthenticated: Nobody whom we know.
            DatabaseUnavailable: The token could not be looked up.
        """
        if not self.required:
            return LOCAL
        if not header and session:
            return await self._of_session(session)
        token = token_of_header(header)
        if token is None:
            problem = "This service needs a token." if not header else "This is no token of this service."
            raise Unauthenticated(problem)
        principal = await self._identify(hash_token(token))
        if principal is None:
            raise Unauthenticated("This token is unknown, expired or revoked.")
        return principal

    async def _of_session(self, session: str) -> Principal:
        found = None
        if self._find_session is not None and _SESSION.fullmatch(session):
            found = await self._find_session(hash_token(session))
        if found is None:
            raise Unauthenticated("This session is over: its time is up, or its token was revoked.")
        return _principal(found)

    async def _identify(self, digest: bytes) -> Principal | None:
        now = self._clock()
        remembered = self._known.get(digest)
        if remembered is not None and remembered[1] > now:
            return remembered[0]
        if self._unknown.get(digest, 0.0) > now:
            return None
        found = await self._find(digest)
        if found is None:
            self._known.pop(digest, None)
            _remember(self._unknown, digest, now + UNKNOWN_SECONDS)
            return None
        principal = _principal(found)
        lifetime = min(CACHE_SECONDS, CACHE_SECONDS if found.valid_seconds is None else found.valid_seconds)
        _remember(self._known, digest, (principal, now + lifetime))
        return principal


def _principal(found: FoundToken) -> Principal:
    return Principal(found.token_id, found.name, found.role)  # type: ignore[arg-type]  # a CHECK keeps the roles


def _remember(memory: OrderedDict[bytes, _Kept], key: bytes, value: _Kept) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > CACHE_MAX:
        memory.popitem(last=False)
