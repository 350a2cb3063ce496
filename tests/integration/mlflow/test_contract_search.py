"""The contract of runs/search over raw HTTP: grammar, missing keys and NaN, order, pages, stages."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.integration.mlflow.conftest import Api

INVALID = "INVALID_PARAMETER_VALUE"


class Runs:
    """Six runs called a to f, of which f is deleted; what each has is in `fixture runs`."""

    def __init__(self, api: Api, experiment: str, ids: dict[str, str]) -> None:
        self.api, self.experiment, self.ids = api, experiment, ids
        self._names = {run_id: name for name, run_id in ids.items()}

    def ask(self, **fields: Any) -> Any:
        return self.api.post("runs/search", **{"experiment_ids": [self.experiment], **fields})

    def names(self, answer: Any) -> str:
        return "".join(self._names[run["info"]["run_id"]] for run in answer.get("runs", []))


@pytest.fixture(scope="module")
def runs(api: Api) -> Runs:
    experiment = api.post("experiments/create", name="searched")["experiment_id"]
    # name: metrics, params, tags
    facts: dict[str, tuple[dict[str, Any], dict[str, str], dict[str, str]]] = {
        "a": ({"m": 1.0, "val acc": 0.5}, {"p": "one"}, {"t": "x"}),
        "b": ({"m": -2.5, "a/b": 1.0}, {"p": "One"}, {"t": "X%"}),
        "c": ({"m": "NaN"}, {"p": "it's", "a b": "1"}, {"t": "", "a.b-c": "dotted"}),
        "d": ({"m": "Infinity"}, {"p": "10"}, {"sp ace": "_"}),
        "e": ({}, {"q": "9"}, {}),
        "f": ({"m": 7.0}, {"p": "deleted"}, {"t": "x"}),
    }
    ids: dict[str, str] = {}
    for i, (name, (metrics, params, tags)) in enumerate(facts.items()):
        start_ms = 1000 if name in "de" else 1000 + i
        ids[name] = run_id = api.new_run(
            experiment_id=experiment, run_name=f"run {name}", start_time=start_ms, user_id=f"user-{name}"
        )
        api.post(
            "runs/log-batch",
            run_id=run_id,
            metrics=[
                {"key": key, "value": value, "timestamp": 1, "step": 1} for key, value in metrics.items()
            ],
            params=[{"key": key, "value": value} for key, value in params.items()],
            tags=[{"key": key, "value": value} for key, value in tags.items()],
        )
        if metrics:  # an older point that would match other filters
            api.post("runs/log-metric", run_id=run_id, key="m", value=99, timestamp=9, step=0)
    api.post("runs/update", run_id=ids["a"], status="FINISHED", end_time=2000)
    api.post("runs/update", run_id=ids["b"], status="FAILED", end_time=3000)
    dataset = {"name": "mnist", "digest": "1a", "source_type": "local", "source": "s"}
    for name, context in (("a", "train"), ("b", "eval")):
        tags_of_it = [{"key": "mlflow.data.context", "value": context}]
        api.post(
            "runs/log-inputs",
            run_id=ids[name],
            datasets=[{"dataset": {**dataset, "digest": f"1{name}"}, "tags": tags_of_it}],
        )
    api.post("runs/delete", run_id=ids["f"])
    return Runs(api, experiment, ids)


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("", "abcde"),
        # metrics: the latest value; NaN is only unequal; what is missing matches nothing
        ("metrics.m > 0", "ad"), ("metric.m>=1", "ad"), ("metrics.m < 0", "b"), ("metrics.m <= -2.5", "b"), ("metrics.m=1", "a"),
        ("metrics.m = 1.0", "a"), ("metrics.m = 1e0", "a"), ("metrics.m != 1", "bcd"), ("metrics.m > 1e308", "d"), ("metrics.m>-3 AND metrics.m<2", "ab"),
        ("metrics.m = 99", ""), ("metrics.M > 0", ""), ("metrics.none != 1", ""),
        ("metrics.`val acc` > 0.1", "a"), ("metrics.\"val acc\" > .1", "a"), ("`metrics`.`val acc` > 0.1", "a"), ("metrics.`a/b` = 1", "b"),
        # params and tags: texts, case, patterns, absence
        ("params.p = 'one'", "a"), ("parameter.p = \"One\"", "b"), ("param.p LIKE '%ne'", "ab"), ("parameters.p like 'o%'", "a"),
        ("params.p ILIKE 'O_E'", "ab"), ("params.p LIKE 'O_E'", ""), ("params.p != 'one'", "bcd"), ("params.p = \"it's\"", "c"),
        ("params.`a b` = '1'", "c"), ("params.p IS NULL", "e"), ("params.p is not null", "abcd"), ("params.p = '10'", "d"),
        ("tags.t = ''", "c"), ("tag.t != 'x'", "bc"), ("tags.t LIKE '%'", "abc"), ("tags.t LIKE 'x'", "a"), ("tags.t ILIKE 'x%'", "ab"),
        ("tags.t IS NULL", "de"), ("tags.\"a.b-c\" = 'dotted'", "c"), ("tags.`sp ace` LIKE '_'", "d"), ("tags.`mlflow.runName` = 'run b'", "b"),
        ("tags.mlflow.runName LIKE 'run _'", "abcde"),
        # attributes by all their names
        ("attributes.run_name = 'run a'", "a"), ("`run name` = 'run a'", "a"), ("attr.`Run Name` ILIKE 'RUN A'", "a"), ("run.`Run name` LIKE '%b'", "b"),
        ("run_name != 'run a'", "bcde"), ("status = 'RUNNING'", "cde"), ("attribute.status != 'RUNNING'", "ab"), ("status LIKE 'F%'", "ab"), ("status = 'failed'", ""),
        ("attributes.user_id ILIKE 'USER-A'", "a"), ("start_time > 1000", "bc"), ("created >= 1000 AND attributes.Created < 1002", "abde"),
        ("attributes.start_time = 1002", "c"), ("end_time > 0", "ab"), ("end_time != 2000", "b"), ("attributes.end_time <= 2000.5", "a"),
        ("run_id = '{a}'", "a"), ("attributes.run_id != '{a}'", "bcde"), ("run_id IN ('{a}', \"{c}\")", "ac"), ("run_id NOT IN ('{a}','{b}')", "cde"),
        ("run_id LIKE '{a}'", "a"), ("run_id IN ('nothing')", ""), ("artifact_uri LIKE '%{a}/artifacts'", "a"), ("artifact_uri = 'mlflow-artifacts:/x'", ""),
        # datasets
        ("dataset.name = 'mnist'", "ab"), ("datasets.digest LIKE '1_'", "ab"), ("datasets.context = 'train'", "a"), ("dataset.context IN ('eval', 'test')", "b"),
        ("dataset.name != 'mnist'", ""), ("datasets.digest NOT IN ('1a')", "b"),
        # and
        ("params.p = 'one' and tags.t = 'x' AND metrics.m = 1 AND status = 'FINISHED' AND", "a"), ("params.p = 'one' AND tags.t = 'X%'", ""),
        ("  params.p='one'\n\tAND\tmetrics.m=1  ", "a"),
    ],
)  # fmt: skip
def test_filters(runs: Runs, where: str, names: str):
    answer = runs.ask(filter=where.format(**runs.ids))
    assert "".join(sorted(runs.names(answer))) == names
    if not names:
        assert answer == {}


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("params.p = 'a' OR params.p = 'b'", "Invalid clause(s) in filter string: 'OR'"),
        ("(params.p = 'a')", "Invalid clause(s) in filter string: "),
        ("params.p = 'a' params.q = 'b'", "Invalid clause(s) in filter string: "),
        ("params.p = 'a'; params.q = 'b'", "Search filter contained multiple expression "),
        ("params.p", "Invalid clause(s) in filter string: "),
        ("NOT params.p = 'a'", "Invalid"),
        ("metrics.a/b = 1", "Invalid clause(s) in filter string: "),
        ("params.p = 'unclosed", "Invalid"),
        ("nonsense.p = 'a'", "Invalid entity type 'nonsense'. Valid values are ["),
        ("Params.p = 'a'", "Invalid entity type 'Params'. Valid values are ["),
        ("nonsense = 'a'", "Invalid attribute key 'nonsense' specified. Valid keys are '"),
        ("attributes.lifecycle_stage = 'active'", "Invalid attribute key 'lifecycle_stage' specified. Valid keys are '"),
        ("metrics.m ~ 1", "Invalid comparator '~' not one of '{{"),
        ("params.p > 'a'", "Invalid comparator '>' not one of '{{"),
        ("tags.t <= 'a'", "Invalid comparator '<=' not one of '{{"),
        ("status > 'a'", "Invalid comparator '>' not one of '{{"),
        ("metrics.m = '1'", "Expected numeric value type for metric. Found '1'"),
        ("start_time = '1'", "Expected numeric value type for numeric attribute: start_time. Found '1'"),
        ("params.p = 0.1", "Expected a quoted string value for parameter (e.g. 'my-value'). Got value 0.1"),
        ("tags.t = 1", "Expected a quoted string value for tag (e.g. 'my-value'). Got value 1"),
        ("run_name = 1", "Expected a quoted string value for attributes. Got value 1"),
        ("status IN ('RUNNING')", "Only ['run_id'] attributes support comparison with a list of quoted string values."),
        ("run_id IN ()", "non-empty list"),
        ("run_id IN (1)", "expected string value"),
        ("metrics.m IS NULL", "IS NULL / IS NOT NULL is only supported for tags and params, not for 'metric' 'm'"),
        ("datasets.source = 'a'", "Invalid dataset key 'source' specified."),
    ],
)  # fmt: skip
def test_filters_that_are_refused(runs: Runs, where: str, message: str):
    status, code, told = runs.ask(filter=where)
    assert (status, code) == (400, INVALID)
    assert told.startswith(message.replace("{{", "{")) or (message.islower() and message in told), told


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ([], "cbade"),
        (["start_time"], "adebc"),
        (["attributes.created DESC"], "cbade"),
        (["metrics.m"], "badce"),
        (["metrics.m DESC"], "dabce"),
        (["metrics.`val acc` desc"], "acbde"),
        (["params.p"], "dbcae"),
        (["params.p DESC"], "acbde"),
        (["tags.t ASC"], "cbade"),
        (["tags.`t` DESC"], "abcde"),
        (["attributes.end_time DESC"], "bacde"),
        (["end_time asc"], "abcde"),
        (["status", "attributes.run_name DESC"], "baedc"),
        (["run_id"], "abcde"),
        (["run_id DESC"], "edcba"),
        (["user_id DESC"], "edcba"),
        (["metrics.none", "run_name"], "abcde"),
    ],
)
def test_orders(runs: Runs, order: list[str], names: str):
    """Numbers, then NaN, then what is missing, in both directions; ties by start, the newest first, then by id."""
    assert runs.names(runs.ask(order_by=order)) == names
    seen, token = "", ""
    for _ in names:
        page = runs.ask(order_by=order, max_results=1, page_token=token)
        seen += runs.names(page)
        token = page.get("next_page_token", "")
    assert (seen, token) == (names, ""), "page by page, and no token behind the last"


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (["metrics.m up"], "Invalid ordering key in order_by clause 'metrics.m up'."),
        (["metrics.m", "metric.m DESC"], "`order_by` contains duplicate fields"),
        (["created", "start_time"], "`order_by` contains duplicate fields"),
        (["nonsense"], "Invalid attribute key 'nonsense' specified."),
        (["nonsense.m"], "Invalid entity type 'nonsense'."),
        ([""], "Invalid order_by clause ''. Could not be parsed."),
        (["`run name`"], "Invalid attribute key 'run name' specified."),
    ],
)
def test_orders_that_are_refused(runs: Runs, order: list[str], message: str):
    status, code, told = runs.ask(order_by=order)
    assert (status, code) == (400, INVALID)
    assert told.startswith(message)


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"run_view_type": "ACTIVE_ONLY"}, "cbade"), ({"run_view_type": "DELETED_ONLY"}, "f"), ({"run_view_type": "ALL"}, "fcbade"), ({"run_view_type": 2}, "f"),
        ({"run_view_type": None}, "cbade"), ({"experiment_ids": []}, ""), ({"experiment_ids": None}, ""), ({"experiment_ids": ["9999"]}, ""),
        ({"max_results": 50_000}, "cbade"), ({"max_results": "2"}, "cb"), ({"filter": None, "order_by": None, "page_token": None}, "cbade"), ({"page_token": ""}, "cbade"),
    ],
)  # fmt: skip
def test_what_is_searched(runs: Runs, fields: dict[str, Any], names: str):
    answer = runs.ask(**fields)
    assert runs.names(answer) == names
    if not names:
        assert answer == {}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_results": 50_001}, "Invalid value 50001 for parameter 'max_results' supplied:  Hint: Value was of type 'int'."),
        ({"max_results": 0}, "Invalid value 0 for parameter 'max_results' supplied. It must be a positive integer"),
        ({"max_results": -1}, "Invalid value -1 for parameter 'max_results' supplied. It must be a positive integer"),
        ({"filter": 3}, "Invalid value 3 for parameter 'filter' supplied:  Hint: Value was of type 'int'."),
        ({"order_by": "metrics.m"}, "Invalid value \"metrics.m\" for parameter 'order_by' supplied:  Hint: Value was of type 'str'."),
        ({"experiment_ids": "1"}, "Invalid value \"1\" for parameter 'experiment_ids' supplied:  Hint: Value was of type 'str'."),
        ({"page_token": "nonsense!"}, "Invalid page token, could not base64-decode"),
        ({"page_token": base64.b64encode(b"[1]").decode()}, "Invalid page token"),
        ({"filter": "params.p = 'a\0'"}, "\"params.p = 'a\\x00'\" holds a NUL character"),
        ({"experiment_ids": ["0", "x"]}, "Invalid experiment ID 'x'. Experiment ID must be a valid integer."),
    ],
)  # fmt: skip
def test_what_can_not_be_asked(runs: Runs, fields: dict[str, Any], message: str):
    status, code, told = runs.ask(**fields)
    assert (status, code) == (400, INVALID)
    assert told.startswith(message)


def test_a_token_belongs_to_its_question(runs: Runs):
    token = runs.ask(max_results=2)["next_page_token"]
    assert runs.names(runs.ask(max_results=2, page_token=token)) == "ad"
    assert runs.ask(max_results=2, page_token=token, filter="metrics.m > 0")[:2] == (400, INVALID)


def test_a_found_run_is_whole(runs: Runs):
    (found,) = runs.ask(filter="run_name = 'run a'")["runs"]
    assert found == runs.api.get("runs/get", run_id=runs.ids["a"])["run"]
    assert found["data"]["metrics"][0] == {"key": "m", "value": 1, "timestamp": 1, "step": 1}
    assert found["inputs"]["dataset_inputs"][0]["dataset"]["digest"] == "1a"


def test_what_was_written_is_found_by_the_next_search(api: Api):
    experiment = api.post("experiments/create", name="written")["experiment_id"]

    def found(where: str) -> list[str]:
        answer = api.post("runs/search", experiment_ids=[experiment], filter=where)
        return [run["info"]["run_id"] for run in answer.get("runs", [])]

    run_id = api.new_run(experiment_id=experiment)
    for i in range(3):
        api.post("runs/log-metric", run_id=run_id, key="seen", value=i, timestamp=1, step=i)
        assert found(f"metrics.seen = {i}") == [run_id]
    api.post("runs/delete", run_id=run_id)
    assert found("metrics.seen >= 0") == []
