"""JSONConnection, JSONSSLConnection, and the ways to a dispatcher."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import subprocess
from pathlib import Path
from typing import Any, Callable

import harp
import pytest
from daemons import Cluster, binary
from harp import aio

REQUEST = {"harpcaller": 1, "cancel": "3f22e0d4-c8ed-11e5-8d66-001e8c140268"}
ANSWER = {"cancelled": False}


def test_json_connection(port: int) -> None:
    with harp.JSONConnection("127.0.0.1", port) as conn:
        conn.send(REQUEST)
        assert conn.receive() == ANSWER
        with pytest.raises(harp.CommunicationError, match="closed"):
            conn.receive()
        conn.connect()
        conn.send(REQUEST)
        assert conn.receive() == ANSWER
    with pytest.raises(harp.CommunicationError, match="not connected"):
        conn.send(REQUEST)
    with pytest.raises(harp.CommunicationError, match="cannot connect"):
        harp.JSONConnection("no-such-name.invalid", port)


def fingerprint(certificate: Path) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.read_text())).hexdigest()


def test_tls_tokens_and_unix_sockets(own_cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    made = subprocess.run(
        [binary("harpcallerd"), "new-token", "shop"], check=True, capture_output=True, text=True
    )
    _, token, _, line = made.stdout.splitlines()
    (tmp_path / "tokens").write_text(line + "\n")
    (tmp_path / "tokens").chmod(0o600)
    files = tmp_path / "0"
    tables = (
        f"[[listener]]\naddress = '127.0.0.1:0'\ncertificate = '{files}/host.pem'\n"
        f"private_key = '{files}/host.key'\n[[listener]]\npath = '{tmp_path}/clients'\n"
    )
    cluster = own_cluster(tables, f"tokens_file = '{tmp_path}/tokens'\n")
    port = int(cluster.dispatcher.addresses(2)[1].rsplit(":", 1)[1])
    ca_file = files / "ca.pem"

    with harp.JSONSSLConnection("127.0.0.1", port, ca_file) as encrypted:
        encrypted.send({"harpcaller": 1, "hello": {"token": token}})
        assert "token" in encrypted.receive()["features"]
        encrypted.send(REQUEST)
        assert encrypted.receive() == ANSWER
    pinned = fingerprint(files / "host.pem")
    harp.JSONSSLConnection("127.0.0.1", port, fingerprint=pinned).close()
    harp.JSONSSLConnection("127.0.0.1", port).close()
    for wrong in ({"fingerprint": "00" * 32}, {"ca_file": files / "host.pem"}):
        options: Any = wrong
        with pytest.raises(harp.CommunicationError):
            harp.JSONSSLConnection("127.0.0.1", port, **options)

    ways: Any = ({"ca_file": ca_file}, {"fingerprint": pinned}, {"accept_any_certificate": True})
    for way in ways:
        with harp.HarpCaller("127.0.0.1", port, token=token, **way) as rpc:
            assert rpc.web01.echo(1).get() == [1]
            assert rpc.request(REQUEST) == ANSWER
            with rpc.connect() as conn:
                conn.send(REQUEST)
                assert conn.receive() == ANSWER
    stranger = harp.HarpCaller("127.0.0.1", port, ca_file=ca_file, token="f" * 64)
    with pytest.raises(harp.RefusedError) as raised:
        stranger.web01.echo(1)
    assert raised.value.type == "unauthorized"
    with pytest.raises(harp.RefusedError):
        stranger.connect()

    local = harp.HarpCaller(f"unix:{tmp_path}/clients")
    assert local.web01.echo(2).get() == [2]
    with local.connect() as conn:
        conn.send(REQUEST)
        assert conn.receive() == ANSWER

    async def likewise() -> None:
        async with aio.HarpCaller("127.0.0.1", port, token=token, ca_file=ca_file) as rpc:
            async with await rpc.connect() as conn:
                await conn.send(REQUEST)
                assert await conn.receive() == ANSWER
        async with aio.JSONSSLConnection("127.0.0.1", port, fingerprint=pinned) as encrypted:
            await encrypted.send(REQUEST)
            assert (await encrypted.receive())["error"]["type"] == "unauthorized"
        async with await aio.HarpCaller(f"unix:{tmp_path}/clients").connect() as conn:
            await conn.send(REQUEST)
            assert await conn.receive() == ANSWER

    asyncio.run(likewise())
