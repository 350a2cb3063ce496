"""What an import told of a thing, remembered as digests, so that the next one brings what changed there and leaves what was changed here.

Pure. Three texts decide for each fact (a name, a tag, a stage, an alias): what the source told the last time, what it tells now, what is
here.

    told as before                  stays as it is here, whatever that is
    told anew, here as told before  becomes what is told now
    told anew, changed here, too    stays as it is here, and is named, once
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Facts", "News", "digests_of", "news_of"]

Facts = Mapping[str, str]
"""Texts by what they are: `name`, `tag lr`, `alias best`. What is absent is not there."""


@dataclass(frozen=True, slots=True)
class News:
    """What an import finds changed. bring: what to make of facts here; None takes one away. kept: changed on both sides."""

    bring: dict[str, str | None]
    kept: list[str]


def digests_of(facts: Facts) -> dict[str, str]:
    """What is remembered of what was told."""
    return {name: _digest(text) for name, text in facts.items()}


def news_of(before: Mapping[str, str], now: Facts, here: Facts) -> News:
    """What changed since.

    Args:
        before: `digests_of` what was told the last time.
    """
    news = News({}, [])
    for name in sorted({*before, *now}):
        told, found, known = now.get(name), here.get(name), before.get(name)
        if told == found or _digest_or_none(told) == known:
            continue
        if _digest_or_none(found) == known:
            news.bring[name] = told
        else:
            news.kept.append(name)
    return news


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def _digest_or_none(text: str | None) -> str | None:
    return None if text is None else _digest(text)
