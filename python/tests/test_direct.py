"""HarpServer, HarpProcedure, HarpStreamIterator and Result."""

from __future__ import annotations

from pathlib import Path

import harp
import pytest
from daemons import PASSWORD, USER, Cluster, until


def test_single_results(server: harp.HarpServer) -> None:
    assert server.echo("arg1", 2) == ["arg1", 2]
    assert server.echo(k={"v": None}) == {"k": {"v": None}}
    assert server["restart-nginx"]() is True
    assert harp.HarpProcedure(server, "echo")() == []


def test_streamed_results(server: harp.HarpServer) -> None:
    streamed = server.count(3)
    assert isinstance(streamed, harp.HarpStreamIterator)
    values = list(streamed)
    assert values[:-1] == [0, 1, 2]
    assert isinstance(values[-1], harp.Result)
    assert list(harp.HarpStreamIterator([1, harp.Result(2)]))[0] == 1


def test_exceptions(server: harp.HarpServer) -> None:
    with pytest.raises(harp.RemoteException, match="it broke"):
        server.fail(1, "it broke")
    with pytest.raises(harp.RemoteError) as raised:
        server.no_such_thing()
    assert raised.value.type == "no_such_procedure"
    streamed = server.fail_streaming(1, "it broke")
    assert [next(streamed), next(streamed)] == ["one", "two"]
    with pytest.raises(harp.HarpException, match="it broke"):
        next(streamed)


def test_credentials_and_certificates(cluster: Cluster, tmp_path: Path) -> None:
    address = {"host": "127.0.0.1", "port": cluster.host_port}
    wrong = harp.HarpServer(user=USER, password="wrong", **address)  # type: ignore[arg-type]
    with pytest.raises(harp.RemoteError) as raised:
        wrong.echo()
    assert raised.value.type == "auth_error"
    stranger = harp.HarpServer(
        "127.0.0.1", USER, PASSWORD, cluster.host_port, fingerprint="00" * 32
    )
    with pytest.raises(harp.CommunicationError):
        stranger.echo()
    with pytest.raises(ValueError, match="missing.pem"):
        harp.HarpServer("127.0.0.1", USER, PASSWORD, ca_file=tmp_path / "missing.pem")
    assert PASSWORD not in repr(wrong)


def test_leaving_a_stream_cancels_it(server: harp.HarpServer, cluster: Cluster) -> None:
    feed = cluster.feed("leaving")
    with server.feed(feed.path) as streamed:
        feed.send("1")
        assert next(streamed) == 1

    def is_gone() -> bool:
        try:
            feed.send("2")
        except BrokenPipeError:
            return True
        return False

    until("the procedure was ended", is_gone)
