"""What cannot be used is Python's own exception, before anything is sent; numbers are exact."""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal
from typing import Any, Dict, List, Tuple, Type

import harp
import pytest
from harp import aio
from without_hello import WithoutHello

#: Options that are wrong, each with its exception.
Table = List[Tuple[Dict[str, Any], Type[Exception]]]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"queue": "nginx"}, TypeError),
        ({"queue": {"a": {1}}}, TypeError),
        ({"concurrency": 0, "queue": {}}, ValueError),
        ({"concurrency": True, "queue": {}}, TypeError),
        ({"concurrency": "2", "queue": {}}, TypeError),
        ({"concurrency": 2}, ValueError),
        ({"timeout": 0}, ValueError),
        ({"timeout": -1}, ValueError),
        ({"timeout": "5"}, TypeError),
        ({"timeout": math.nan}, ValueError),
        ({"timeout": math.inf}, ValueError),
        ({"timeout": 2**64}, ValueError),
        ({"timeout": timedelta(0)}, ValueError),
        ({"max_exec_time": True}, TypeError),
        ({"info": object()}, TypeError),
        ({"info": math.nan}, ValueError),
        ({"key": 5}, TypeError),
        ({"key": "\ud800"}, ValueError),
        ({"unless_since": 5}, ValueError),
        ({"start_by": 0}, ValueError),
        ({"priority": 5}, TypeError),
        ({"retry": 5}, TypeError),
        ({"no_such_option": 5}, TypeError),
    ],
)
def test_options_of_calls(options: Any, error: Any, original: WithoutHello) -> None:
    before = original.requests, original.hellos
    rpc = harp.HarpCaller("127.0.0.1", original.port)
    for way in (rpc.host, rpc):
        call: Any = way
        with pytest.raises(error):
            call("web01", **options).echo()
    with pytest.raises(error):
        rpc.web01(**options).echo()
    assert (original.requests, original.hellos) == before


def test_arguments(original: WithoutHello) -> None:
    before = original.requests, original.hellos
    rpc: Any = harp.HarpCaller("127.0.0.1", original.port)
    server: Any = harp.HarpServer("127.0.0.1", "u", "p")
    endless: Any = []
    endless.append(endless)
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    for host in (rpc.web01, server):
        for argument, error in [
            ({1, 2}, TypeError),
            (b"bytes", TypeError),
            ({(1, 2): 3}, TypeError),
            (math.inf, ValueError),
            (Decimal("NaN"), ValueError),
            (endless, ValueError),
            (deep, ValueError),
        ]:
            with pytest.raises(error, match="arguments"):
                host.echo(argument)
        with pytest.raises(TypeError, match="not both"):
            host.echo(1, k=2)
        with pytest.raises(TypeError):
            host[5]
        with pytest.raises(ValueError):
            host[""]
        with pytest.raises(TypeError):
            iter(host)
    job = rpc.job("3f22e0d4-c8ed-11e5-8d66-001e8c140268")
    for follow in (job.follow, job.stream):
        wrong: Table = [
            ({"since": -1}, ValueError),
            ({"recent": -1}, ValueError),
            ({"since": 1, "recent": 1}, ValueError),
            ({"since": 1.0}, TypeError),
            ({"since": True}, TypeError),
            ({"numbered": 1}, TypeError),
        ]
        for options, error in wrong:
            with pytest.raises(error):
                follow(**options)
    with pytest.raises(TypeError):
        job.get(wait=1)
    with pytest.raises(TypeError):
        rpc.request("text")
    with pytest.raises(ValueError, match="job_id"):
        rpc.job("no id")
    with pytest.raises(TypeError):
        rpc.job(5)
    with pytest.raises(TypeError):
        rpc[5]
    with pytest.raises(TypeError):
        iter(rpc)
    assert (original.requests, original.hellos) == before


@pytest.mark.parametrize("kind", [harp, aio])
def test_clients(kind: Any) -> None:
    wrong: Table = [
        ({"host": 5}, TypeError),
        ({"host": ""}, ValueError),
        ({"host": "a b"}, ValueError),
        ({"host": "h:1"}, ValueError),
        ({"port": 0}, ValueError),
        ({"port": 70000}, ValueError),
        ({"port": "3502"}, TypeError),
        ({"connect_timeout": 0}, ValueError),
        ({"ca_file": 5}, TypeError),
        ({"ca_file": "/no/such/file"}, ValueError),
        ({"fingerprint": "no digits"}, ValueError),
        ({"fingerprint": "00" * 32, "accept_any_certificate": True}, ValueError),
        ({"client_key": "f"}, ValueError),
        ({"server_name": "n"}, ValueError),
        ({"token": "t", "host": "192.0.2.1"}, ValueError),
        ({"pool_size": 0}, ValueError),
        ({"decimal": None}, TypeError),
        ({"no_such_option": 1}, TypeError),
    ]
    for options, error in wrong:
        with pytest.raises(error):
            kind.HarpCaller(**{"host": "127.0.0.1", **options})
    wrong = [
        ({"user": None}, TypeError),
        ({"port": -1}, ValueError),
        ({"fingerprint": "x"}, ValueError),
        ({"no_such_option": 1}, TypeError),
    ]
    for options, error in wrong:
        with pytest.raises(error):
            kind.HarpServer(**{"host": "127.0.0.1", "user": "u", "password": "p", **options})
    with pytest.raises(TypeError):
        kind.RemoteServer("no caller", "web01")
    with pytest.raises(TypeError):
        kind.RemoteCall("no caller", "3f22e0d4-c8ed-11e5-8d66-001e8c140268")
    assert "::1" in repr(kind.HarpCaller("::1", 99))


VALUES: List[Any] = [
    0,
    -(2**53) - 1,
    10**30,
    10**6000,
    0.1,
    1e300,
    -0.0,
    "żółć 😀",
    "\ud800",
    "a\n\u2028b",
    {"": {"1": []}},
    True,
    None,
]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_values_come_back(value: Any, rpc: harp.HarpCaller) -> None:
    job = rpc.web01.echo(value)
    [returned] = job.get()
    assert returned == value
    assert type(returned) is type(value)
    [asked] = job.args()
    assert asked == value


def test_decimals_on_request(port: int) -> None:
    rpc = harp.HarpCaller("127.0.0.1", port, decimal=True)
    values = [Decimal("0.10"), Decimal("1E+400"), 5]
    job = rpc.web01(info=Decimal("1.50")).echo(*values)
    returned = job.get()
    assert returned == values
    assert [str(value) for value in returned] == ["0.10", "1E+400", "5"]
    assert str(job.info()) == "1.50"
    packets = rpc.web01.packets("0.10", "12345678901234567890.5").follow(since=0).all()
    assert [str(packet) for packet in packets] == ["0.10", "12345678901234567890.5"]


def test_keys_are_text_as_json_has_them(rpc: harp.HarpCaller) -> None:
    for number in (2.5, Decimal("2.5")):
        job = rpc.web01.echo({7: number, None: 3, False: 4, 0.5: 5})
        assert job.get() == [{"7": 2.5, "null": 3, "false": 4, "0.5": 5}]
