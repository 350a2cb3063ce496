"""The commands `mlflow experiments …` and `mlflow runs …`, as the command line calls them."""

import json

from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.cli import cli

runner = CliRunner()


def command(*arguments):
    done = runner.invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


client = MlflowClient()
assert "Created experiment" in command("experiments", "create", "-n", "shell")
experiment = client.get_experiment_by_name("shell").experiment_id
assert "shell" in command("experiments", "search")
command("experiments", "rename", "-x", experiment, "--new-name", "shell-2")
run_id = client.create_run(experiment, run_name="from a shell").info.run_id
client.log_metric(run_id, "loss", 0.5)
assert "from a shell" in command("runs", "list", "--experiment-id", experiment)
described = json.loads(command("runs", "describe", "--run-id", run_id))
assert described["data"]["metrics"] == {"loss": 0.5}, described
command("runs", "delete", "--run-id", run_id)
command("runs", "restore", "--run-id", run_id)
assert "0.5" in command("experiments", "csv", "-x", experiment)
command("experiments", "delete", "-x", experiment)
assert client.get_experiment(experiment).lifecycle_stage == "deleted"
command("experiments", "restore", "-x", experiment)
