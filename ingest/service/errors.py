"""What can be wrong with a well-formed request. The text is for logs; each API words its answer from the attributes.

ServiceError
 ├─ ExperimentUnknown    by its id, or by its name
 ├─ ExperimentDeleted    it may be read and restored, nothing else
 ├─ NameTaken            by another experiment, perhaps a deleted one
 ├─ RunUnknown
 ├─ RunIsDeleted         as ExperimentDeleted
 ├─ TagUnknown           there is nothing to delete
 ├─ ParamsDiffer         params are written once
 └─ Unstorable           PostgreSQL can't store this content
"""

from __future__ import annotations

from uuid import UUID

from ingest.store.posts import ParamChange

__all__ = [
    "ExperimentDeleted",
    "ExperimentUnknown",
    "NameTaken",
    "ParamsDiffer",
    "RunIsDeleted",
    "RunUnknown",
    "ServiceError",
    "TagUnknown",
    "Unstorable",
]


class ServiceError(Exception):
    """Base of all errors here. Nothing was stored."""


class ExperimentUnknown(ServiceError):
    """There is no such experiment. `wanted`: the id or the name that was asked for."""

    def __init__(self, wanted: int | str) -> None:
        super().__init__(f"there is no experiment {wanted!r}")
        self.wanted = wanted


class ExperimentDeleted(ServiceError):
    """The experiment is deleted."""

    def __init__(self, experiment_id: int) -> None:
        super().__init__(f"experiment {experiment_id} is deleted")
        self.experiment_id = experiment_id


class NameTaken(ServiceError):
    """Another experiment has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is an experiment {name!r} already")
        self.name = name


class RunUnknown(ServiceError):
    """There is no such run."""

    def __init__(self, run_id: UUID) -> None:
        super().__init__(f"there is no run {run_id.hex}")
        self.run_id = run_id


class RunIsDeleted(ServiceError):
    """The run is deleted."""

    def __init__(self, run_id: UUID) -> None:
        super().__init__(f"run {run_id.hex} is deleted")
        self.run_id = run_id


class TagUnknown(ServiceError):
    """There is no such tag. `owner`: the run or the experiment."""

    def __init__(self, key: str, owner: UUID | int) -> None:
        super().__init__(f"{owner} has no tag {key!r}")
        self.key = key
        self.owner = owner


class ParamsDiffer(ServiceError):
    """Params of the run have other values already."""

    def __init__(self, run_id: UUID, changes: tuple[ParamChange, ...]) -> None:
        super().__init__(
            f"run {run_id.hex} has other values for {', '.join(change.key for change in changes)}"
        )
        self.run_id = run_id
        self.changes = changes


class Unstorable(ServiceError):
    """The database refused the content itself."""
