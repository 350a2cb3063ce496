"""Cuts a filter or an order into tokens: names, texts, numbers, operators, brackets.

name     type.key, or a bare word. The key goes to the end of the word, dots included, or stands in backticks or double
         quotes: metrics."val acc". Outside MLflow's dialect a bare key may also hold / - and :
string   'single' or "double" quotes; a quote is doubled to stand for itself (MLflow's dialect keeps both, as MLflow
         does, and a backslash before it does not end the text there)
number   1  -0.5  .5  1e-3
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from ingest.search.errors import FilterError

__all__ = ["MAX_TEXT_CHARS", "Token", "tokenize"]

TokenKind: TypeAlias = Literal["name", "string", "number", "operator", "(", ")", ",", ";", "end"]

MAX_TEXT_CHARS: Final = 1_000_000
"""Of a filter. A user interface sends lists of run ids: 35 characters each, some thousands of them."""

_SPACE: Final = re.compile(r"\s*")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![\w.])")
_OPERATOR: Final = re.compile(r"[<>=!~]+")
_WORD: Final = re.compile(r"[^\W\d]\w*")
_STRICT_KEY: Final = re.compile(r"[\w.]+")
_KEY: Final = re.compile(r"[\w./:-]+")
_STRING: Final = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")
_STRICT_STRING: Final = re.compile(r"'(?:''|\\'|[^'])*'|\"(?:\"\"|\\\"|[^\"])*\"")
_UNUSABLE: Final = re.compile("[\x00\ud800-\udfff]")
"""What PostgreSQL's texts can't hold."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token and where it stands: text[start:end].

    value: of a string or a bare word without quotes; of a name with a dot, the key. type: of such a name, before the dot.
    """

    kind: TokenKind
    start: int
    end: int
    raw: str
    value: str = ""
    type: str | None = None
    is_quoted: bool = False

    def is_word(self, word: str) -> bool:
        """Whether this is the bare keyword, in any case."""
        return self.kind == "name" and self.type is None and not self.is_quoted and self.value.upper() == word


def tokenize(text: str, *, strict: bool) -> list[Token]:
    """The tokens of the text, and one of kind `end`.

    Raises:
        FilterError: Something is no token: a quote is not closed, a character means nothing here.
    """
    if len(text) > MAX_TEXT_CHARS:
        raise FilterError(f"the filter has {len(text)} characters, over the limit of {MAX_TEXT_CHARS}")
    if unusable := _UNUSABLE.search(text):
        raise FilterError("NUL and half surrogates can't be searched for", text, column=unusable.start() + 1)
    tokens: list[Token] = []
    at = _skip(text, 0)
    while at < len(text):
        token = _token(text, at, strict=strict)
        tokens.append(token)
        at = _skip(text, token.end)
    tokens.append(Token("end", len(text), len(text), ""))
    return tokens


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _token(text: str, at: int, *, strict: bool) -> Token:
    first = text[at]
    if first in "(),;":
        return Token(first, at, at + 1, first)  # type: ignore[arg-type]  # the four are kinds
    if first in "'\"":
        return _string(text, at, strict=strict)
    if first == "`" or _WORD.match(text, at):
        return _name(text, at, strict=strict)
    if found := _NUMBER.match(text, at):
        return Token("number", at, found.end(), found[0])
    if found := _OPERATOR.match(text, at):
        return Token("operator", at, found.end(), found[0])
    raise _meaningless(text, at, strict=strict)


def _meaningless(text: str, at: int, *, strict: bool, what: str = "this means nothing here") -> FilterError:
    if strict:
        return FilterError(f"Invalid clause(s) in filter string: '{text[at:]}'", text)
    return FilterError(what, text, column=at + 1)


def _string(text: str, at: int, *, strict: bool) -> Token:
    found = (_STRICT_STRING if strict else _STRING).match(text, at)
    if found is None:
        raise _meaningless(text, at, strict=strict, what="this quote is not closed")
    quote, inner = found[0][0], found[0][1:-1]
    value = inner if strict else inner.replace(quote * 2, quote)
    return Token("string", at, found.end(), found[0], value)


def _name(text: str, at: int, *, strict: bool) -> Token:
    """A bare word, or type.key. Either part may be quoted; a type only by backticks."""
    if text[at] == "`":
        word, end = _quoted(text, at, strict=strict)
        is_quoted = True
    else:
        end = _end_of_word(text, at)
        word, is_quoted = text[at:end], False
    if end >= len(text) or text[end] != ".":
        return Token("name", at, end, text[at:end], word, None, is_quoted)
    if end + 1 < len(text) and text[end + 1] in '`"':
        key, key_end = _quoted(text, end + 1, strict=strict)
    else:
        found = (_STRICT_KEY if strict else _KEY).match(text, end + 1)
        if found is None:
            raise _meaningless(text, at, strict=strict, what=f"{word}. needs a key after the dot")
        key, key_end = found[0], found.end()
    return Token("name", at, key_end, text[at:key_end], key, word)


def _end_of_word(text: str, at: int) -> int:
    found = _WORD.match(text, at)
    return found.end() if found else at


def _quoted(text: str, at: int, *, strict: bool) -> tuple[str, int]:
    """What stands between quotes from `at` on, and where they end. Doubled quotes stand for one."""
    quote = text[at]
    end = at + 1
    while True:
        end = text.find(quote, end)
        if end < 0:
            raise _meaningless(text, at, strict=strict, what="this quote is not closed")
        if text[end + 1 : end + 2] != quote:
            break
        end += 2
    return text[at + 1 : end].replace(quote * 2, quote), end + 1
