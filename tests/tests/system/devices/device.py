"""A device made of the published package auto-trainer-api, with delegates of ours.

Arguments: the ports of events and of commands, and the interval of heartbeats in seconds.
Prints "ready" when it listens. Ends with its standard input.
"""

import socket
import sys
import threading
import time

from autotrainer import api
from autotrainer.api.api_options import RpcOptions
from autotrainer.api.zeromq.zeromq_api_service import ZeroMQApiService

# The first versions have it misspelt.
Result = getattr(api, "ApiCommandRequestResult", None) or api.ApiCommandReqeustResult
Response = api.ApiCommandRequestResponse
Topic = api.ApiTopic



class Service(ZeroMQApiService):
    """The package's service, whose messages are two sends each, one message at a time.

    Its heartbeats come from a timer's thread, all else from its own.
    """

    sending = threading.RLock()

    def _send(self, *message):
        with self.sending:
            return super()._send(*message)

    def _send_string(self, *message):
        with self.sending:
            return super()._send_string(*message)

    def _send_dict(self, *message):
        with self.sending:
            return super()._send_dict(*message)


events, commands, interval = map(int, sys.argv[1:])
service = Service(RpcOptions(True, "rig-1", interval, events, commands))


def send_event(kind, index, context):
    event = {"kind": kind, "when": time.time(), "index": index, "context": context}
    if hasattr(service, "send_event_dict"):
        service.send_event_dict(event)
    else:
        service.send_dict(Topic.EVENT, event)


def send_result(request, data):
    response = Response(
        command=request.command, nonce=request.nonce, result=Result.SUCCESS, data=data
    )
    if hasattr(service, "send_command_result"):
        service.send_command_result(response)
    else:
        service.send_dict(
            Topic.COMMAND_RESULT,
            {"result": 100, "data": data, "error_code": 0, "error_message": None,
             "command": int(request.command), "nonce": request.nonce},
        )


def publish(request, count, pause):
    begun = time.monotonic_ns()
    for number in range(count):
        send_event(1101, begun + number, {"number": number})
        while time.monotonic_ns() < begun + (number + 1) * pause:
            time.sleep(0.0005)
    send_result(request, {"count": count})


def answer(request):
    def response(result, **more):
        return Response(command=request.command, nonce=request.nonce, result=result, **more)

    custom = request.custom_command
    if int(request.command) == 400:
        return response(Result.SUCCESS, data={"mode": "idle", "asked": request.data})
    if custom == 1:
        count, pause = request.data["count"], request.data["pause"]
        threading.Thread(target=publish, args=(request, count, pause)).start()
        return response(Result.PENDING_WITH_NOTIFICATION)
    if custom == 2:
        raise RuntimeError("oh")
    if custom == 3:
        return response(Result.FAILED, error_code=7, error_message="no")
    if custom == 4:
        return response(Result.PENDING)
    return response(Result.UNAVAILABLE)


service.command_request_delegate = answer
service.start()
for port in (events, commands):
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.1)
    else:
        sys.exit("it does not listen")
print("ready", flush=True)
sys.stdin.read()
service.stop()
