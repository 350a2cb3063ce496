"""Secrets are masked before anything about the environment leaves the process: pure, on texts only.

What is a secret: the value under a name such as `WANDB_API_KEY`, `--db-password` or `token`; the user part of a URL such as
`postgres://user:password@host`; a text with the shape of a well-known token or a private key; and, wherever it turns up again, the
value of an environment variable with such a name. In doubt it is one: a masked learning rate is a nuisance, a published key is not.

What can't be known: a secret under an innocent name (`-p hunter2`, `X=hunter2`) with no shape of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final
from urllib.parse import quote

__all__ = [
    "MASK",
    "is_secret_name",
    "mask_arguments",
    "mask_environment",
    "mask_source",
    "mask_text",
    "secrets_of",
]

MASK: Final = "***"

MIN_SECRET_CHARS: Final = 6
"""Shorter values are masked under their name only: looked for everywhere, a `1` would take every text apart."""

MAX_LINE_CHARS: Final = 20_000
"""Of source; what is longer is no source but data, and a regular expression on it would hold the GIL."""

_WORDS: Final = frozenset(
    {"auth", "authorization", "cookie", "cookies", "cred", "creds", "dsn", "jwt", "key", "keys", "otp", "pass", "pw", "pwd", "salt"}
    | {"sig", "signature"}
)  # fmt: skip
_ENDINGS: Final = (
    ("apikey", "apikeys", "credential", "credentials", "passphrase", "passwd", "password", "passwords", "secret", "secrets", "token")
)  # fmt: skip
_PLAIN_ENDINGS: Final = ("apikey", "passphrase", "passwd", "password", "secret")
"""Of names whose literals are secrets in source as well, digits or not."""
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_NUMBER: Final = re.compile(r"[-+]?[\d_.]+(?:e[-+]?\d+)?", re.IGNORECASE)

_URL_USER: Final = re.compile(r"://(\S{1,2048})@", re.ASCII)  # the blanks of Unicode end no URL
_NAME: Final = re.compile(r"(?<![\w.-])([\w.-]{1,100})\\?[\"']?\s{0,3}[:=]\s{0,3}")
_FLAG: Final = re.compile(r"(?<![\w.-])(--[\w.-]{1,100})[ \t]{1,3}")
_VALUE: Final = re.compile(
    r"(?:(?:basic|bearer|digest|token)\s+)?(?:\"(?:[^\"\\]|\\.){0,4096}\"|'(?:[^'\\]|\\.){0,4096}'|\S+)",
    re.ASCII | re.IGNORECASE,
)
_LITERAL: Final = re.compile(r"(?:\"[^\"\s]{8,}\"|'[^'\s]{8,}')")
_KEY_LITERAL: Final = re.compile(r"(?:\"(?=\D*\d)[^\"\s]{8,}\"|'(?=\D*\d)[^'\s]{8,}')")
_BEARER: Final = re.compile(r"\b(bearer\s+)[\w.~+/=-]{8,}", re.IGNORECASE)
_SHAPES: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|hf_\w{20,}|sk-[\w-]{20,}|xox[abeprs]-[\w-]{10,}"
    r"|(?:AKIA|ASIA)[0-9A-Z]{16}|AIza[\w-]{30,}|npm_\w{20,}|pypi-[\w-]{20,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)"
)
_PRIVATE_KEY: Final = re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----")
_PRIVATE_KEY_END: Final = re.compile(r"-----END [A-Z ]{0,40}PRIVATE KEY-----")


def is_secret_name(name: str) -> bool:
    """Whether what stands under this name is kept to ourselves."""
    words = [word.lower() for word in _WORD.findall(name)]
    return any(word in _WORDS or word.endswith(_ENDINGS) for word in words) or "tokens" in words


def secrets_of(env: Mapping[str, str]) -> tuple[str, ...]:
    """The values of an environment that are looked for in every text, longest first; also as a URL would write them."""
    found = {value for name, value in env.items() if is_secret_name(name) and len(value) >= MIN_SECRET_CHARS}
    return tuple(sorted(found | {quote(value, safe="") for value in found}, key=lambda s: (-len(s), s)))


def mask_text(text: str, secrets: Iterable[str] = ()) -> str:
    """A text of any kind, without secrets.

    Args:
        text: Of up to some thousand characters: the time is linear, but all of it is spent at once.
        secrets: As `secrets_of` gives them.
    """
    text = _mask_shapes(_mask_known(text, secrets))
    return _mask_values(_mask_values(text, _NAME, lambda _: _VALUE), _FLAG, lambda _: _VALUE)


def mask_source(text: str, secrets: Iterable[str] = ()) -> str:
    """Source code, such as a diff: names like `token` and `key` are everyday words there, so only literals are taken for secrets."""
    lines = _mask_known(text, secrets).split("\n")
    return "\n".join(_mask_line(line) for line in _without_private_keys(lines))


def mask_arguments(arguments: Sequence[str], secrets: Iterable[str] = ()) -> list[str]:
    """A command line, argument by argument: `--token x`, `--token=x`, `db.password=x`, and what `mask_text` finds in the rest."""
    known = tuple(secrets)
    masked: list[str] = []
    is_value, flag = False, ""
    for argument in arguments:
        name, equals, value = argument.partition("=")
        is_flag = argument.startswith("-")
        is_secret = is_secret_name(name) and " " not in name
        if is_value:  # of the flag before, whatever it looks like
            masked.append(argument if _is_count(flag, argument) else MASK)
        elif equals and is_secret and not _is_count(name, value):
            masked.append(f"{mask_text(name, known)}={MASK}")
        else:
            masked.append(mask_text(argument, known))
        is_value, flag = is_flag and is_secret and not equals, name
    return masked


def mask_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Environment variables with their values, secrets masked."""
    known = secrets_of(env)
    return {
        name: MASK if is_secret_name(name) and not _is_count(name, value) else mask_text(value, known)
        for name, value in env.items()
    }


def _is_count(name: str, value: str) -> bool:
    """`max_tokens=512` is none."""
    words = [word.lower() for word in _WORD.findall(name)]
    others = [word for word in words if word != "tokens"]
    return "tokens" in words and not is_secret_name(" ".join(others)) and bool(_NUMBER.fullmatch(value))


def _mask_known(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, MASK)
    return text


def _mask_shapes(text: str) -> str:
    """What is a secret by its looks."""
    text = _mask_private_keys(text)
    text = _URL_USER.sub(_masked_user, text)
    return _SHAPES.sub(MASK, _BEARER.sub(rf"\1{MASK}", text))


def _masked_user(match: re.Match[str]) -> str:
    """`git` in `ssh://git@host` is nobody's secret, nor is a path with an @ in it."""
    user = match[1]
    is_path = "/" in user and ":" not in user
    return match[0] if user == "git" or is_path else f"://{MASK}@"


def _mask_values(text: str, names: re.Pattern[str], values: Callable[[str], re.Pattern[str]]) -> str:
    """The values that follow secret names.

    Args:
        values: What a value of the name looks like.
    """
    parts: list[str] = []
    at = 0
    for found in names.finditer(text):
        if found.start() < at or not is_secret_name(found[1]):
            continue
        value = values(found[1]).match(text, found.end())
        if value is not None and not _is_count(found[1], value[0]):
            parts += [text[at : found.end()], MASK]
            at = value.end()
    return "".join((*parts, text[at:]))


def _mask_private_keys(text: str) -> str:
    while (begin := _PRIVATE_KEY.search(text)) is not None:
        end = _PRIVATE_KEY_END.search(text, begin.end())
        text = text[: begin.start()] + MASK + (text[end.end() :] if end is not None else "")
    return text


def _without_private_keys(lines: Iterable[str]) -> Iterable[str]:
    """The same over lines, which keep their number."""
    is_inside = False
    for line in lines:
        starts = _PRIVATE_KEY.search(line) is not None
        ends = _PRIVATE_KEY_END.search(line) is not None
        yield line[:1] + MASK if starts or ends or is_inside else line
        is_inside = (is_inside or starts) and not ends


def _mask_line(line: str) -> str:
    if len(line) > MAX_LINE_CHARS:
        return f"{line[:1]}[a line of {len(line):,} characters is left out]"
    return _mask_values(_mask_shapes(line), _NAME, _literal)


def _literal(name: str) -> re.Pattern[str]:
    """`key = "loss"` is no secret; `password = "correcthorse"` is."""
    bare = name.replace("_", "").replace("-", "").lower()
    return _LITERAL if bare.endswith(_PLAIN_ENDINGS) else _KEY_LITERAL
