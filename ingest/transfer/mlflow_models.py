"""Logged models and the registry of a store of MLflow's, taken in as they are: ids, numbers of versions, times, stages, aliases.

A model's files come first, then its row with the points of its metrics, so that an import that is broken off brings the rest the next
time. What is here already takes what changed at the source since (`mlflow_follow`), and a model that is PENDING here what became of it.
Prompts, which MLflow keeps in the same registry, are counted and left out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import orjson

from ingest.artifacts.errors import UnsafePath
from ingest.artifacts.paths import model_prefix
from ingest.mlflow.model_sources import parse_source
from ingest.search.models import PROMPT_TAG
from ingest.service import documents, logged_models, model_versions
from ingest.service.errors import RunUnknown
from ingest.store.errors import ContentRefused
from ingest.store.models import (
    LoggedModelRow,
    ModelPoint,
    ModelVersionRow,
    RegisteredModelRow,
    put_alias,
    put_model,
    put_registered,
    put_version,
    skip_version,
)
from ingest.transfer.feeding import Feeder
from ingest.transfer.mlflow_follow import (
    Follower,
    OneLoggedModel,
    OneRegistered,
    OneVersion,
    alias_facts,
    described,
    tag_facts,
)
from ingest.transfer.mlflow_places import location_here, run_id_of
from ingest.transfer.mlflow_source import (
    Source,
    SourceExperiment,
    SourceModel,
    SourceModelPoint,
    SourceRegistered,
    SourceVersion,
)
from ingest.transfer.taken import Taken, storable

__all__ = ["take_in_models", "take_in_registry"]


async def take_in_models(
    feeder: Feeder, follower: Follower, source: Source, experiment: SourceExperiment, experiment_id: int
) -> None:
    """The logged models of an experiment, which is here under this number."""
    async for model in source.models(experiment):
        if await _take_in_model(feeder, source, model, experiment_id):
            tags = _storable(model.tags)
            await follower.follow(OneLoggedModel(model.model_id), tag_facts(tags))


async def _take_in_model(feeder: Feeder, source: Source, model: SourceModel, experiment_id: int) -> bool:
    """Whether it is here then."""
    try:
        prefix = model_prefix(experiment_id, model.model_id)
    except UnsafePath as error:
        feeder.taken.skip("logged models that can't be stored")
        feeder.taken.note(f"logged model {model.model_id}: {error}")
        return False
    known = await logged_models.get_models(feeder.db, [model.model_id])
    if not known or known[0].status == "PENDING":
        if model.artifact_uri and source.has_files(model.artifact_uri):
            await feeder.files.put_all(prefix, source.files(model.artifact_uri))
        elif model.artifact_uri:
            feeder.taken.skip("logged models whose files, if any, can't be had from here")
    points = [_point(point) async for point in source.model_points(model)]
    row = LoggedModelRow(
        model_id=model.model_id,
        name=model.name,
        model_type=model.model_type,
        source_run_id=run_id_of(model.source_run_id).hex if model.source_run_id else None,
        status=model.status,
        status_message=model.status_message or "",
        lifecycle="deleted" if model.is_deleted else "active",
        created_at_ms=model.created_at_ms,
        updated_at_ms=model.updated_at_ms,
        params=_labels(feeder, model.params, "param", f"logged model {model.model_id}"),
        tags=_labels(feeder, model.tags, "tag", f"logged model {model.model_id}"),
    )
    work = partial(put_model, experiment_id=experiment_id, model=row, points=points)
    is_new = await _stored(feeder, "logged models", f"logged model {model.model_id}", work)
    feeder.taken.models += is_new is True
    feeder.taken.same_models += is_new is False
    return is_new is not None


def _point(point: SourceModelPoint) -> ModelPoint:
    return ModelPoint(
        key=point.key,
        step=point.step,
        time_ms=point.time_ms,
        value=point.value,
        run_id=run_id_of(point.run_id),
        dataset_name=point.dataset_name or "",
        dataset_digest=point.dataset_digest or "",
    )


async def take_in_registry(
    feeder: Feeder, follower: Follower, source: Source, *, only_of_what_is_here: bool
) -> None:
    """The registry.

    Args:
        only_of_what_is_here: Only versions that were made of runs or logged models that are here, and their names.
    """
    registry = _Registry(feeder, follower)
    async for registered in source.registered():
        if registered.tags.get(PROMPT_TAG, "").lower() == "true":
            feeder.taken.skip("prompts")
            continue
        registry.names[registered.name] = registered
        if not only_of_what_is_here:
            await registry.make(registered.name)
    async for version in source.versions():
        is_wanted = not only_of_what_is_here or await registry.is_of_what_is_here(version)
        if version.name in registry.names and is_wanted:
            await registry.take_in(version)
    await registry.follow_names()


class _Registry:
    """The registry while it is taken in."""

    def __init__(self, feeder: Feeder, follower: Follower) -> None:
        self.names: dict[str, SourceRegistered] = {}
        """What the source has."""
        self._feeder = feeder
        self._follower = follower
        self._made: set[str] = set()

    async def make(self, name: str) -> None:
        """See to it that the name is here."""
        if name in self._made:
            return
        found = self.names[name]
        row = RegisteredModelRow(
            name=name,
            description=found.description,
            last_version=0,
            created_at_ms=found.created_at_ms,
            updated_at_ms=found.updated_at_ms,
            tags=_labels(self._feeder, found.tags, "tag", f"registered model {name!r}"),
        )
        whose = f"registered model {name!r}"
        await _stored(self._feeder, "registered models", whose, partial(put_registered, registered=row))
        self._made.add(name)

    async def is_of_what_is_here(self, version: SourceVersion) -> bool:
        """Whether the run or the logged model that it was made of is here."""
        model_id = _model_id(version)
        if model_id is not None and await logged_models.get_models(self._feeder.db, [model_id]):
            return True
        try:
            return version.run_id is not None and bool(
                await documents.get_info(self._feeder.db, run_id_of(version.run_id))
            )
        except RunUnknown:
            return False

    async def take_in(self, version: SourceVersion) -> None:
        """One version, under its number. Of a deleted one the number is kept from being given again."""
        await self.make(version.name)
        if version.is_deleted:
            await self._feeder.db.edit(partial(skip_version, name=version.name, version=version.version))
            return
        work = partial(put_version, version=await self._row(version))
        is_new = await _stored(self._feeder, "model versions", _called(version), work)
        self._feeder.taken.model_versions += is_new is True
        self._feeder.taken.same_versions += is_new is False
        if is_new is not None:
            facts = {
                "stage": version.stage,
                **described(version.description),
                **tag_facts(_storable(version.tags)),
            }
            await self._follower.follow(OneVersion(version.name, version.version), facts)

    async def follow_names(self) -> None:
        """Aliases of the names that are here now, where their versions are; and what else changed of the names."""
        for name in self._made:
            found = self.names[name]
            numbers = [(name, version) for version in set(found.aliases.values())]
            here = {one.version for one in await model_versions.get_versions(self._feeder.db, numbers)}
            aliases = {alias: version for alias, version in found.aliases.items() if version in here}
            subject = OneRegistered(name)
            if not await self._follower.remembers(subject):
                for alias, version in aliases.items():
                    await self._feeder.db.edit(partial(put_alias, name=name, alias=alias, version=version))
            await self._follower.follow(
                subject,
                {**described(found.description), **tag_facts(_storable(found.tags)), **alias_facts(aliases)},
            )

    async def _row(self, version: SourceVersion) -> ModelVersionRow:
        whose = _called(version)
        db, told = self._feeder.db, version.location or version.source
        location = await location_here(db, told)
        if location is None:
            self._feeder.taken.note(f"{whose}: nothing here has the files of {told}")
        source = version.source
        if parse_source(source).kind in {"local", "proxied"}:
            source = await location_here(db, source) or source
        return ModelVersionRow(
            name=version.name,
            version=version.version,
            description=version.description,
            user_name=version.user or "",
            source=source,
            storage_location=location or told,
            run_id=run_id_of(version.run_id).hex if version.run_id else None,
            run_link=version.run_link,
            model_id=_model_id(version),
            stage=version.stage,
            created_at_ms=version.created_at_ms,
            updated_at_ms=version.updated_at_ms,
            tags=_labels(self._feeder, version.tags, "tag", whose),
        )


async def _stored(
    feeder: Feeder, what: str, whose: str, work: Callable[[Any], Awaitable[bool]]
) -> bool | None:
    """Whether that was new here; None if the database can't store it, as a note then says."""
    try:
        return await feeder.db.edit(work)
    except ContentRefused as error:
        feeder.taken.skip(f"{what} that can't be stored")
        feeder.taken.note(f"{whose}: {error}")
        return None


def _called(version: SourceVersion) -> str:
    return f"version {version.version} of {version.name!r}"


def _model_id(version: SourceVersion) -> str | None:
    """Databases of MLflow's don't keep it beside the source."""
    source = parse_source(version.source)
    return version.model_id or (source.name if source.kind == "model" else None)


def _storable(texts: Mapping[str, str]) -> dict[str, str]:
    """Those that can be stored; what can't be was noted already."""
    return storable(texts, "tag", "", Taken())


def _labels(feeder: Feeder, texts: Mapping[str, str], what: str, whose: str) -> str:
    return orjson.dumps(storable(texts, what, whose, feeder.taken)).decode()
