"""The examples do what they say."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import harp
import pytest
from daemons import Cluster, until

EXAMPLES = Path(__file__).parents[1] / "examples"


def fan_out(cluster: Cluster, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, str(EXAMPLES / "fan_out.py"), "--port", str(cluster.port)]
    return subprocess.Popen(
        [*command, "--dispatcher", "127.0.0.1", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell may have started all this in the background, where interrupts are ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_fan_out(cluster: Cluster) -> None:
    child = fan_out(cluster, "web01,web-02,nobody", "echo", "a", "b")
    out, errors = child.communicate(timeout=60)
    assert child.returncode == 1, errors
    good, better, bad = out.splitlines()
    assert good == 'web01\t["a", "b"]'
    assert better == 'web-02\t["a", "b"]'
    assert bad.startswith("nobody\tunknown_host: ")


def test_fan_out_cancels_when_it_is_interrupted(cluster: Cluster) -> None:
    feed = cluster.feed("fan-out")
    child = fan_out(cluster, "web01", "feed", feed.path)
    feed.send("1")
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 130, errors

    def is_gone() -> bool:
        try:
            feed.send("2")
        except BrokenPipeError:
            return True
        return False

    until("the call was cancelled", is_gone)


@pytest.fixture
def web(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("flask")
    monkeypatch.setenv("HARPCALLER", "127.0.0.1")
    monkeypatch.setenv("HARPCALLER_PORT", str(cluster.port))
    spec = importlib.util.spec_from_file_location("web", EXAMPLES / "web.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_web(web: Any) -> None:
    client = web.app.test_client()
    submitted = client.post("/jobs", json={"host": "web01", "procedure": "count", "arguments": [3]})
    assert submitted.status_code == 202
    job = submitted.get_json()["job"]
    text = client.get(f"/jobs/{job}/events").get_data(as_text=True)
    events = text.split("\n\n")
    assert events[:3] == [f"id: {number}\ndata: {number}" for number in range(3)]
    assert events[3].startswith('event: end\ndata: {"result": ')
    # Where a browser has been cut off it goes on.
    again = client.get(f"/jobs/{job}/events", headers={"Last-Event-ID": "1"})
    assert again.get_data(as_text=True) == "\n\n".join(events[2:])
    assert client.get("/jobs/no-id/events").status_code == 400
    assert client.post("/jobs", json={"host": "web01"}).status_code == 400
    unknown = "3f22e0d4-c8ed-11e5-8d66-001e8c140268"
    assert client.get(f"/jobs/{unknown}/events").status_code == 404


def test_web_notices_that_nothing_comes(web: Any, cluster: Cluster) -> None:
    web.HEARTBEAT = 0.1
    job = harp.HarpCaller("127.0.0.1", cluster.port).web01.silent_stream()
    client = web.app.test_client()
    events = client.get(f"/jobs/{job.id()}/events").iter_encoded()
    assert next(events) == b": still there\n\n"
    assert client.post(f"/jobs/{job.id()}/cancel").get_json() == {"cancelled": True}
    ends = [event for event in events if event != b": still there\n\n"]
    assert json.loads(ends[0].split(b"data: ")[1]) == {"cancelled": True}
