"""No server and no set-up at all: a script with no variable set and nobody listening, then `ingest serve` without a flag.

In a network of its own, so that port 5000 is free whatever else runs on this machine; where the kernel refuses that, on this
machine's port 5000, which must be free then.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

from tests.conftest import ingest_command

TRAINING = """
import ingest
with ingest.start_run(run_name="first try") as run:
    run.log_param("lr", 0.1)
    for step in range(500):
        ingest.log_metrics({"loss": 1.0 / (step + 1), "acc": 0.5}, step=step)
    ingest.log_text("hello", "note.txt")
print(run.info.run_id)
"""

STORY = """
import fcntl, json, os, socket, struct, subprocess, sys, time, urllib.request
if "alone" in sys.argv:
    with socket.socket() as any_socket:  # SIOCSIFFLAGS: lo IFF_UP | IFF_RUNNING
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh", b"lo", 0x41))
train, serve = json.loads(sys.argv[1])
began = time.monotonic()
trained = subprocess.run(train, capture_output=True, text=True, timeout=120)
took = time.monotonic() - began
run_id = trained.stdout.strip()

def ask(path, body=None):
    request = urllib.request.Request("http://127.0.0.1:5000" + path, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)

def shown():
    try:
        run = ask("/api/v1/runs/" + run_id)
        files = ask(f"/api/v1/runs/{run_id}/artifacts")["files"]
        sql = json.dumps({"sql": "SELECT key, count(*), min(step), max(step) FROM metrics GROUP BY key ORDER BY key"})
        points = ask("/api/v1/sql", sql.encode())["rows"]
        return run["status"] == "FINISHED" and any(file["path"] == "note.txt" for file in files) and [run, points]
    except OSError:
        return False

with open("serve.log", "wb") as log:
    server = subprocess.Popen(serve, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
try:
    deadline = time.monotonic() + 60
    while not (found := shown()) and time.monotonic() < deadline and server.poll() is None:
        time.sleep(0.1)
finally:
    server.terminate()
    server.wait(100)
print(json.dumps({"exit": trained.returncode, "stderr": trained.stderr, "took": took, "found": found,
                  "serve": server.returncode, "variables": sorted(os.environ)}))
"""


def has_network_of_its_own() -> bool:
    """Whether the kernel lets us make one: root may, unless a container forbids it."""
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return tried.returncode == 0


def port_5000_is_free() -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", 5000)) != 0


def test_the_next_serve_shows_what_a_script_without_any_set_up_has_logged(scratch: Path, capsys):
    if has_network_of_its_own():
        alone, prefix = ["alone"], ["unshare", "--net"]
    else:
        with capsys.disabled():
            print(
                "\nno network of its own here (unshare --net is refused): port 5000 of this machine is used"
            )
        assert port_5000_is_free(), (
            "somebody listens on port 5000, and `unshare --net` is refused here: end one or allow the other"
        )
        alone, prefix = [], []
    home = scratch / "home"
    home.mkdir()
    home.chmod(0o755)
    commands = json.dumps([[sys.executable, "-c", TRAINING], ingest_command("serve")])
    done = subprocess.run(
        [*prefix, sys.executable, "-c", STORY, commands, *alone],
        env={"HOME": str(home)}, cwd=home, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    story = json.loads(done.stdout)
    assert not [name for name in story["variables"] if name.startswith(("INGEST_", "MLFLOW_", "XDG_"))]
    assert story["exit"] == 0, story["stderr"]
    assert story["stderr"].count("no tracking URI is set: runs go to http://127.0.0.1:5000") == 1, story[
        "stderr"
    ]
    assert f"wait in {home}" in story["stderr"]
    assert story["found"], (home / "serve.log").read_text()
    run, points = story["found"]
    assert (run["name"], run["status"]) == ("first try", "FINISHED")
    assert run["params"]["lr"] == "0.1"
    assert [[key, *map(int, rest)] for key, *rest in points] == [["acc", 500, 0, 499], ["loss", 500, 0, 499]]
    assert story["serve"] == 0
    assert not list(home.rglob("*.seg")), "the spool is empty"
