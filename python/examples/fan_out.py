"""Calls a procedure on many hosts at once, with a progress bar if `tqdm` is installed.

    python fan_out.py --dispatcher dispatcher.example.net web01,web02,web03 restart nginx

Each line of output is a host and what came of it. Ctrl-C cancels what has not ended.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import Any, Dict, Iterable, List

from harp import aio as harp

try:
    from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]
except ImportError:
    tqdm = None


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Calls a procedure on many hosts at once.")
    parser.add_argument("--dispatcher", default="localhost")
    parser.add_argument("--port", type=int, default=3502)
    parser.add_argument("--limit", type=int, default=60, help="longest execution, in seconds")
    parser.add_argument("hosts", help="names, with commas between them")
    parser.add_argument("procedure")
    parser.add_argument("arguments", nargs="*")
    return parser.parse_args()


async def called(rpc: harp.HarpCaller, host: str, wanted: argparse.Namespace) -> Any:
    """What came of the call on one host."""
    procedure = rpc.host(host, max_exec_time=wanted.limit)[wanted.procedure]
    job = None
    try:
        job = await procedure(*wanted.arguments)
        return await job.result(wait=True)
    except harp.HarpException as error:
        return error
    except asyncio.CancelledError:
        if job is not None:
            await job.cancel()
        raise


async def program(wanted: argparse.Namespace) -> int:
    hosts: List[str] = wanted.hosts.split(",")
    results: Dict[str, Any] = {}

    async def one(rpc: harp.HarpCaller, host: str) -> None:
        results[host] = await called(rpc, host, wanted)

    async with harp.HarpCaller(wanted.dispatcher, wanted.port) as rpc:
        calls = [asyncio.ensure_future(one(rpc, host)) for host in hosts]
        ends: Iterable[Any] = asyncio.as_completed(calls)
        if tqdm is not None:
            ends = tqdm(ends, total=len(calls), unit="host", disable=not sys.stderr.isatty())
        for end in ends:
            await end
    failures = 0
    for host in hosts:
        result = results[host]
        failed = isinstance(result, harp.HarpException) or result is harp.CALL_CANCELLED
        failures += failed
        print(host, result if failed else json.dumps(result), sep="\t")
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(program(parsed())))
    except KeyboardInterrupt:
        sys.exit(130)
