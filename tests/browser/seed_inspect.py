"""Logs through the real client what the tests of the run's page and of comparisons look at; prints the runs' ids."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import ingest

NOTE = "## Baseline\n\nThe **first** one.\n\n<script>window.harmed = true</script>"
PAGE = "<style>p { color: rgb(0, 128, 0) }</style><h1>Hello</h1><script>parent.harmed = true</script><p id=plain>plain words</p>"
PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 100]>>endobj\ntrailer<</Root 1 0 R>>\n"
)
DRAWING = (
    "<svg xmlns='http://www.w3.org/2000/svg' width='64' height='32'><rect width='64' height='32' fill='teal'/>"
    "<script>parent.harmed = true</script></svg>"
)


def main() -> None:
    ingest.set_experiment("inspected")
    print(json.dumps([log_run(i) for i in range(4)]))


def log_run(i: int) -> str:
    with ingest.start_run(run_name=f"run-{i}") as run:
        ingest.log_params({"lr": f"{10.0 ** -(i + 1):g}", "optimizer": ["adam", "sgd"][i % 2], "depth": 50})
        ingest.set_tags({"team": "vision", "mlflow.source.name": "train.py", "ingest.env.host": f"gpu-{i}"})
        for step in range(300):
            values = {"train/loss": (i + 1) / (step + 1), "system/cpu_percent": 50.0 + step % 7}
            if i == 0 and step == 150:
                values["train/loss"] = float("nan")
            run.log_metrics(values, step=step)
        if i < 2:
            ingest.log_text(f"# python 3.12\nnumpy==2.{i}.0\ntorch==2.5.0\n", "environment/packages.txt")
        if i == 0:
            log_files()
        assert run.flush(timeout=30)
        run_id: str = run.info.run_id
    return run_id


def log_files() -> None:
    import numpy as np

    ingest.set_tag("mlflow.note.content", NOTE)
    ingest.log_text("# Report\n\nIt *works*.\n", "report.md")
    ingest.log_dict({"answer": 42}, "config.json")
    ingest.log_text("epoch,name\n" + "\n".join(f'{e},"x, {e}"' for e in range(500)), "table.csv")
    ingest.log_text(PAGE, "page.html")
    ingest.log_text(DRAWING, "drawing.svg")
    with tempfile.TemporaryDirectory() as folder:
        paper = Path(folder) / "paper.pdf"
        paper.write_bytes(PDF)
        ingest.log_artifact(str(paper))
        assert ingest.flush(timeout=30)
    ingest.log_text("-lr = 0.1\n+lr = 0.01\n", "environment/git.diff")
    for step in (0, 10, 200):
        ingest.log_image(np.full((16, 16, 3), step, dtype=np.uint8), key="samples/cat", step=step)


if __name__ == "__main__":
    main()
