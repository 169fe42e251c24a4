"""StreamIterator, follow and stream."""

from __future__ import annotations

from typing import Any, List

import harp
import pytest
from daemons import Cluster, until


def test_from_where_packets_come(rpc: harp.HarpCaller) -> None:
    job = rpc.web01.count(5)
    job.result(wait=True)
    assert job.stream().all() == [0, 1, 2, 3, 4]
    assert job.stream(since=3).all() == [3, 4]
    assert job.stream(recent=2).all() == [3, 4]
    assert job.stream(since=9).all() == []
    assert job.stream(since=3, numbered=True).all() == [(3, 3), (4, 4)]
    assert list(job.stream(recent=1, numbered=True)) == [(4, 4)]
    assert job.follow().all() == []
    assert job.follow(since=4, numbered=True).all() == [(4, 4)]
    assert job.follow(recent=2).all() == [3, 4]


def test_following_begins_when_it_is_asked_for(rpc: harp.HarpCaller, cluster: Cluster) -> None:
    feed = cluster.feed(f"begins-{rpc._address[1]}")
    job = rpc.web01.feed(feed.path)
    feed.send('"before"')
    until("the packet is there", lambda: job.stream().all() == ["before"])
    with job.follow() as packets:
        feed.send('"after"')
        feed.close()
        # Not before the job has ended is the first packet fetched.
        job.get()
        assert packets.all() == ["after"]
    assert list(packets) == []


def test_a_stream_does_not_wait(rpc: harp.HarpCaller) -> None:
    job = rpc.web01.silent_stream()
    assert job.stream().all() == []
    packets = job.follow()
    packets.close()
    assert job.result() is harp.CALL_NOT_FINISHED
    assert job.cancel()


def test_many_packets_come_each_once(rpc: harp.HarpCaller) -> None:
    job = rpc.web01.count(5000)
    assert list(job.follow(since=0)) == list(range(5000))
    assert job.stream().all() == list(range(5000))


def test_an_iterator_over_a_connection_of_ones_own(rpc: harp.HarpCaller) -> None:
    job = rpc.web01.count(3)
    job.get()
    conn = rpc.connect()
    conn.send({"harpcaller": 1, "follow_stream": job.id(), "since": 1})
    packets = harp.RemoteCall.StreamIterator(job, conn, numbered=True)
    assert packets.all() == [(1, 1), (2, 2)]


def test_packets_end_as_the_job_does(rpc: harp.HarpCaller) -> None:
    job = rpc.web01.fail_streaming(3, "it broke")
    assert job.follow(since=0).all() == ["one", "two"]
    with pytest.raises(harp.RemoteException):
        job.get()


def test_bounding_the_wait_for_a_packet_loses_none(rpc: harp.HarpCaller) -> None:
    job = rpc.web01.stream_infinity()
    packets = job.follow(since=0)
    received: List[Any] = []
    late = 0
    while len(received) < 20:
        try:
            received.append(packets.next(timeout=0.005))
        except TimeoutError:
            late += 1
    assert received == list(range(20))
    assert late
    assert job.cancel()
    with pytest.raises(StopIteration):
        while True:
            packets.next(timeout=20)
