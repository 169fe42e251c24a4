"""What a job or a direct call came to, as a value."""

from __future__ import annotations

from typing import Any, Optional, Tuple

from ._errors import CancelledException, HarpException, RemoteError, RemoteException
from ._values import decode

#: How it ended; type and message of an exception or error; its data, or the result.
Outcome = Tuple[str, str, str, Optional[str]]


class CallNotFinished:
    """The type of `CALL_NOT_FINISHED`."""

    def __repr__(self) -> str:
        return "<CallNotFinished>"

    def __reduce__(self) -> str:
        return "CALL_NOT_FINISHED"


class CallCancelled:
    """The type of `CALL_CANCELLED`."""

    def __repr__(self) -> str:
        return "<CallCancelled>"

    def __reduce__(self) -> str:
        return "CALL_CANCELLED"


#: Given in place of a result of a call that is still running.
CALL_NOT_FINISHED = CallNotFinished()

#: Given as the result of a call that was cancelled.
CALL_CANCELLED = CallCancelled()


class Result:
    """The end result of a procedure that streams: the last that its iterator gives."""

    value: Any

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"Result({self.value!r})"


def result_of(outcome: Optional[Outcome], decimal: bool) -> Any:
    """What `RemoteCall.result` gives: the result, one of the two marks, or an exception."""
    if outcome is None:
        return CALL_NOT_FINISHED
    how = outcome[0]
    if how == "cancelled":
        return CALL_CANCELLED
    failure = failure_of(outcome, decimal)
    if failure is not None:
        return failure
    return decode(outcome[3] or "null", decimal)


def returned_by(outcome: Optional[Outcome], decimal: bool) -> Any:
    """What `RemoteCall.get` gives: the result, or `CALL_NOT_FINISHED`. Raises what the call
    has come to otherwise."""
    if outcome is not None and outcome[0] == "cancelled":
        raise CancelledException("the job was cancelled")
    failure = None if outcome is None else failure_of(outcome, decimal)
    if failure is not None:
        raise failure
    return result_of(outcome, decimal)


def failure_of(outcome: Outcome, decimal: bool) -> Optional[HarpException]:
    """The exception or error that it ended with, if it did."""
    how, type, message, data = outcome
    if how not in ("exception", "error"):
        return None
    value = None if data is None else decode(data, decimal)
    made = RemoteException if how == "exception" else RemoteError
    return made(type, message, value)
