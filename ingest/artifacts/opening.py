"""From the setting `artifact_root` to a store. The one place that knows all kinds of them."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

from ingest.artifacts import addresses
from ingest.artifacts.errors import ArtifactError, StoreMisconfigured
from ingest.artifacts.library import Artifacts
from ingest.artifacts.object_options import SCHEMES, read_root
from ingest.artifacts.store import Store
from ingest.artifacts.uploads import sweep_uploads

__all__ = ["local_root", "open_artifacts", "open_store"]

logger = logging.getLogger(__name__)

SWEEP_PAUSE: Final = 3600.0
"""Seconds between two looks for unfinished uploads."""


def open_store(root: str, options: Mapping[str, str]) -> Store:
    """The store at this root.

    Args:
        root: A directory, or a URL: file, s3, gs, az, sftp.
        options: The setting `artifact_options`.

    Raises:
        StoreMisconfigured: Names the setting and what is wrong. That a remote store does not answer is no error yet.
    """
    directory = local_root(root)
    if directory is not None:
        from ingest.artifacts.local import LocalStore

        return LocalStore(directory)
    scheme = _scheme(root)
    match scheme:
        case "sftp":
            from ingest.artifacts.sftp import SftpStore

            return SftpStore.of_url(root, options)
        case _ if scheme in SCHEMES:
            from ingest.artifacts.objects import ObjectStore

            return ObjectStore(read_root(root, options, os.environ))
        case _:
            raise StoreMisconfigured(
                f"artifact_root: {scheme}:// is no kind of store; take a directory, s3://, gs://, az:// or sftp://"
            )


def local_root(root: str) -> Path | None:
    """The directory that a root is; None: it is no directory of this machine."""
    match _scheme(root):
        case "":
            return Path(root).expanduser().absolute()
        case "file":
            return _directory(root)
        case _:
            return None


def _scheme(root: str) -> str:
    return urlsplit(root).scheme.lower() if "://" in root else ""


def _directory(url: str) -> Path:
    parts = urlsplit(url)
    if parts.netloc not in {"", "localhost"} or not parts.path.startswith("/"):
        raise StoreMisconfigured("artifact_root: a file URL has the form file:///directory")
    return Path(unquote(parts.path))


@asynccontextmanager
async def open_artifacts(
    root: str,
    options: Mapping[str, str],
    *,
    mode: Literal["proxied", "direct"],
    transfers_num: int,
    upload_ttl: float,
) -> AsyncIterator[Artifacts]:
    """The artifacts at this root for as long as the block, and what sweeps it."""
    store = open_store(root, options)
    try:
        if mode == "direct" and store.uri is None:
            raise StoreMisconfigured(
                "artifact_mode: direct works only where artifact_root is s3://, gs:// or az://"
            )
        addresses.tell(store.uri if mode == "direct" else None)
        artifacts = Artifacts(store, transfers_num=transfers_num)
        sweeping = asyncio.create_task(_sweep_now_and_then(artifacts, upload_ttl), name="artifact-sweeper")
        try:
            yield artifacts
        finally:
            sweeping.cancel()
            await asyncio.wait((sweeping,))
    finally:
        await store.close()


async def _sweep_now_and_then(artifacts: Artifacts, upload_ttl: float) -> None:
    """For ever. Every process does it: two that meet find less to do."""
    while True:
        try:
            swept = await artifacts.store.sweep(older_than=upload_ttl)
            swept += await sweep_uploads(artifacts, older_than=upload_ttl)
            if swept:
                logger.info("swept %d unfinished uploads from %s", swept, artifacts.store.name)
        except ArtifactError as error:
            logger.warning("unfinished uploads could not be swept: %s", error)
        await asyncio.sleep(SWEEP_PAUSE * random.uniform(0.8, 1.2))
