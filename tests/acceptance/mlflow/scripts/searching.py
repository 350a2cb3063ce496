"""The stock client's searches: filters, orders, pages, lifecycle stages, the data frame."""

import math

import mlflow
from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException

client = MlflowClient()
experiment = client.create_experiment("search", tags={"kind": "test"})
other = client.create_experiment("other")
runs = []
for i in range(7):
    run = client.create_run(
        experiment, run_name=f"run-{i}", start_time=1000 + i, tags={"parity": "even" if i % 2 == 0 else "odd"}
    )
    runs.append(run.info.run_id)
    client.log_param(runs[-1], "depth", str(i))
    if i < 5:
        client.log_metric(runs[-1], "val acc", math.nan if i == 3 else i / 10, step=i)
client.set_terminated(runs[0])
client.delete_run(runs[6])
client.create_run(other, run_name="elsewhere")


def search(where="", order_by=("attributes.start_time ASC",), view=ViewType.ACTIVE_ONLY, **more):
    found = client.search_runs([experiment], where, run_view_type=view, order_by=list(order_by), **more)
    return [runs.index(run.info.run_id) for run in found]


assert search() == [0, 1, 2, 3, 4, 5]
assert search(order_by=()) == [5, 4, 3, 2, 1, 0], "newest first by default"
assert search(view=ViewType.DELETED_ONLY) == [6]
assert search(view=ViewType.ALL) == list(range(7))
assert search("metrics.`val acc` > 0.1") == [2, 4]
assert search('metrics."val acc" != 0.1 and params.depth != "4"') == [0, 2, 3]
assert search("params.depth = '3'") == [3]
assert search("tags.parity ILIKE 'EV%' AND attributes.status = 'RUNNING'") == [2, 4]
assert search("tags.parity LIKE 'EV%'") == []
assert search("run_name = 'run-1' ") == search("tags.`mlflow.runName` = 'run-1'") == [1]
assert search(f"attributes.run_id IN ('{runs[2]}', '{runs[4]}')") == [2, 4]
assert search(f"attributes.run_id NOT IN ('{runs[2]}')") == [0, 1, 3, 4, 5]
assert search("start_time >= 1004") == [4, 5]
assert search("params.nothing IS NULL AND params.depth IS NOT NULL") == [0, 1, 2, 3, 4, 5]
assert search(order_by=["metrics.`val acc` DESC"]) == [4, 2, 1, 0, 3, 5], "numbers, NaN, missing"
assert search(order_by=["metrics.`val acc`"]) == [0, 1, 2, 4, 3, 5]
assert search(order_by=["params.depth DESC"]) == [5, 4, 3, 2, 1, 0]

seen, token = [], None
while True:
    page = client.search_runs([experiment], order_by=["start_time"], max_results=2, page_token=token)
    seen += [runs.index(run.info.run_id) for run in page]
    token = page.token
    if not token:
        break
assert seen == [0, 1, 2, 3, 4, 5]

for wrong in (
    "params.a = 1",
    "metrics.a = '1'",
    "foo.a = 'b'",
    "metrics.a = 1 OR metrics.b = 2",
    "params.a ~ 'x'",
):
    try:
        search(wrong)
    except MlflowException as error:
        assert error.error_code == "INVALID_PARAMETER_VALUE", error
    else:
        raise AssertionError(wrong)
assert client.search_runs([]) == []

names = [e.name for e in client.search_experiments()]
assert names[-1] == "Default"
assert set(names) == {"Default", "search", "other"}
assert [e.name for e in client.search_experiments(filter_string="name LIKE 's%'")] == ["search"]
assert [e.name for e in client.search_experiments(filter_string="tags.kind = 'test'")] == ["search"]
assert [e.name for e in client.search_experiments(order_by=["name ASC"], max_results=2)] == [
    "Default",
    "other",
]
client.delete_experiment(other)
assert [e.name for e in client.search_experiments(view_type=ViewType.DELETED_ONLY)] == ["other"]

frame = mlflow.search_runs(experiment_names=["search"], order_by=["params.depth ASC"])
assert list(frame["params.depth"]) == ["0", "1", "2", "3", "4", "5"]
assert next(iter(frame["tags.mlflow.runName"])) == "run-0"
assert frame["metrics.val acc"].isna().sum() == 2
