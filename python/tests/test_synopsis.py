"""Each line of the reference's synopsis."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import uuid
from pathlib import Path

import harp
import pytest
from daemons import PASSWORD, USER, Cluster


def test_harpcaller_interaction(port: int) -> None:
    rpc = harp.HarpCaller("localhost", port)

    host = rpc.localhost(queue={"foo": "bar"}, max_exec_time=15)
    job = host.stream_infinity()
    shown = []
    for msg in job.follow(since=0):
        shown.append(json.dumps(msg))
        if len(shown) == 3:
            assert job.cancel()
            break
    assert shown == ["0", "1", "2"]

    uuid.UUID(job.id())
    assert job.result() is harp.CALL_CANCELLED

    result = rpc("localhost").return_immediate("bar", "baz").get()
    assert result == ["bar", "baz"]


def test_the_other_ways_to_a_host(rpc: harp.HarpCaller) -> None:
    host = rpc.host(host="localhost", queue={"foo": "bar"})
    assert host.return_immediate(1).get() == [1]
    assert rpc.localhost.return_immediate(2).get() == [2]
    assert rpc["web-02"]["restart-nginx"]().get() is True


def test_results_by_id(rpc: harp.HarpCaller) -> None:
    running = rpc.web01.silent()
    assert rpc.job(running.id()).result() is harp.CALL_NOT_FINISHED
    assert rpc.job(running.id()).get(wait=False) is harp.CALL_NOT_FINISHED
    assert running.cancel() is True
    assert rpc.job(running.id()).result() is harp.CALL_CANCELLED
    assert running.cancel() is False


def test_harpd_interaction(cluster: Cluster) -> None:
    server = harp.HarpServer(
        host="127.0.0.1",
        user=USER,
        password=PASSWORD,
        port=cluster.host_port,
    )
    assert isinstance(server.current_time(), int)
    logs = []
    ends = []
    for msg in server.logs_in_next_minutes(10):
        if isinstance(msg, harp.Result):
            # last value, nothing more will be returned
            ends.append(json.dumps(msg.value))
        else:
            assert not ends
            logs.append(msg)
    assert logs == [f"log {number}" for number in range(1, 11)]
    assert len(ends) == 1


def test_statically_known_hosts(rpc: harp.HarpCaller) -> None:
    # get nginx' status on web01, no job configuration
    assert rpc.web01.nginx_status().get() == {"up": True}
    # enqueue nginx restart request
    job = rpc.web01(queue={"service": "nginx", "host": "web01"})["restart-nginx"]()
    assert job.get() is True


#: A script as people wrote them for the original's module.
OF_PYTHON_2 = """
import sys
import json
import harp

rpc = harp.HarpCaller("localhost", int(sys.argv[1]))
host = rpc.host(host = "localhost", queue = {"foo": u"bar"}, max_exec_time = 15L)
job = host.count(3)
for (i, msg) in job.follow(since = 0, numbered = True):
    print "%d:" % i, json.dumps(msg)
if isinstance(job.host(), unicode) and isinstance(job.procedure(), basestring):
    print job.host(), job.procedure(), job.args()
for result in map(lambda j: j.result(wait = True), [rpc.localhost.fail(1, "it broke")]):
    if result is harp.CALL_NOT_FINISHED:
        print "still running"
    elif isinstance(result, harp.RemoteException):
        print "raised:", unicode(result.message).strip()[-8:]
try:
    rpc("nobody").nothing().get()
except harp.RemoteError, e:
    print e.type, sorted(e.data.iteritems())
"""


def test_an_old_script_after_2to3_alone(port: int, tmp_path: Path) -> None:
    if importlib.util.find_spec("lib2to3") is None:
        pytest.skip("this Python has no 2to3")
    script = tmp_path / "script.py"
    script.write_text(OF_PYTHON_2)
    command = [sys.executable, "-W", "ignore", "-m", "lib2to3", "-w", "-n", str(script)]
    subprocess.run(command, check=True, capture_output=True)
    command = [sys.executable, str(script), str(port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == [
        "0: 0",
        "1: 1",
        "2: 2",
        "localhost count [3]",
        "raised: it broke",
        "unknown_host [('host', 'nobody')]",
    ], done.stderr
