"""Each line of the reference's synopsis."""

from __future__ import annotations

import json
import uuid

import harp
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
