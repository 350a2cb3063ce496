"""MLflow's REST API as values: requests parsed and checked, refusals worded, answers built. No I/O of any kind.

    errors       error codes, statuses, texts
    fields       tables of fields, read by protobuf's JSON rules
    rules        names and lengths
    bodies       content types and JSON
    experiments, runs, metrics, inputs, searches, history     the requests, by subject
    logged_models, registry, model_versions                   the same, of models
    model_sources    what a version of a registered model may be made of
    answers, model_answers    entities as the client expects them

Each `read_…` takes a decoded body (or a query as `fields.query_object` gives it) and returns a dataclass, or raises
`MlflowError`, and nothing else, whatever it is given. The routes are in `ingest.web.mlflow`; what is done with a
request is `ingest.service`'s, which serves our own API as well.
"""
