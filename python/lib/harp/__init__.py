"""Calls procedures on remote hosts, through HarpCaller's dispatcher or directly.

    import harp

    rpc = harp.HarpCaller("dispatcher.example.net")
    job = rpc.web01.restart("nginx")
    for line in job.follow(since=0):
        print(line)
    print(job.get())

`harp.aio` has the same names for asyncio. The logger is `harp`.
"""

from ._caller import HarpCaller, RemoteCall, RemoteProcedure, RemoteServer, StreamIterator
from ._connection import JSONConnection, JSONSSLConnection
from ._errors import (
    CancelledException,
    CommunicationError,
    ForkedError,
    HarpException,
    RefusedError,
    RemoteError,
    RemoteException,
    UnsupportedError,
)
from ._outcomes import CALL_CANCELLED, CALL_NOT_FINISHED, Result
from ._server import HarpProcedure, HarpServer, HarpStreamIterator

__all__ = [
    "CALL_CANCELLED",
    "CALL_NOT_FINISHED",
    "CancelledException",
    "CommunicationError",
    "ForkedError",
    "HarpCaller",
    "HarpException",
    "HarpProcedure",
    "HarpServer",
    "HarpStreamIterator",
    "JSONConnection",
    "JSONSSLConnection",
    "RefusedError",
    "RemoteCall",
    "RemoteError",
    "RemoteException",
    "RemoteProcedure",
    "RemoteServer",
    "Result",
    "StreamIterator",
    "UnsupportedError",
]
