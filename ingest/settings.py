"""Every setting of the service: where it may come from, what it means, which values it takes.

Precedence: command-line flags, then the environment (`INGEST_*`), then a TOML file, then the defaults below. The
environment and the file are read here, once, at start; no function looks there later. A setting can also be given as
a file holding its value, `INGEST_<NAME>_FILE`, which is how container platforms hand over secrets.

The settings come in groups, one per concern, and each group is a type of its own: a function that only needs the
limits takes `LimitSettings`, and any `Settings` is one. In the TOML file a group is a table:

    [server]
    host = "0.0.0.0"
    [database]
    database_url = "postgresql://ingest@db/ingest"

Units: seconds and bytes, said in each description. Errors: SettingsError, naming the setting and its origin.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit, urlunsplit

import platformdirs
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from ingest_schema.limits import MAX_BATCH_BYTES

ENV_PREFIX = "INGEST_"
CONFIG_FILE_NAME = "ingest.toml"
CLIENT_VARIABLES = frozenset(
    ENV_PREFIX + name
    for name in (
        "TRACKING_URI", "TOKEN", "TLS_CA", "SPOOL_DIR", "SPOOL_MAX_BYTES", "ARTIFACT_SPOOL_MAX_BYTES",
        "MODE", "MAX_AGE", "SHUTDOWN_TIMEOUT", "DISTRIBUTED", "JOB_ID",
        "SYSTEM_METRICS", "SYSTEM_METRICS_INTERVAL", "ENVIRONMENT",
        "EXPERIMENT_NAME", "EXPERIMENT_ID", "RUN_ID",
    )
)  # fmt: skip
"""Variables that are the client's: they may be set where a service runs, and are no misspelt settings."""
MIB = 1024 * 1024

_KUBERNETES_LINK = re.compile(ENV_PREFIX + r"(SERVICE_(HOST|PORT)|PORT_\d+_(TCP|UDP))")

_GROUP = ConfigDict(frozen=True, use_attribute_docstrings=True)


class SettingsError(Exception):
    """One or more settings can't be used; the message names each of them, its origin and what is expected."""


def _check_database_url(url: str | None) -> str | None:
    """Refuse what is not PostgreSQL before anything tries to connect."""
    if url is not None and urlsplit(url).scheme not in {"postgresql", "postgres"}:
        raise ValueError("must be a URL such as postgresql://user:password@host:5432/database")
    return url


def _split_commas(value: Any) -> Any:
    """Take `a, b` from the environment and a list from TOML."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _expand_user(path: Path) -> Path:
    return path.expanduser().absolute()


DatabaseUrl = Annotated[str | None, AfterValidator(_check_database_url)]
UserPath = Annotated[Path, AfterValidator(_expand_user)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_commas)]


class ServerSettings(BaseModel):
    """Where the service listens, who may reach it, how it stops."""

    model_config = _GROUP

    host: str = Field(default="127.0.0.1", min_length=1)
    """Address to listen on. Anything off loopback needs a token in the database (`ingest token create`)."""
    port: int = Field(default=5000, ge=0, le=65535)
    """TCP port; 0 takes a free one and prints it."""
    workers: int = Field(default=1, ge=1, le=256)
    """Processes that serve requests, all on the one port."""
    allowed_hosts: Names = ()
    """Names a request's Host header may carry besides loopback and this machine's own addresses, separated by
    commas. A leading dot allows every name below a domain; `*` switches the check off."""
    require_token: bool | None = None
    """Whether requests need a token. Unset: only when listening off loopback. Set it behind a reverse proxy."""
    drain_timeout: float = Field(default=30.0, gt=0, le=3600)
    """Seconds that SIGTERM waits for requests under way and for accepted batches to be committed."""
    mlflow_ui: bool = False
    """Whether MLflow's own user interface is served, too, at /mlflow: that of the mlflow package installed beside the service."""
    ready_file: UserPath | None = None
    """File that receives the service's URL once it takes requests."""


class DatabaseSettings(BaseModel):
    """Which PostgreSQL, and where this machine keeps data."""

    model_config = _GROUP

    database_url: DatabaseUrl = Field(default=None, repr=False)
    """PostgreSQL 14 or later. Unset: the bundled PostgreSQL in the data directory."""
    reader_database_url: DatabaseUrl = Field(default=None, repr=False)
    """The same database as a role that may only read the public tables and views; serves `POST /api/v1/sql`.
    Unset: the role that `ingest migrate` made."""
    data_dir: UserPath = Field(default_factory=lambda: Path(platformdirs.user_data_path("ingest")))
    """Holds the bundled PostgreSQL, and the artifacts by default."""
    postgres_user: str | None = None
    """Operating system user that runs the bundled PostgreSQL when the service runs as root."""
    postgres_options: dict[str, str] = Field(default_factory=dict)
    """PostgreSQL settings that override ours for the bundled server, such as {"shared_buffers": "1GB"}."""
    database_wait: float = Field(default=60.0, ge=0, le=3600)
    """Seconds to go on trying when PostgreSQL can't be reached at start."""


class ArtifactSettings(BaseModel):
    """Where files of runs and models lie, and how they get there; docs/artifacts.md."""

    model_config = _GROUP

    artifact_root: str | None = None
    """Directory or URL (`s3://`, `gs://`, `az://`, `sftp://`) under which artifacts are stored. Unset: `artifacts` in the
    data directory."""
    artifact_options: dict[str, str] = Field(default_factory=dict, repr=False)
    """How to reach a root that is a URL, such as {"endpoint": "http://minio:9000"}; what is not given comes from the usual
    variables of that store."""
    artifact_mode: Literal["proxied", "direct"] = "proxied"
    """`proxied`: files pass through the service. `direct`: MLflow's clients are told the store's own address and use it with
    credentials of their own; object stores only."""
    artifact_transfers: int = Field(default=32, ge=1, le=1024)
    """Files on their way in, and as many on their way out, through one process at once; each takes a few pieces of memory."""
    artifact_upload_ttl: float = Field(default=86_400.0, ge=60, le=30 * 86_400)
    """Seconds without a new byte after which an unfinished upload is swept."""


class LimitSettings(BaseModel):
    """What bounds the memory and the connections of one process."""

    model_config = _GROUP

    queue_max_bytes: int = Field(default=256 * MIB, ge=MIB)
    """Bytes of accepted, uncommitted batches in one process. Over it: 429 with Retry-After."""
    max_body_bytes: int = Field(default=MAX_BATCH_BYTES, ge=64 * 1024, le=MAX_BATCH_BYTES)
    """Bytes of one request body as sent, and of a batch once decompressed."""
    writer_connections: int = Field(default=4, ge=1, le=64)
    """Database connections of one process that write batches."""
    reader_connections: int = Field(default=4, ge=1, le=64)
    """Database connections of one process that answer reads; apart, so that readers cannot starve writers."""
    chart_connections: int = Field(default=0, ge=0, le=64)
    """Database connections of one process that draw charts; apart again, since one chart may read millions of points. 0: half as many as
    the machine has cores, 1 to 4; more of them at work than cores left over make writers wait."""
    read_timeout: float = Field(default=30.0, gt=0, le=3600)
    """Seconds that one read of ours may take in PostgreSQL."""


class SqlSettings(BaseModel):
    """Bounds of `POST /api/v1/sql`; a request may ask for less, never for more."""

    model_config = _GROUP

    sql_timeout: float = Field(default=30.0, gt=0, le=3600)
    """Seconds that one statement may run."""
    sql_max_rows: int = Field(default=100_000, ge=1, le=10_000_000)
    """Rows of one answer."""
    sql_connections: int = Field(default=2, ge=1, le=64)
    """Connections of one process for users' SQL."""


class UpkeepSettings(BaseModel):
    """What the service does by itself in the background, in one process of all on a database."""

    model_config = _GROUP

    compaction: bool = Field(default=True)
    """Whether small chunks are merged into rows of about a thousand points."""
    spool_intake: bool = Field(default=True)
    """Whether the service delivers to itself what runs of its own user on this machine have left in the spool for its
    address (127.0.0.1, localhost or this machine's name, and its port)."""
    spool_intake_interval: float = Field(default=60.0, ge=1, le=86_400)
    """Seconds between two looks at the spool; the first is at start."""
    lost_after: float = Field(default=90.0, ge=5, le=30 * 86_400)
    """Seconds without a sign of life from any of its writers after which a running run is marked LOST."""


class LogSettings(BaseModel):
    """What the service says about itself, on standard error."""

    model_config = _GROUP

    log_format: Literal["console", "json"] = "console"
    """`console` for people, `json` for one object a line."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe messages shown."""
    access_log: bool = False
    """Whether every request is logged; failed ones always are, at debug level below 500."""


GROUPS: Mapping[str, type[BaseModel]] = {
    "server": ServerSettings,
    "database": DatabaseSettings,
    "artifacts": ArtifactSettings,
    "limits": LimitSettings,
    "sql": SqlSettings,
    "upkeep": UpkeepSettings,
    "logs": LogSettings,
}


class Settings(
    ServerSettings,
    DatabaseSettings,
    ArtifactSettings,
    LimitSettings,
    SqlSettings,
    UpkeepSettings,
    LogSettings,
    BaseSettings,
):
    """All settings of one service. Constructing it reads no environment; `load_settings` does."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix=ENV_PREFIX)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # the signature is the base class's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take only what the constructor is given: `load_settings` merges the sources and knows their origins."""
        return (init_settings,)

    @property
    def artifact_location(self) -> str:
        """The artifact root with its default filled in."""
        return self.artifact_root or str(self.data_dir / "artifacts")

    @property
    def chart_pool_size(self) -> int:
        """`chart_connections` with its default filled in."""
        return self.chart_connections or max(1, min(4, (os.cpu_count() or 1) // 2))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False

    @property
    def needs_token(self) -> bool:
        return not self.is_loopback if self.require_token is None else self.require_token


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings and, for each, where its value came from: `flag`, a variable, a file or `default`."""

    settings: Settings
    origins: Mapping[str, str]
    warnings: tuple[str, ...] = ()
    """What looks like a mistake and is no reason to stop: variables that nothing reads."""


def load_settings(
    flags: Mapping[str, object] | None = None, *, config: Path | None = None, cwd: Path | None = None
) -> LoadedSettings:
    """Merge flags, environment, file and defaults.

    Args:
        flags: Values given on the command line, by setting name; None means not given.
        config: The file named by `--config`. Otherwise `INGEST_CONFIG`, `ingest.toml` in the working directory, then
            the one in the user's configuration directory; only a file that was named has to exist.
        cwd: Working directory, for tests.

    Raises:
        SettingsError: A value is refused, a setting is unknown, or a file can't be read.
    """
    values: dict[str, object] = {}
    origins = dict.fromkeys(Settings.model_fields, "default")
    layers = [
        *_read_toml(_find_config(config, cwd or Path.cwd())),
        *_read_environment(),
        *((name, value, "flag --" + name.replace("_", "-")) for name, value in (flags or {}).items()),
    ]
    for name, value, origin in layers:
        if value is not None:
            values[name] = value
            origins[name] = origin
    try:
        settings = Settings(**values)  # type: ignore[arg-type]  # pydantic checks each value
    except ValidationError as error:
        raise SettingsError(_explain(error, origins)) from None
    return LoadedSettings(settings, origins, tuple(_unknown_variables()))


def _unknown_variables() -> Iterator[str]:
    """A warning for each INGEST_ variable that nothing reads, with the name that was probably meant."""
    known = {ENV_PREFIX + name.upper() + end for name in Settings.model_fields for end in ("", "_FILE")}
    known |= {ENV_PREFIX + "CONFIG", *CLIENT_VARIABLES}
    # Kubernetes sets INGEST_SERVICE_HOST, INGEST_PORT_5000_TCP and the like in each pod near a Service named ingest.
    for variable in sorted(name for name in os.environ if name.startswith(ENV_PREFIX)):
        if variable in known or _KUBERNETES_LINK.match(variable):
            continue
        near = difflib.get_close_matches(variable, sorted(known), n=1, cutoff=0.75)
        yield f"no setting is called {variable}" + (
            f"; did you mean {near[0]}?" if near else "; it is ignored"
        )


def _find_config(named: Path | None, cwd: Path) -> Path | None:
    if named is None and (variable := os.environ.get(ENV_PREFIX + "CONFIG")):
        named = Path(variable)
    if named is not None:
        return named.expanduser()
    places = (cwd / CONFIG_FILE_NAME, Path(platformdirs.user_config_path("ingest")) / CONFIG_FILE_NAME)
    return next((place for place in places if place.is_file()), None)


def _read_toml(path: Path | None) -> list[tuple[str, object, str]]:
    if path is None:
        return []
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read the settings file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"the settings file {path} is not TOML: {error}") from error
    found: list[tuple[str, object, str]] = []
    for group, table in tables.items():
        known = GROUPS.get(group)
        if known is None or not isinstance(table, dict):
            raise SettingsError(f"{path}: [{group}] is no group of settings; there are {', '.join(GROUPS)}")
        for name, value in table.items():
            if name not in known.model_fields:
                raise SettingsError(
                    f"{path}: [{group}] has no setting {name!r}; it has {', '.join(known.model_fields)}"
                )
            found.append((name, value, str(path)))
    return found


def _read_environment() -> list[tuple[str, object, str]]:
    found: list[tuple[str, object, str]] = []
    for name in Settings.model_fields:
        variable = f"{ENV_PREFIX}{name.upper()}_FILE"
        if path := os.environ.get(variable):
            try:
                found.append((name, Path(path).read_text(encoding="utf-8").strip(), variable))
            except (OSError, UnicodeDecodeError) as error:
                raise SettingsError(f"{name}: cannot read {path}, named by {variable}: {error}") from error
    try:
        given = EnvSettingsSource(Settings)()
    except ValueError as error:  # its message names the field; pydantic-settings raises it for broken JSON
        raise SettingsError(f"the environment: {error}") from error
    found += ((name, value, ENV_PREFIX + name.upper()) for name, value in given.items())
    return found


def _explain(error: ValidationError, origins: Mapping[str, str]) -> str:
    lines = []
    for problem in error.errors(include_url=False):
        name = str(problem["loc"][0])
        shown = "" if "url" in name else f", not {problem['input']!r}"
        message = problem["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
        lines.append(f"{name}: {message}{shown} (from {origins.get(name, 'an unknown origin')})")
    return "\n".join(lines)


def mask_url(url: str) -> str:
    """The URL with its password, in either place it may stand, replaced by `***`."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    if parts.password is not None:
        host = f"{parts.username or ''}:***@{host}"
    elif parts.username:
        host = f"{parts.username}@{host}"
    query = "&".join(
        "password=***" if item.startswith("password=") else item for item in parts.query.split("&") if item
    )
    return urlunsplit((parts.scheme, host, parts.path, query, parts.fragment))


def shown_value(settings: Settings, name: str) -> object:
    """A setting's value as it may be printed: passwords masked, paths as text."""
    value = getattr(settings, name)
    if value is not None and name.endswith("database_url"):
        return mask_url(value)
    return str(value) if isinstance(value, Path) else value
