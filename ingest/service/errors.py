"""What can be wrong with a well-formed request. The text is for logs; each API words its answer from the attributes.

ServiceError
 ├─ ExperimentUnknown    by its id, or by its name
 ├─ ExperimentDeleted    it may be read and restored, nothing else
 ├─ NameTaken            by another experiment, perhaps a deleted one
 ├─ RunUnknown
 ├─ RunIsDeleted         as ExperimentDeleted
 ├─ TagUnknown           there is nothing to delete
 ├─ ParamsDiffer         params are written once
 ├─ ModelUnknown         a logged model, by its id
 ├─ ModelTagUnknown, ModelParamsDiffer     as TagUnknown and ParamsDiffer, of a logged model
 ├─ RegisteredUnknown    a registered model, by its name
 ├─ RegistryNameTaken    by another registered model
 ├─ VersionUnknown, AliasUnknown           of a registered model
 └─ Unstorable           PostgreSQL can't store this content
"""

from __future__ import annotations

from uuid import UUID

from ingest.store.posts import ParamChange

__all__ = [
    "AliasUnknown",
    "ExperimentDeleted",
    "ExperimentUnknown",
    "ModelParamsDiffer",
    "ModelTagUnknown",
    "ModelUnknown",
    "NameTaken",
    "ParamsDiffer",
    "RegisteredUnknown",
    "RegistryNameTaken",
    "RunIsDeleted",
    "RunUnknown",
    "ServiceError",
    "TagUnknown",
    "Unstorable",
    "VersionUnknown",
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


class ModelUnknown(ServiceError):
    """There is no such logged model, or it is deleted."""

    def __init__(self, model_id: str) -> None:
        super().__init__(f"there is no logged model {model_id!r}")
        self.model_id = model_id


class ModelTagUnknown(ServiceError):
    """The logged model has no such tag."""

    def __init__(self, model_id: str, key: str) -> None:
        super().__init__(f"logged model {model_id} has no tag {key!r}")
        self.model_id = model_id
        self.key = key


class ModelParamsDiffer(ServiceError):
    """The logged model has this param with another value."""

    def __init__(self, model_id: str, key: str, old_value: str, new_value: str) -> None:
        super().__init__(f"logged model {model_id} has another value for {key!r}")
        self.model_id = model_id
        self.key = key
        self.old_value = old_value
        self.new_value = new_value


class RegisteredUnknown(ServiceError):
    """There is no registered model of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no registered model {name!r}")
        self.name = name


class RegistryNameTaken(ServiceError):
    """Another registered model has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is a registered model {name!r} already")
        self.name = name


class VersionUnknown(ServiceError):
    """The registered model is not there, or has no such version."""

    def __init__(self, name: str, version: int) -> None:
        super().__init__(f"registered model {name!r} has no version {version}")
        self.name = name
        self.version = version


class AliasUnknown(ServiceError):
    """The registered model has no such alias."""

    def __init__(self, name: str, alias: str) -> None:
        super().__init__(f"registered model {name!r} has no alias {alias!r}")
        self.name = name
        self.alias = alias
