"""What is done with experiments and runs, whoever asks: the same functions serve our own API and MLflow's.

    database     pools, transactions that are tried again, errors of the database as errors of the store
    errors       what can be wrong with a request once it is well formed
    experiments, runs, datasets, documents, histories, logged_models, registry, model_versions     the functions, by subject
    logging      points, params and tags of a run, through the lanes of `ingest.write`

Handlers call these; these call the store and the named queries. No HTTP here, and no word of anybody's API.
"""
