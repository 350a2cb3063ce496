"""How a request fails in MLflow's tongue: `{"error_code": NAME, "message": text}` and the status that goes with the name.

The stock client raises `RestException("NAME: text")` and decides by the status whether to send again: 408, 429 and
5xx mean "again", so that anything which stays wrong must be a 4xx. Scripts match parts of the texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = [
    "API_DOCS",
    "STATUS_OF",
    "MlflowError",
    "already_exists",
    "internal_error",
    "not_found",
    "refused",
]

STATUS_OF: Final[Mapping[str, int]] = {
    "INVALID_PARAMETER_VALUE": 400,
    "BAD_REQUEST": 400,
    "RESOURCE_ALREADY_EXISTS": 400,  # not 409: two clients racing in set_experiment look for this very pair
    "UNAUTHENTICATED": 401,
    "CUSTOMER_UNAUTHORIZED": 401,
    "PERMISSION_DENIED": 403,
    "RESOURCE_DOES_NOT_EXIST": 404,
    "NOT_FOUND": 404,
    "ENDPOINT_NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "RESOURCE_CONFLICT": 409,
    "ABORTED": 409,
    "REQUEST_LIMIT_EXCEEDED": 429,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL_ERROR": 500,
    "INVALID_STATE": 400,  # 500 on the reference server: its client repeats that for minutes, and nothing changes
    "DATA_LOSS": 500,
    "NOT_IMPLEMENTED": 501,
    "TEMPORARILY_UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}

API_DOCS: Final = " See the API docs for more information about request parameters."
"""The end of every message about a field's presence or type."""


class MlflowError(Exception):
    """A request that is not done, as MLflow says it. The only exception that anything in this package raises.

    Attributes:
        code: A key of `STATUS_OF`.
        message: What the user reads.
        retry_after: Seconds for the header of that name, or None.
    """

    def __init__(self, code: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retry_after = retry_after

    @property
    def status(self) -> int:
        return STATUS_OF[self.code]

    def body(self) -> dict[str, str]:
        return {"error_code": self.code, "message": self.message}


def refused(message: str) -> MlflowError:
    """400: the request can't be done as it is, however often it is sent."""
    return MlflowError("INVALID_PARAMETER_VALUE", message)


def not_found(message: str) -> MlflowError:
    """404: what the request names is not there."""
    return MlflowError("RESOURCE_DOES_NOT_EXIST", message)


def already_exists(message: str) -> MlflowError:
    """400, and not 409: see `STATUS_OF`."""
    return MlflowError("RESOURCE_ALREADY_EXISTS", message)


def internal_error(message: str) -> MlflowError:
    """500: a fault of the service."""
    return MlflowError("INTERNAL_ERROR", message)
