"""What the events of one commit group amount to, run by run: pure, so that the transaction needs a few statements only.

Events apply in order of arrival: within a batch as logged, batches as they came. Then, for each run:

    params     the first value of a key wins; a later, different one is reported against the batch that brought it
    tags       the last value wins; None deletes
    states     starts and ends in order; `next_state` says what each does to the run's status
    writers    what each told of itself; the last telling wins, field by field

A run whose start this service never saw (a database restored from a backup, a custom client), or whose start names an
experiment by an id that is not there, is opened in experiment Default with the tag `ingest.start_missing`, so that no point is
refused for want of a start. A wrong id is reported against the batch that brought it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import orjson

from ingest.store.outcomes import Rejection
from ingest_schema.events import Event
from ingest_schema.run_names import run_name_of
from ingest_schema.wire import Batch

__all__ = [
    "START_MISSING_TAG",
    "RunEffects",
    "RunStart",
    "RunState",
    "WriterFacts",
    "attempt_of",
    "collect_effects",
    "experiment_unknown",
    "param_changed",
]

START_MISSING_TAG: Final = "ingest.start_missing"


@dataclass(frozen=True, slots=True)
class RunStart:
    """The first run_start of a run in the group. Exactly one of experiment (its name) and experiment_id is given."""

    experiment: str | None
    experiment_id: int | None
    name: str
    user_name: str
    parent_run_id: UUID | None
    start_time_ms: int


@dataclass(frozen=True, slots=True)
class RunState:
    """A run's status and when it ended, ms."""

    status: str
    end_time_ms: int | None

    def after_start(self, start_time_ms: int, *, resumes: bool) -> RunState:
        """What a run_start makes of it.

        Ranks of one run start on their own, and a spool may deliver a rank's start after another's end: only a start
        that resumes from a step, or that came after the end by the clients' clocks, revives a run.
        """
        if self.status == "RUNNING":
            return self
        is_later = self.end_time_ms is None or start_time_ms > self.end_time_ms
        return RunState("RUNNING", None) if resumes or is_later else self

    def after_end(self, status: str, end_time_ms: int) -> RunState:
        """What a run_end makes of it: of several ends the latest stands."""
        if self.end_time_ms is not None and self.end_time_ms > end_time_ms:
            return self
        return RunState(status, end_time_ms)


@dataclass(slots=True)
class WriterFacts:
    """What a writer told of itself in this group; columns as in `writers`, absent if not told."""

    columns: dict[str, Any] = field(default_factory=dict)
    has_started: bool = False
    resume_from_step: int | None = None


@dataclass(slots=True)
class RunEffects:
    """Everything that the group's events do to one run."""

    run_id: UUID
    start: RunStart | None = None
    first_seen_ms: int = 0
    first_batch: int = 0
    """Index of a batch that brought it here."""
    start_batch: int = 0
    is_misplaced: bool = False
    """Its start names an experiment that is not there."""
    events: list[tuple[UUID, Event]] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    param_batches: dict[str, list[int]] = field(default_factory=dict)
    tags: dict[str, str | None] = field(default_factory=dict)
    writers: dict[UUID, WriterFacts] = field(default_factory=dict)
    rejected: dict[int, list[Rejection]] = field(default_factory=dict)

    @property
    def named_experiment(self) -> int | None:
        """The id that its start names, if it names one."""
        return None if self.start is None else self.start.experiment_id

    def reject_param(self, key: str) -> None:
        """Report the param against every batch that brought it."""
        for index in self.param_batches[key]:
            self.rejected.setdefault(index, []).append(param_changed(key))


def experiment_unknown(run_id: UUID, experiment_id: int) -> Rejection:
    """The report on a start in an experiment that is not there; everything else of the start is applied."""
    return Rejection(
        "experiment",
        str(experiment_id),
        "experiment_unknown",
        f"there is no experiment {experiment_id}; run {run_id.hex} is in Default (0), unless it was elsewhere before",
    )


def param_changed(key: str) -> Rejection:
    """The report on a param that has another value already."""
    return Rejection(
        "params", key, "param_changed", f"param {key!r} has another value already; params are written once"
    )


def collect_effects(batches: Sequence[Batch]) -> list[RunEffects]:
    """The effects of the batches' events, in the order of run ids. Rejections name batches by their index.

    Runs that only get points from writers known before do not appear.
    """
    runs: dict[UUID, RunEffects] = {}
    for index, batch in enumerate(batches):
        if not batch.events and batch.seq != 1:
            continue
        run = runs.get(batch.run_id)
        if run is None:
            run = runs[batch.run_id] = RunEffects(
                batch.run_id, first_seen_ms=batch.sent_ms, first_batch=index
            )
        for event in batch.events:
            _APPLY[event.kind](run, index, batch.writer_id, event)
    return [runs[run_id] for run_id in sorted(runs)]


def joint_end(writers: Sequence[Mapping[str, Any]]) -> RunState | None:
    """The end of a run of several ranks: when the last of them is done, with the status of the lowest.

    Args:
        writers: Rows of the run's writers that have started (writer_id, rank, world_size, started_at_ms, ended_at_ms, end_status).

    Returns:
        None while a rank is at work, and for a run that no rank has ended. An end is passed over if a writer started after
        it: the job was restarted. Ranks that fell silent are waited for until the service gives them up (`liveness`).
    """
    ends = [w for w in writers if w["end_status"] is not None]
    ends = [w for w in ends if not any(o["started_at_ms"] > w["ended_at_ms"] for o in writers)]
    if not ends:
        return None
    lowest = min(ends, key=lambda w: (w["rank"], -w["ended_at_ms"]))
    others = [w for w in writers if w["rank"] != lowest["rank"] and (w["world_size"] or 1) > 1]
    if any(w["ended_at_ms"] is None for w in others):
        return None
    return RunState(lowest["end_status"], max(w["ended_at_ms"] for w in (lowest, *others)))


def attempt_of(writer_id: UUID, rank: int, facts: WriterFacts, writers: Sequence[Mapping[str, Any]]) -> int:
    """The attempt that a starting writer belongs to.

    Args:
        writers: Rows of the run's writers that have started (writer_id, rank, attempt, resume_from_step,
            started_at_ms); its own row is ignored.

    A writer that resumes joins the newest attempt if that one resumed from the same step and has no writer of this
    rank yet: so the ranks of one distributed restart share an attempt without having to agree on a number. Otherwise it
    opens the next. A writer that does not resume joins the newest attempt that began before it: a spool delivered
    after the restart belongs to the attempt in which it was written.
    """
    others = [row for row in writers if row["writer_id"] != writer_id]
    if facts.resume_from_step is None:
        started_ms = facts.columns["started_at_ms"]
        return max((int(row["attempt"]) for row in others if row["started_at_ms"] <= started_ms), default=1)
    newest = max((int(row["attempt"]) for row in others), default=1)
    team = [row for row in others if row["attempt"] == newest]
    team = [
        row for row in team if row["resume_from_step"] is not None
    ]  # helpers of a rank join without a step
    same_step = bool(team) and all(row["resume_from_step"] == facts.resume_from_step for row in team)
    is_member = any(row["rank"] == rank for row in team)
    return newest if same_step and not is_member else newest + 1


def _run_start(run: RunEffects, index: int, writer_id: UUID, event: Event) -> None:
    body = event.body
    if run.start is None:
        parent = body.get("parent_run_id")
        run.start = RunStart(
            experiment=body.get("experiment"),
            experiment_id=body.get("experiment_id"),
            name=body["name"] or run_name_of(run.run_id),
            user_name=body.get("user") or "",
            parent_run_id=None if parent is None else UUID(bytes=parent),
            start_time_ms=body["start_time_ms"],
        )
        run.start_batch = index
    run.events.append((writer_id, event))
    facts = run.writers.setdefault(writer_id, WriterFacts())
    facts.has_started = True
    facts.resume_from_step = body.get("resume_from_step")
    facts.columns["started_at_ms"] = body["start_time_ms"]
    if facts.resume_from_step is not None:
        facts.columns["resume_from_step"] = facts.resume_from_step


def _writer(run: RunEffects, index: int, writer_id: UUID, event: Event) -> None:
    del index
    run.writers.setdefault(writer_id, WriterFacts()).columns.update(event.body)


def _params(run: RunEffects, index: int, writer_id: UUID, event: Event) -> None:
    del writer_id
    for key, value in event.body.items():
        if run.params.setdefault(key, value) == value:
            run.param_batches.setdefault(key, []).append(index)
        else:
            run.rejected.setdefault(index, []).append(param_changed(key))


def _tags(run: RunEffects, index: int, writer_id: UUID, event: Event) -> None:
    del index, writer_id
    run.tags.update(event.body)


def _heartbeat(run: RunEffects, index: int, writer_id: UUID, event: Event) -> None:
    del index
    run.writers.setdefault(writer_id, WriterFacts()).columns["stats"] = orjson.dumps(event.body).decode()


def _run_end(run: RunEffects, index: int, writer_id: UUID, event: Event) -> None:
    del index
    columns = run.writers.setdefault(writer_id, WriterFacts()).columns
    columns["end_status"], columns["ended_at_ms"] = event.body["status"], event.body["end_time_ms"]
    run.events.append((writer_id, event))


def _writer_end(run: RunEffects, index: int, writer_id: UUID, event: Event) -> None:
    del index
    columns = run.writers.setdefault(writer_id, WriterFacts()).columns
    if "end_status" not in columns:
        columns["ended_at_ms"] = event.time_ms
    run.events.append((writer_id, event))


_APPLY: Final = {
    "run_start": _run_start,
    "writer": _writer,
    "params": _params,
    "tags": _tags,
    "heartbeat": _heartbeat,
    "run_end": _run_end,
    "writer_end": _writer_end,
}
