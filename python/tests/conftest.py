from __future__ import annotations

from pathlib import Path
from typing import Callable, Iterator, List

import harp
import pytest
from daemons import PASSWORD, USER, Cluster
from without_hello import WithoutHello


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    started = Cluster(tmp_path_factory.mktemp("cluster"))
    yield started
    started.stop()


@pytest.fixture(scope="session")
def original(cluster: Cluster) -> Iterator[WithoutHello]:
    proxy = WithoutHello(cluster.port)
    yield proxy
    proxy.close()


@pytest.fixture(params=["this dispatcher", "the original's protocol"])
def port(request: pytest.FixtureRequest, cluster: Cluster, original: WithoutHello) -> int:
    """Where a dispatcher listens: everything holds with either."""
    return cluster.port if request.param == "this dispatcher" else original.port


@pytest.fixture
def rpc(port: int) -> Iterator[harp.HarpCaller]:
    with harp.HarpCaller("127.0.0.1", port) as caller:
        yield caller


@pytest.fixture
def new_rpc(cluster: Cluster) -> Iterator[harp.HarpCaller]:
    """A client of this dispatcher, for what the original has not."""
    with harp.HarpCaller("127.0.0.1", cluster.port) as caller:
        yield caller


@pytest.fixture
def server(cluster: Cluster) -> harp.HarpServer:
    ca_file = cluster.directory / "ca.pem"
    return harp.HarpServer("127.0.0.1", USER, PASSWORD, cluster.host_port, ca_file)


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    """Starts clusters that belong to one test."""
    started: List[Cluster] = []

    def start(tables: str = "", settings: str = "") -> Cluster:
        directory = tmp_path / str(len(started))
        directory.mkdir()
        started.append(Cluster(directory, tables, settings))
        return started[-1]

    yield start
    for one in started:
        one.stop()
