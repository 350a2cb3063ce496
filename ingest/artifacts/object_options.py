"""What `artifact_root` and `artifact_options` say about an object store. Pure, but for the environment that is passed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

from ingest.artifacts.errors import StoreMisconfigured, UnsafePath
from ingest.artifacts.paths import check_prefix, join

__all__ = ["SCHEMES", "ObjectRoot", "read_root"]

Kind = Literal["s3", "gcs", "azure"]

SCHEMES: Final[Mapping[str, Kind]] = {"s3": "s3", "s3a": "s3", "gs": "gcs", "az": "azure", "azure": "azure"}
ENDPOINTS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gcs": (),
    "azure": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
"""Variables by which the stores' own tools are told another address; the first that is set counts."""
ACCOUNTS: Final = ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT")
CLIENT_OPTIONS: Final = frozenset(
    {
        "allow_http", "allow_invalid_certificates", "connect_timeout", "http1_only", "http2_only", "pool_idle_timeout",
        "proxy_ca_certificate", "proxy_excludes", "proxy_url", "root_certificate", "timeout", "user_agent",
    }
)  # fmt: skip
"""Options that are about HTTP; the others are about the store."""
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_BOOLEANS: Final = frozenset({"allow_http", "allow_invalid_certificates", "http1_only", "http2_only"})


@dataclass(frozen=True, slots=True)
class ObjectRoot:
    """Where files are, and how to get there. config may hold secrets."""

    kind: Kind
    url: str
    bucket: str
    prefix: str
    config: Mapping[str, str] = field(repr=False)
    client_options: Mapping[str, object] = field(repr=False)
    client_uri: str | None
    """The root as MLflow's client names it."""


def read_root(url: str, options: Mapping[str, str], environment: Mapping[str, str]) -> ObjectRoot:
    """The store that the settings describe.

    Raises:
        StoreMisconfigured: The URL is not one of a bucket.
    """
    parts = urlsplit(url)
    kind = SCHEMES[parts.scheme.lower()]
    if not parts.netloc or "@" in parts.netloc or parts.query or parts.fragment:
        raise StoreMisconfigured(
            f"artifact_root: {parts.scheme}://BUCKET/PREFIX is wanted; keys and addresses belong into artifact_options or the "
            "store's own variables"
        )
    try:
        prefix = check_prefix(unquote(parts.path).strip("/"))
    except UnsafePath as error:
        raise StoreMisconfigured(f"artifact_root: {error}") from error
    config = {name: value for name, value in options.items() if name not in CLIENT_OPTIONS}
    client: dict[str, object] = {
        name: value.lower() in _TRUE if name in _BOOLEANS else value
        for name, value in options.items()
        if name in CLIENT_OPTIONS
    }
    endpoint = options.get("endpoint") or next(
        (environment[name] for name in ENDPOINTS[kind] if environment.get(name)), ""
    )
    if endpoint.startswith("http://"):  # whoever writes that means it
        client.setdefault("allow_http", True)
    return ObjectRoot(
        kind=kind,
        url=f"{parts.scheme}://{join(parts.netloc, prefix)}",
        bucket=parts.netloc,
        prefix=prefix,
        config=config,
        client_options=client,
        client_uri=_client_uri(kind, parts.netloc, prefix, options, environment),
    )


def _client_uri(
    kind: Kind, bucket: str, prefix: str, options: Mapping[str, str], environment: Mapping[str, str]
) -> str | None:
    if kind != "azure":
        return f"{'s3' if kind == 's3' else 'gs'}://{join(bucket, prefix)}"
    account = options.get("account_name") or next(
        (environment[name] for name in ACCOUNTS if environment.get(name)), None
    )
    # MLflow's client wants the account in the URL.
    return account and f"wasbs://{bucket}@{account}.blob.core.windows.net/{prefix}".rstrip("/")
