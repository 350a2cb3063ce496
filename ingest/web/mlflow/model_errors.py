"""What can be wrong with a request about models, in MLflow's words."""

from __future__ import annotations

from ingest.mlflow.errors import MlflowError, already_exists, not_found, refused
from ingest.mlflow.logged_models import model_not_found
from ingest.service.errors import (
    AliasUnknown,
    ModelParamsDiffer,
    ModelTagUnknown,
    ModelUnknown,
    RegisteredUnknown,
    RegistryNameTaken,
    ServiceError,
    VersionUnknown,
)

__all__ = ["model_error"]


def model_error(error: ServiceError) -> MlflowError | None:
    """The answer, or None if the error is about something else."""
    match error:
        case ModelUnknown():
            return model_not_found(error.model_id)
        case ModelTagUnknown():
            return not_found(f"No tag with key {error.key!r} found for model with ID {error.model_id!r}.")
        case ModelParamsDiffer():
            return refused(
                f"Changing param values is not allowed. Param with key='{error.key}' was already logged with "
                f"value='{error.old_value}' for model ID='{error.model_id}'. Attempted logging new value "
                f"'{error.new_value}'."
            )
        case RegisteredUnknown():
            return not_found(f"Registered Model with name={error.name} not found")
        case RegistryNameTaken():
            return already_exists(f"Registered Model (name={error.name}) already exists.")
        case VersionUnknown():
            return not_found(f"Model Version (name={error.name}, version={error.version}) not found")
        case AliasUnknown():  # 400, as MLflow's server has it: the client tells the two apart
            return refused(f"Registered model alias {error.alias} not found.")
        case _:
            return None
