"""What can be wrong with what another tool wrote, or with taking it in.

SourceError
 ├─ BadSource       it is not there, can't be read, or is not what it was said to be
 └─ ImportStopped   a run can't be taken in
"""

from __future__ import annotations

__all__ = ["BadSource", "ImportStopped", "SourceError"]


class SourceError(Exception):
    """Base of the errors here. What was imported before stays, whole; the same command again goes on."""


class BadSource(SourceError):
    """The source can't be read; the message says where and what was expected."""


class ImportStopped(SourceError):
    """The database refuses a run."""
