"""The same names for asyncio."""

from __future__ import annotations

import asyncio
from typing import Any, Awaitable, Callable, List

import pytest
from daemons import PASSWORD, USER, Cluster, until
from harp import aio

NO_JOB = "3f22e0d4-c8ed-11e5-8d66-001e8c140268"


def test_every_name_is_there() -> None:
    import harp

    assert aio.__all__ == harp.__all__


def test_calls_jobs_and_packets(port: int) -> None:
    async def program() -> None:
        async with aio.HarpCaller("127.0.0.1", port) as rpc:
            job = await rpc.web01(queue={"q": "aio"}, info="i").count(5)
            assert [packet async for packet in job.follow(since=0)] == [0, 1, 2, 3, 4]
            assert await job.stream(since=3, numbered=True).all() == [(3, 3), (4, 4)]
            assert await job.result() == await job.get(wait=False)
            assert (await job.host(), await job.procedure()) == ("web01", "count")
            assert (await job.args(), await job.info()) == ([5], "i")
            start, end = await job.start_time(), await job.end_time()
            assert start is not None and end is not None
            assert await job.submit_time() <= start <= end
            assert await (await rpc["web01"].echo(a=1)).get() == {"a": 1}

            silent = await rpc.web01.silent()
            assert await rpc.job(silent.id()).result() is aio.CALL_NOT_FINISHED
            assert await silent.cancel() is True
            assert await silent.result(wait=True) is aio.CALL_CANCELLED
            with pytest.raises(aio.CancelledException):
                await silent.get()
            with pytest.raises(aio.RemoteException, match="it broke"):
                await (await rpc.web01.fail(1, "it broke")).get()
            assert isinstance(await rpc.job(NO_JOB).result(), aio.RemoteError)
            reply = await rpc.request({"harpcaller": 1, "cancel": NO_JOB})
            assert reply == {"cancelled": False}

    asyncio.run(program())


def test_hosts_directly(cluster: Cluster) -> None:
    async def program() -> None:
        server = aio.HarpServer(
            "127.0.0.1", USER, PASSWORD, cluster.host_port, cluster.directory / "ca.pem"
        )
        assert await server.echo(1) == [1]
        streamed = await server.count(2)
        values = [value async for value in streamed]
        assert values[:2] == [0, 1]
        assert isinstance(values[2], aio.Result)
        with pytest.raises(aio.RemoteError):
            await server["no-such-thing"]()
        feed = cluster.feed("aio-leaving")
        async with await server.feed(feed.path) as streamed:
            await asyncio.to_thread(feed.send, "1")
            assert await streamed.__anext__() == 1

        def is_gone() -> bool:
            try:
                feed.send("2")
            except BrokenPipeError:
                return True
            return False

        await asyncio.to_thread(until, "the procedure was ended", is_gone)

    asyncio.run(program())


def test_the_loop_goes_on_while_many_wait(cluster: Cluster) -> None:
    async def program() -> None:
        rpc = aio.HarpCaller("127.0.0.1", cluster.port)
        silent = await rpc.web01.silent()
        waiting = [asyncio.ensure_future(silent.result(wait=True)) for _ in range(50)]
        jobs = await asyncio.gather(*(rpc.web01.echo(n) for n in range(30)))
        results = await asyncio.gather(*(job.get() for job in jobs))
        assert results == [[n] for n in range(30)]
        assert not any(future.done() for future in waiting)
        await silent.cancel()
        assert await asyncio.gather(*waiting) == [aio.CALL_CANCELLED] * 50

    asyncio.run(program())


def test_a_cancelled_task_gives_up_its_wait(cluster: Cluster) -> None:
    async def program() -> None:
        rpc = aio.HarpCaller("127.0.0.1", cluster.port)
        silent = await rpc.web01.silent_stream()
        for wait in (silent.get, silent.follow().all):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(wait(), 0.1)
        assert await silent.result() is aio.CALL_NOT_FINISHED
        assert await silent.cancel()

    asyncio.run(program())


def test_loops_one_after_the_other_and_in_threads(cluster: Cluster) -> None:
    rpc = aio.HarpCaller("127.0.0.1", cluster.port)

    async def program(number: int) -> Any:
        return await (await rpc.web01.echo(number)).get()

    assert [asyncio.run(program(number)) for number in range(3)] == [[0], [1], [2]]

    async def in_threads() -> List[Any]:
        run: Callable[[int], Awaitable[Any]] = lambda n: asyncio.to_thread(  # noqa: E731
            asyncio.run, program(n)
        )
        return await asyncio.gather(*(run(number) for number in range(4)))

    assert asyncio.run(in_threads()) == [[0], [1], [2], [3]]


def test_following_begins_with_open(cluster: Cluster) -> None:
    async def program() -> None:
        rpc = aio.HarpCaller("127.0.0.1", cluster.port)
        feed = cluster.feed("aio-begins")
        job = await rpc.web01.feed(feed.path)
        await asyncio.to_thread(feed.send, "1")
        while await job.stream().all() != [1]:
            await asyncio.sleep(0.01)
        async with job.follow() as packets:
            feed.send("2")
            feed.close()
            await job.get()
            assert [packet async for packet in packets] == [2]

    asyncio.run(program())


def test_bounding_the_wait_for_a_packet_loses_none(cluster: Cluster) -> None:
    async def program() -> None:
        rpc = aio.HarpCaller("127.0.0.1", cluster.port)
        job = await rpc.web01.stream_infinity()
        packets = job.follow(since=0)
        received: List[Any] = []
        late = 0
        while len(received) < 20:
            try:
                received.append(await asyncio.wait_for(packets.__anext__(), 0.005))
            except asyncio.TimeoutError:
                late += 1
        assert received == list(range(20))
        assert late
        packets.close()
        assert await job.cancel()

    asyncio.run(program())
