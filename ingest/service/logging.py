"""Logging to a run without a stream of one's own: a post through the lanes, and its outcome as an error or nothing."""

from __future__ import annotations

from ingest.service.errors import ModelUnknown, ParamsDiffer, RunIsDeleted, RunUnknown, Unstorable
from ingest.store.outcomes import Refused
from ingest.store.posts import ModelMissing, ParamsChanged, Post, RunDeleted
from ingest.store.posts import RunUnknown as NoRun
from ingest.write.intake import Intake

__all__ = ["log"]


async def log(intake: Intake, post: Post) -> None:
    """Store the post; returns after COMMIT.

    Raises:
        RunUnknown, RunIsDeleted, ModelUnknown, ParamsDiffer, Unstorable: Nothing was stored, nor will be.
        QueueFull, DatabaseUnavailable: The same post may succeed later; it does no harm if it is stored already.
    """
    outcome = await intake.post(post)
    match outcome:
        case NoRun():
            raise RunUnknown(post.run_id)
        case RunDeleted():
            raise RunIsDeleted(post.run_id)
        case ParamsChanged():
            raise ParamsDiffer(post.run_id, outcome.changes)
        case ModelMissing():
            raise ModelUnknown(outcome.model_id)
        case Refused():
            raise Unstorable(outcome.message)
