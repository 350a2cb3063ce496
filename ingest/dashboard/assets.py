"""The dashboard's files as they are served: read once, compressed once, named by their digest. Pure but for reading the package.

All files lie below one address that holds the digest of them all, `/static/<digest>/…`: whatever a browser keeps for ever fits
together, and a new release has new addresses. Modules import each other by relative paths, so no build step names anything.
Only `index.html` knows the digest; `{{base}}` in it stands for that address, and `{{preload}}` for the names of all modules, which a
browser then fetches at once instead of finding them one behind the other. Its one inline element is the import map, which
names the vendored libraries; browsers take no import map from a file, so the policy admits this one by its hash.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

__all__ = ["Asset", "Dashboard", "load_dashboard"]

_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".html": "text/html; charset=utf-8",
}
"""Files of other types (licences, hashes) are not served."""
_IMPORT_MAP: Final = re.compile(r'<script type="importmap">(.*?)</script>', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Asset:
    """One file, plain and compressed."""

    body: bytes
    gzipped: bytes
    content_type: str
    etag: str

    @classmethod
    def of(cls, body: bytes, suffix: str) -> Asset:
        digest = hashlib.sha256(body).hexdigest()[:20]
        return cls(body, gzip.compress(body, 9, mtime=0), _TYPES[suffix], f'"{digest}"')


@dataclass(frozen=True, slots=True)
class Dashboard:
    """Everything that a browser needs.

    Attributes:
        digest: Of all files together.
        page: index.html, the same for every page's address.
        policy: The page's Content-Security-Policy.
        assets: By path below /static/<digest>/.
    """

    digest: str
    page: Asset
    policy: str
    assets: dict[str, Asset]


@cache
def load_dashboard() -> Dashboard:
    """The dashboard of this release."""
    found = dict(_walk(files("ingest.dashboard"), ""))
    index = found.pop("index.html").decode()
    together = hashlib.sha256(index.encode())
    for path, body in sorted(found.items()):
        together.update(path.encode() + b"\0" + hashlib.sha256(body).digest())
    digest = together.hexdigest()[:16]
    modules = "\n".join(
        f'<link rel="modulepreload" href="{{{{base}}}}/{path}">' for path in sorted(found) if _is_module(path)
    )
    page = index.replace("{{preload}}", modules).replace("{{base}}", f"/static/{digest}")
    assets = {path: Asset.of(body, _suffix(path)) for path, body in found.items()}
    return Dashboard(digest, Asset.of(page.encode(), ".html"), _policy(page), assets)


def _is_module(path: str) -> bool:
    return path.endswith((".js", ".mjs")) and path != "js/theme.js"  # a script, before anything is painted


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _walk(entry, f"{prefix}{entry.name}/")
        elif _suffix(entry.name) in _TYPES:
            found.append((prefix + entry.name, entry.read_bytes()))
    return found


def _suffix(path: str) -> str:
    return "." + path.rpartition(".")[2]


def _policy(page: str) -> str:
    """What the page may load and run: this service's files, and pictures that it draws itself."""
    maps = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in _IMPORT_MAP.findall(page)
    ]
    hashes = "".join(f" 'sha256-{digest}'" for digest in maps)
    return (
        f"default-src 'self'; script-src 'self'{hashes}; style-src 'self'; img-src 'self' data: blob:; frame-src 'self' blob:; "
        "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
