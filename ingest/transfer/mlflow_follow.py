"""What changed at the source since the last import, brought to what is here already: names, tags, stages, aliases, descriptions.

`told` says what wins. What a thing was told to be is kept in the table `imported`; what is here without such a memory is only remembered,
so that an import never changes what came from elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol
from uuid import UUID

import orjson

from ingest.service import experiments, logged_models, model_versions, registry, runs
from ingest.service.database import Database
from ingest.transfer.taken import Taken
from ingest.transfer.told import Facts, News, digests_of, news_of
from ingest_schema.sql import load_queries

__all__ = [
    "Follower",
    "OneExperiment",
    "OneLoggedModel",
    "OneRegistered",
    "OneRun",
    "OneVersion",
    "alias_facts",
    "described",
    "tag_facts",
]

_SQL: Final = load_queries("feeding")
_TAG: Final = "tag "
_ALIAS: Final = "alias "

Changes = Mapping[str, str | None]


class Subject(Protocol):
    """Something that is imported. kind and id: what it is remembered by."""

    @property
    def kind(self) -> str: ...
    @property
    def id(self) -> str: ...

    async def here(self, db: Database) -> Facts | None:
        """What it is here; None if it is not, or is deleted."""

    async def change(self, db: Database, changes: Changes) -> None:
        """Make facts so; None takes one away."""


class Follower:
    """Follows what the source tells of things that are here."""

    def __init__(self, db: Database, taken: Taken) -> None:
        self._db = db
        self._taken = taken

    async def remembers(self, subject: Subject) -> bool:
        """Whether an import followed it before."""
        return await self._told(subject) is not None

    async def follow(self, subject: Subject, now: Facts) -> None:
        """Bring what changed at the source, and remember what it tells."""
        before, digests = await self._told(subject), digests_of(now)
        if before == digests:
            return
        here = await subject.here(self._db)
        if here is None:
            return
        if before is not None:
            await self._bring(subject, news_of(before, now, here))
        told = orjson.dumps(digests).decode()
        await self._db.edit(
            lambda connection: connection.execute(_SQL["tell"], subject.kind, subject.id, told)
        )

    async def _bring(self, subject: Subject, news: News) -> None:
        if news.bring:
            await subject.change(self._db, news.bring)
            self._taken.changed += len(news.bring)
        for name in news.kept:
            self._taken.note(
                f"{subject.kind} {subject.id}: {name} was changed there and here; it stays as it is here"
            )

    async def _told(self, subject: Subject) -> dict[str, str] | None:
        row = await self._db.fetchrow(_SQL["told"], subject.kind, subject.id)
        return None if row is None else orjson.loads(row["told"])


def described(description: str | None) -> dict[str, str]:
    """A description as a fact; an empty one is none."""
    return {"description": description} if description else {}


def alias_facts(aliases: Mapping[str, int]) -> dict[str, str]:
    """Aliases as facts."""
    return {_ALIAS + alias: str(version) for alias, version in aliases.items()}


def tag_facts(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags as facts."""
    return {_TAG + key: value for key, value in tags.items()}


def _tags_of(changes: Changes) -> dict[str, str | None]:
    return {name.removeprefix(_TAG): text for name, text in changes.items() if name.startswith(_TAG)}


@dataclass(frozen=True, slots=True)
class OneExperiment:
    """An experiment: its tags."""

    experiment_id: int
    kind: Literal["experiment"] = "experiment"

    @property
    def id(self) -> str:
        return str(self.experiment_id)

    async def here(self, db: Database) -> Facts | None:
        found = await experiments.get_experiment(db, self.experiment_id)
        return tag_facts(found.tags) if found.lifecycle == "active" else None

    async def change(self, db: Database, changes: Changes) -> None:
        await experiments.edit_experiment(
            db, self.experiment_id, name=None, tags=_tags_of(changes), lifecycle=None
        )


@dataclass(frozen=True, slots=True)
class OneRun:
    """A run: its name, its tags, and whether it is deleted."""

    run_id: UUID
    kind: Literal["run"] = "run"

    @property
    def id(self) -> str:
        return self.run_id.hex

    async def here(self, db: Database) -> Facts | None:
        row = await db.fetchrow(_SQL["run_here"], self.run_id)
        if row is None or row["lifecycle"] == "deleted":
            return None
        return {"name": row["name"], "lifecycle": row["lifecycle"], **tag_facts(orjson.loads(row["tags"]))}

    async def change(self, db: Database, changes: Changes) -> None:
        lifecycle = changes.get("lifecycle")
        await runs.edit_run(
            db,
            self.run_id,
            name=changes.get("name"),
            tags=_tags_of(changes),
            lifecycle="deleted" if lifecycle == "deleted" else None,
        )


@dataclass(frozen=True, slots=True)
class OneLoggedModel:
    """A logged model: its tags."""

    model_id: str
    kind: Literal["logged model"] = "logged model"

    @property
    def id(self) -> str:
        return self.model_id

    async def here(self, db: Database) -> Facts | None:
        found = await logged_models.get_models(db, [self.model_id])
        return tag_facts(_pairs(found[0].tags)) if found and found[0].lifecycle == "active" else None

    async def change(self, db: Database, changes: Changes) -> None:
        tags = _tags_of(changes)
        if kept := {key: text for key, text in tags.items() if text is not None}:
            await logged_models.set_tags(db, self.model_id, kept)
        for key in tags.keys() - kept.keys():
            await logged_models.delete_tag(db, self.model_id, key)


@dataclass(frozen=True, slots=True)
class OneRegistered:
    """A name of the registry: its description, its tags, and which versions its aliases mean."""

    name: str
    kind: Literal["registered model"] = "registered model"

    @property
    def id(self) -> str:
        return self.name

    async def here(self, db: Database) -> Facts | None:
        found = await registry.get_several(db, [self.name])
        if not found:
            return None
        aliases = orjson.loads(found[0].aliases or "[]")
        return {
            **described(found[0].description),
            **tag_facts(_pairs(found[0].tags)),
            **alias_facts({one["alias"]: int(one["version"]) for one in aliases}),
        }

    async def change(self, db: Database, changes: Changes) -> None:
        if "description" in changes:
            await registry.update_registered(db, self.name, changes["description"])
        for key, text in _tags_of(changes).items():
            if text is None:
                await registry.delete_tag(db, self.name, key)
            else:
                await registry.set_tag(db, self.name, key, text)
        for name, version in changes.items():
            if name.startswith(_ALIAS):
                alias = name.removeprefix(_ALIAS)
                if version is None:
                    await registry.delete_alias(db, self.name, alias)
                else:
                    await registry.set_alias(db, self.name, alias, int(version))


@dataclass(frozen=True, slots=True)
class OneVersion:
    """A version of a name: its description, its stage and its tags."""

    name: str
    version: int
    kind: Literal["model version"] = "model version"

    @property
    def id(self) -> str:
        return f"{self.name}/{self.version}"

    async def here(self, db: Database) -> Facts | None:
        found = await model_versions.get_versions(db, [(self.name, self.version)])
        if not found:
            return None
        return {
            "stage": found[0].stage,
            **described(found[0].description),
            **tag_facts(_pairs(found[0].tags)),
        }

    async def change(self, db: Database, changes: Changes) -> None:
        place = (self.name, self.version)
        if "description" in changes:
            await model_versions.update_version(db, place, changes["description"])
        if (stage := changes.get("stage")) is not None:
            await model_versions.set_stage(db, place, stage, archive_others=False)
        for key, text in _tags_of(changes).items():
            if text is None:
                await model_versions.delete_tag(db, place, key)
            else:
                await model_versions.set_tag(db, place, key, text)


def _pairs(tags: str | None) -> dict[str, str]:
    return {pair["key"]: pair["value"] for pair in orjson.loads(tags or "[]")}
