"""Signals, threads and forks while something is waited for."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, List

import harp
import pytest
from daemons import PASSWORD, USER, Cluster, until

#: What a child runs: waits, and tells how it went on.
WAITS = """
import os, signal, socket, sys, threading, time, asyncio, harp
from harp import aio
# A shell may have started all this in the background, where interrupts are ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
port, host_port, what = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
rpc = harp.HarpCaller("127.0.0.1", port)
job = rpc.web01.silent_stream()
def get(): job.get()
def follow(): job.follow(since=0).all()
def direct(): harp.HarpServer("127.0.0.1", "dispatcher", "open sesame", host_port).silent()
def connect():
    silent = socket.create_server(("127.0.0.1", 0))
    harp.HarpCaller(*silent.getsockname(), connect_timeout=100).web01.echo()
def asynchronous():
    async def wait(): await aio.HarpCaller("127.0.0.1", port).job(job.id()).get()
    asyncio.run(wait())
print("waiting", job.id(), flush=True)
try:
    globals()[what]()
except KeyboardInterrupt:
    print("heard", time.time(), flush=True)
    # A thread that has looked at files for others ends a moment after it.
    by = time.time() + 5
    def tasks(): return os.listdir("/proc/self/task") if what != "asynchronous" else [0]
    while len(tasks()) > 1 and time.time() < by: time.sleep(0.05)
    names = tasks()
    print("threads", len(names), threading.active_count(), flush=True)
    # The client is as good as before.
    assert rpc.job(job.id()).cancel()
"""


@pytest.mark.parametrize("what", ["get", "follow", "direct", "connect", "asynchronous"])
def test_an_interrupt_is_heard_at_once_and_leaves_no_thread(what: str, cluster: Cluster) -> None:
    command = [sys.executable, "-c", WAITS, str(cluster.port), str(cluster.host_port), what]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline().startswith("waiting")
    until("the child waits", lambda: child.poll() is not None or is_asleep(child.pid))
    assert child.poll() is None, child.communicate()
    sent = time.time()
    child.send_signal(signal.SIGINT)
    out, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors
    heard, threads = out.splitlines()
    # 0.2 s, and as long again for a machine that is busy.
    assert float(heard.split()[1]) - sent < 0.4
    assert threads == "threads 1 1"


def is_asleep(process: int) -> bool:
    state = Path(f"/proc/{process}/stat").read_text().rsplit(") ", 1)[1][0]
    return state == "S"


def test_other_threads_go_on(rpc: harp.HarpCaller, cluster: Cluster) -> None:
    job = rpc.web01.silent()
    results: List[Any] = []

    def wait() -> None:
        results.append(job.result(wait=True))

    waiting = [threading.Thread(target=wait) for _ in range(2)]
    for thread in waiting:
        thread.start()
    # This thread runs Python and the client while those wait.
    assert [rpc.web01.echo(number).get() for number in range(20)] == [[n] for n in range(20)]
    assert job.cancel()
    for thread in waiting:
        thread.join(30)
    assert results == [harp.CALL_CANCELLED] * 2


def test_many_threads_share_a_client(rpc: harp.HarpCaller) -> None:
    results: List[Any] = []

    def calls(number: int) -> None:
        for turn in range(5):
            results.append(rpc.web01.echo(number, turn).get() == [number, turn])

    threads = [threading.Thread(target=calls, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == [True] * 40


FORKS = """
import os, sys, harp
from harp import aio
rpc = harp.HarpCaller("127.0.0.1", int(sys.argv[1]))
if os.fork() == 0:
    # Nothing was used yet.
    assert rpc.web01.echo(1).get() == [1]
    os._exit(0)
assert os.wait()[1] == 0
job = rpc.web01.echo(2)
packets = job.follow()
if os.fork() == 0:
    import asyncio
    def refused(ask):
        try:
            ask()
        except harp.ForkedError as error:
            assert "fork" in str(error), error
        else:
            raise AssertionError("not refused")
    refused(lambda: job.get())
    refused(lambda: next(packets))
    refused(lambda: harp.HarpCaller("127.0.0.1", 1).web01.echo())
    refused(lambda: asyncio.run(aio.HarpCaller("127.0.0.1", 1).web01.echo()))
    with rpc:
        pass
    # Ends as any program does, and takes nothing of the parent's with it.
    sys.exit(0)
assert os.wait()[1] == 0
assert packets.all() in ([], [2])
for number in range(3):
    assert rpc.web01.echo(number).get() == [number]
print("good")
"""


def test_a_fork_after_use_is_refused(cluster: Cluster) -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORKS, str(cluster.port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert done.stdout == "good\n", done.stderr


def test_waits_survive_a_restart_and_tell(
    own_cluster: Callable[..., Cluster], caplog: pytest.LogCaptureFixture
) -> None:
    cluster = own_cluster()
    rpc = harp.HarpCaller("127.0.0.1", cluster.port)
    feed = cluster.feed("restart")
    job = rpc.web01.feed(feed.path)
    feed.send("0")
    packets = job.follow(since=0)
    assert next(packets) == 0
    caplog.set_level(logging.DEBUG, "harp")
    rest: List[Any] = []
    following = threading.Thread(target=lambda: rest.extend(packets.all()))
    following.start()
    cluster.dispatcher.stop(signal.SIGKILL)
    until("the loss is told", lambda: "trying again" in caplog.text)
    cluster.start_dispatcher()
    # Whether the call outlives the restart is between the dispatcher and its host.
    with suppress(BrokenPipeError):
        feed.send("1")
        feed.close()
    following.join(60)
    assert not following.is_alive()
    # Each packet of the job came once, those from before the restart and after.
    assert [0, *rest] == job.stream().all()
    assert job.result() is not harp.CALL_NOT_FINISHED
    assert {record.name for record in caplog.records} == {"harp"}


def test_calls_are_told_to_logging(
    rpc: harp.HarpCaller, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "harp")
    job = rpc.web01.echo("secret")
    assert f"job {job.id()}: echo on web01" in caplog.text
    assert "secret" not in caplog.text
    assert PASSWORD not in repr(harp.HarpServer("h", USER, PASSWORD))
