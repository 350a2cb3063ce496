"""What can be wrong with an export, or with where it goes.

TransferError
 ├─ BadExport       the directory is none, is incomplete, or is not what its manifest says
 └─ TargetExists    there is something already where the export should go
"""

from __future__ import annotations

__all__ = ["BadExport", "TargetExists", "TransferError"]


class TransferError(Exception):
    """Base of the errors here; the message says what to do."""


class BadExport(TransferError):
    """The directory can't be imported. Nothing was changed by finding that out."""


class TargetExists(TransferError):
    """The target is not empty. Nothing was written."""
