"""How a user's file is labelled when it goes out. Pure. Nothing of it may run in the service's origin.

What anybody uploaded is shown by a browser only if its type is on a short list that holds no scripts; everything else is
offered to be saved. The policy of every such answer is a sandbox without scripts or requests, and `nosniff` keeps the browser
from taking a text for a page.
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

__all__ = ["content_headers", "content_type", "frame_headers"]

_TEXTS: Final = frozenset(
    {
        "txt", "log", "err", "cfg", "conf", "cnf", "cf", "ini", "properties", "prop", "hocon", "toml", "yaml", "yml",
        "xml", "json", "jsonl", "js", "py", "py3", "csv", "tsv", "md", "rst", "ipynb", "diff", "patch", "sh", "sql",
    }
)  # fmt: skip
_TEXT_NAMES: Final = frozenset({"mlmodel", "mlproject"})
_SHOWN: Final = re.compile(
    r"text/plain|image/(png|jpeg|gif|webp|avif|bmp|vnd\.microsoft\.icon|x-icon)|(audio|video)/[\w.+-]+"
)
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'"
_FRAME_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; media-src data:; sandbox; frame-ancestors 'self'"
_UNSAFE_IN_NAME: Final = re.compile(r"[^\x20-\x7e]|[\"\\%;]")


def content_type(name: str) -> str:
    """The media type by the name's ending; texts of every kind are plain."""
    ending = name.rpartition(".")[2].lower() if "." in name else ""
    if ending in _TEXTS or name.lower() in _TEXT_NAMES:
        return "text/plain"
    guessed, encoding = mimetypes.guess_type("x." + ending) if ending else (None, None)
    return guessed if guessed is not None and encoding is None else "application/octet-stream"


def content_headers(name: str, *, may_show: bool) -> Mapping[str, str]:
    """Headers of an answer that holds the file.

    Args:
        name: Its last name.
        may_show: Whether a browser may show it at all; False: it is always offered to be saved.
    """
    kind = content_type(name)
    shown = may_show and _SHOWN.fullmatch(kind) is not None
    return {
        "Content-Type": kind + ("; charset=utf-8" if kind == "text/plain" else ""),
        "Content-Disposition": _disposition("inline" if shown else "attachment", name),
        "Content-Security-Policy": _POLICY,
        "Cache-Control": "private, no-cache",
    }


def frame_headers() -> Mapping[str, str]:
    """Headers of somebody's page in a frame of the dashboard: its styles hold; no script, no form, no request, an origin of its own."""
    return {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Disposition": "inline",
        "Content-Security-Policy": _FRAME_POLICY,
        "X-Frame-Options": "SAMEORIGIN",
        "Cache-Control": "private, no-cache",
    }


def _disposition(kind: str, name: str) -> str:
    """RFC 6266: a plain name for everybody, and the real one, if it needs it, for those who know RFC 8187."""
    plain = _UNSAFE_IN_NAME.sub("_", name)
    value = f'{kind}; filename="{plain}"'
    return value if plain == name else f"{value}; filename*=UTF-8''{quote(name, safe='')}"
