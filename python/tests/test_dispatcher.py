"""Hosts, procedures and jobs of the reference, entry by entry."""

from __future__ import annotations

import copy
import pickle
import time
from datetime import timedelta

import harp
import pytest
from daemons import Cluster

NO_JOB = "3f22e0d4-c8ed-11e5-8d66-001e8c140268"


def test_what_a_job_knows(rpc: harp.HarpCaller) -> None:
    before = int(time.time())
    host = rpc.host(
        "web01",
        queue={"q": "what a job knows"},
        concurrency=2,
        timeout=20,
        max_exec_time=timedelta(seconds=59.5),
        info={"ticket": 4711},
    )
    job = host.echo(1, "a", None)
    assert job.get() == [1, "a", None]
    job = rpc.job(job.id())
    assert job.host() == "web01"
    assert job.procedure() == "echo"
    assert job.args() == [1, "a", None]
    assert job.info() == {"ticket": 4711}
    start, end = job.start_time(), job.end_time()
    assert start is not None and end is not None
    assert before - 1 <= job.submit_time() <= start <= end <= time.time() + 1
    assert not job.existing()
    assert job.id() in repr(job)


def test_named_arguments(rpc: harp.HarpCaller) -> None:
    job = rpc.web01.echo(service="nginx", self=1, host=[2])
    assert job.get() == {"service": "nginx", "self": 1, "host": [2]}
    assert job.args() == {"service": "nginx", "self": 1, "host": [2]}
    assert rpc.web01.echo().args() == []
    assert job.info() is None


def test_a_job_that_has_not_started(rpc: harp.HarpCaller) -> None:
    host = rpc.web01(queue={"q": "a job that has not started"})
    first, second = host.silent(), host.silent()
    assert second.start_time() is None
    assert second.end_time() is None
    assert second.cancel()
    assert second.start_time() is None
    assert second.end_time() is not None
    with pytest.raises(harp.CancelledException):
        second.get()
    assert second.result(wait=True) is harp.CALL_CANCELLED
    assert first.cancel()


def test_an_exception_of_the_procedure(rpc: harp.HarpCaller) -> None:
    job = rpc.web01.fail(3, "it broke")
    with pytest.raises(harp.RemoteException) as raised:
        job.get()
    assert raised.value.type
    assert "it broke" in raised.value.message
    returned = job.result()
    assert isinstance(returned, harp.RemoteException)
    assert (returned.type, returned.message) == (raised.value.type, raised.value.message)
    assert returned.data == raised.value.data
    assert str(returned) == f"{returned.type}: {returned.message}"


def test_an_error_of_the_call(rpc: harp.HarpCaller) -> None:
    job = rpc.nobody.echo()
    with pytest.raises(harp.RemoteError) as raised:
        job.get()
    assert raised.value.type == "unknown_host"
    assert raised.value.data == {"host": "nobody"}
    returned = job.result(wait=True)
    assert isinstance(returned, harp.RemoteError)
    assert not isinstance(returned, harp.CommunicationError)


def test_no_such_job(rpc: harp.HarpCaller) -> None:
    job = rpc.job(NO_JOB.upper())
    assert job.id() == NO_JOB
    returned = job.result()
    assert isinstance(returned, harp.RemoteError)
    assert returned.type == "invalid_jobid"
    with pytest.raises(harp.RemoteError):
        job.host()
    with pytest.raises(harp.CommunicationError):
        job.follow().all()
    assert job.cancel() is False


def test_no_dispatcher(cluster: Cluster) -> None:
    # A port of TLS is none of a dispatcher, and closes.
    rpc = harp.HarpCaller("127.0.0.1", cluster.host_port, connect_timeout=5)
    assert isinstance(rpc.job(NO_JOB).result(), harp.CommunicationError)
    with pytest.raises(harp.CommunicationError):
        rpc.web01.echo()
    with pytest.raises(harp.CommunicationError) as raised:
        harp.HarpCaller("no-such-name.invalid").web01.echo()
    assert raised.value.phase == "resolve"
    assert isinstance(raised.value, harp.HarpException)


def test_hosts_and_procedures_are_what_they_say(rpc: harp.HarpCaller) -> None:
    host = rpc.web01
    assert str(host) == "web01"
    assert host(timeout=5) is host
    assert host(info=1, concurrency=None) is host
    procedure = host.echo
    assert isinstance(procedure, harp.RemoteProcedure)
    assert (procedure.host(), procedure.procedure()) == ("web01", "echo")
    assert harp.RemoteProcedure(rpc, harp.RemoteServer(rpc, "web01"), "echo")(5).get() == [5]
    assert isinstance(harp.RemoteCall(rpc, NO_JOB), harp.RemoteCall)
    # Options given before stay when others are adjusted.
    assert host.echo().info() == 1
    # What Python asks every object for is no procedure.
    assert copy.copy(host).echo(1).get() == [1]
    assert not hasattr(host, "__len__")


def test_marks_and_exceptions_are_pickled() -> None:
    for mark in (harp.CALL_NOT_FINISHED, harp.CALL_CANCELLED):
        assert pickle.loads(pickle.dumps(mark)) is mark
        assert copy.deepcopy(mark) is mark
    assert repr(harp.CALL_NOT_FINISHED) == "<CallNotFinished>"
    assert repr(harp.CALL_CANCELLED) == "<CallCancelled>"
    error = pickle.loads(pickle.dumps(harp.RemoteError("t", "m", {"d": 1})))
    assert (error.type, error.message, error.data) == ("t", "m", {"d": 1})


def test_a_key_has_one_job(new_rpc: harp.HarpCaller) -> None:
    host = new_rpc.web01(key="a key has one job")
    first, second = host.echo(1), host.echo(1)
    assert first.id() == second.id()
    assert (first.existing(), second.existing()) == (False, True)
    with pytest.raises(harp.RefusedError) as raised:
        host.echo(2)
    assert raised.value.type == "invalid_request"
    assert raised.value.data == {"field": "key", "key_taken": True}
    again = host(unless_since=1000).echo(1)
    assert again.id() == first.id()


def test_a_wait_in_the_queue_is_bounded(new_rpc: harp.HarpCaller) -> None:
    host = new_rpc.web01(queue={"q": "start_by"})
    first = host.silent()
    result = host(start_by=1).echo().result(wait=True)
    assert isinstance(result, harp.RemoteError)
    assert result.data["limit"] == "start_by"
    assert first.cancel_confirmed() is True
    assert first.cancel_confirmed() is None


def test_the_original_gets_nothing_that_it_does_not_know(port: int, cluster: Cluster) -> None:
    if port == cluster.port:
        pytest.skip("this dispatcher knows keys")
    host = harp.HarpCaller("127.0.0.1", port).web01(key="k")
    with pytest.raises(harp.UnsupportedError):
        host.echo(1)


def test_requests_of_ones_own(rpc: harp.HarpCaller) -> None:
    request = {"harpcaller": 1, "get_result": NO_JOB, "wait": False}
    reply = rpc.request(request)
    assert reply["error"]["type"] == "invalid_jobid"
    with rpc.connect() as conn:
        conn.send(request)
        assert conn.receive() == reply
