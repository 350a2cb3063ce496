"""Endpoints that search. The grammar is MLflow's dialect of `ingest.search`; what is found is answered whole."""

from __future__ import annotations

import orjson

from ingest.mlflow import searches
from ingest.mlflow.errors import MlflowError, refused
from ingest.search import MLFLOW_EXPERIMENTS, MLFLOW_RUNS, FilterError
from ingest.search.paging import BadSearchToken
from ingest.service import documents
from ingest.service.experiments import get_experiments
from ingest.services import Services
from ingest.store.search import RunQuery, search_experiments, search_runs
from ingest.web.mlflow.endpoint import Answer, endpoint
from ingest.web.mlflow.experiments import experiment_answer
from ingest.web.mlflow.runs import run_answer

__all__ = ["ROUTES"]

PIECE_RUNS = 500
"""Runs that are fetched at a time: a page may have 50,000, each with thousands of metrics."""


async def runs(services: Services, sent: searches.SearchRuns) -> Answer:
    """Runs by filter, in order, page by page, with everything that they hold."""
    query = RunQuery(
        filter=sent.filter,
        order_by=sent.order_by,
        experiment_ids=sent.experiment_ids,
        view=sent.view_type,
        dialect=MLFLOW_RUNS,
    )
    try:
        page = await search_runs(services.database, query, limit=sent.max_results, page_token=sent.page_token)
    except (FilterError, BadSearchToken) as error:
        raise _refused(error) from error
    pieces: list[bytes] = []
    for begin in range(0, len(page.run_ids), PIECE_RUNS):
        found = await documents.get_documents(services.database, page.run_ids[begin : begin + PIECE_RUNS])
        if found:  # not if all of these were deleted for good meanwhile
            pieces.append(orjson.dumps([run_answer(one) for one in found])[1:-1])
    return _page(b'"runs":', pieces, page.next_page_token)


async def experiments(services: Services, sent: searches.SearchExperiments) -> Answer:
    """Experiments by filter, in order, page by page."""
    try:
        page = await search_experiments(
            services.database,
            filter=sent.filter,
            order_by=sent.order_by,
            view=sent.view_type,
            limit=sent.max_results,
            page_token=sent.page_token,
            dialect=MLFLOW_EXPERIMENTS,
        )
    except (FilterError, BadSearchToken) as error:
        raise _refused(error) from error
    found = await get_experiments(services.database, page.experiment_ids)
    pieces = [orjson.dumps(experiment_answer(one)) for one in found]
    return _page(b'"experiments":', pieces, page.next_page_token)


def _page(name: bytes, pieces: list[bytes], token: str | None) -> bytes:
    parts = [name + b"[" + b",".join(pieces) + b"]"] if pieces else []
    if token is not None:
        parts.append(b'"next_page_token":' + orjson.dumps(token))
    return b"{" + b",".join(parts) + b"}"


def _refused(error: FilterError | BadSearchToken) -> MlflowError:
    if isinstance(error, FilterError):
        return refused(error.message)
    return refused(f"Invalid page token, could not base64-decode: {error}")


ROUTES = (
    *endpoint("POST", "runs/search", searches.read_search_runs, runs, access="read"),
    *endpoint("POST", "experiments/search", searches.read_search_experiments, experiments, access="read"),
    *endpoint(
        "GET", "experiments/search", searches.read_search_experiments, experiments,
        query=searches.SEARCH_EXPERIMENTS, access="read",
    ),
    *endpoint(
        "GET", "experiments/list", searches.read_list_experiments, experiments,
        query=searches.LIST_EXPERIMENTS, access="read",
    ),
)  # fmt: skip
