"""A web application that starts procedures and shows what they say, live.

    pip install flask
    HARPCALLER=dispatcher.example.net flask --app web run

`POST /jobs` with `{"host": "web01", "procedure": "restart", "arguments": ["nginx"]}` answers
at once with the job's id. `GET /jobs/ID/events` is a stream of server-sent events: one for
each packet, with its number, and at last one named `end`. A browser that was cut off sends
the number of the last event that it has seen, and nothing is missed or shown twice; not even
a restart of this application matters, since the jobs are the dispatcher's.
"""

from __future__ import annotations

import json
import os
from typing import Any, Iterator

import flask
import harp

#: After so many seconds without a packet a comment is sent: only then is it noticed that the
#: browser has gone.
HEARTBEAT = 15

app = flask.Flask(__name__)
rpc = harp.HarpCaller(
    os.environ.get("HARPCALLER", "localhost"), int(os.environ.get("HARPCALLER_PORT", "3502"))
)


@app.post("/jobs")
def submit() -> Any:
    asked = flask.request.get_json()
    arguments = asked.get("arguments", [])
    procedure = rpc.host(asked.get("host"), info={"from": "web"})[asked.get("procedure")]
    job = procedure(**arguments) if isinstance(arguments, dict) else procedure(*arguments)
    return {"job": job.id()}, 202


@app.get("/jobs/<job_id>/events")
def events(job_id: str) -> flask.Response:
    job = rpc.job(job_id)
    seen = flask.request.headers.get("Last-Event-ID")
    job.host()  # A job that is not known is told now, while there can be another status.
    packets = job.follow(since=0 if seen is None else int(seen) + 1, numbered=True)
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return flask.Response(told(job, packets), mimetype="text/event-stream", headers=headers)


@app.post("/jobs/<job_id>/cancel")
def cancel(job_id: str) -> Any:
    return {"cancelled": rpc.job(job_id).cancel()}


@app.errorhandler(TypeError)
@app.errorhandler(ValueError)
def wrong(error: Exception) -> Any:
    return {"error": str(error)}, 400


@app.errorhandler(harp.RemoteError)
def refused(error: harp.RemoteError) -> Any:
    return {"error": str(error)}, 404 if error.type == "invalid_jobid" else 502


@app.errorhandler(harp.CommunicationError)
def away(error: harp.CommunicationError) -> Any:
    return {"error": str(error)}, 503


def told(job: harp.RemoteCall, packets: harp.StreamIterator) -> Iterator[str]:
    with packets:
        while True:
            try:
                number, packet = packets.next(timeout=HEARTBEAT)
            except TimeoutError:
                yield ": still there\n\n"
            except StopIteration:
                break
            else:
                yield f"id: {number}\ndata: {json.dumps(packet)}\n\n"
        yield f"event: end\ndata: {json.dumps(ended(job.result(wait=True)))}\n\n"


def ended(result: Any) -> Any:
    if result is harp.CALL_CANCELLED:
        return {"cancelled": True}
    if isinstance(result, harp.HarpException):
        return {"error": str(result)}
    return {"result": result}
