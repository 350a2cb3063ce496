"""Models: load what `ingest.pytorch.log_model` logged, and log some for it. Arguments: TORCH_PATH load URI OUTPUT | log FORMAT NAME.

torch comes from the environment of the tests, whose packages stand behind this one's own.
"""

import json
import sys
import warnings

sys.path.append(sys.argv[1])

import mlflow
import numpy as np
import torch

warnings.simplefilter("ignore")
X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)

if sys.argv[2] == "load":
    model = mlflow.pytorch.load_model(sys.argv[3])
    with torch.no_grad():
        print(
            json.dumps(
                {
                    "type": type(model).__module__ + "." + type(model).__name__,
                    "y": model(torch.from_numpy(X)).tolist(),
                }
            )
        )
elif sys.argv[2] == "pyfunc":
    model = mlflow.pyfunc.load_model(sys.argv[3])
    print(json.dumps({"signature": str(model.metadata.signature), "y": model.predict(X).tolist()}))
else:
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.GELU(), torch.nn.Linear(3, 2)).eval()
    options: dict[str, object] = {}
    if mlflow.__version__ >= "3":
        options = {"serialization_format": sys.argv[3]}
    if sys.argv[3] == "pt2":
        options["input_example"] = X
        options["signature"] = mlflow.models.infer_signature(X, model(torch.from_numpy(X)).detach().numpy())
    with mlflow.start_run() as run:
        if mlflow.__version__ >= "3":  # as an artifact of the run, which is where version 2 puts it
            mlflow.pytorch.save_model(model, "saved", **options)
            mlflow.log_artifacts("saved", sys.argv[4])
        else:
            mlflow.pytorch.log_model(model, sys.argv[4], **options)
    with torch.no_grad():
        print(
            json.dumps(
                {"uri": f"runs:/{run.info.run_id}/{sys.argv[4]}", "y": model(torch.from_numpy(X)).tolist()}
            )
        )
