"""Python's values as JSON text and back, numbers exactly."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))

#: Deeper values are refused (client protocol, section 1).
_MAX_DEPTH = 128


def encode(what: str, value: Any) -> str:
    """The JSON text of a value. Besides what `json` knows, it takes `decimal.Decimal`, and
    `int` of any size.

    Raises `TypeError` or `ValueError` that names the part of `what` that cannot be sent.
    """
    try:
        return _ENCODER.encode(value)
    except (TypeError, ValueError, RecursionError):
        # Decimals and huge integers are not for `json`; what is wrong with others is said
        # here.
        return _text(what, value, 1)


def decode(text: str, decimal: bool = False) -> Any:
    """The value of a JSON text; with `decimal`, numbers that are not whole are
    `decimal.Decimal` in place of `float`."""
    parse_float = Decimal if decimal else None
    try:
        return json.loads(text, parse_float=parse_float)
    except ValueError:
        # Python's own limit of digits: what was received is shown as it is.
        return json.loads(text, parse_float=parse_float, parse_int=_integer)


def _integer(digits: str) -> int:
    return int(Decimal(digits))


def _text(path: str, value: Any, depth: int) -> str:
    if value is None or isinstance(value, (bool, str)):
        return _ENCODER.encode(value)
    if isinstance(value, int):
        return str(Decimal(int(value)))
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{path}: {value} is no number of JSON")
        return _ENCODER.encode(value)
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError(f"{path}: {value} is no number of JSON")
        return str(value)
    if not isinstance(value, (list, tuple, dict)):
        raise TypeError(
            f"{path}: {type(value).__name__} cannot be sent; only None, bool, int, float, "
            "Decimal, str, list, tuple and dict can"
        )
    if depth > _MAX_DEPTH:
        raise ValueError(f"{path}: nested deeper than {_MAX_DEPTH} levels")
    if isinstance(value, dict):
        pairs = (
            f"{_key(path, key)}:{_text(f'{path}[{key!r}]', inner, depth + 1)}"
            for key, inner in value.items()
        )
        return "{" + ",".join(pairs) + "}"
    inners = (_text(f"{path}[{at}]", inner, depth + 1) for at, inner in enumerate(value))
    return "[" + ",".join(inners) + "]"


def _key(path: str, key: Any) -> str:
    """As `json` has it: numbers, None and truth are keys by their text."""
    if isinstance(key, str):
        return _ENCODER.encode(key)
    if key is None or isinstance(key, (bool, int, float)):
        return _ENCODER.encode(_text(path, key, 1))
    raise TypeError(f"{path}: a key of type {type(key).__name__} cannot be sent; use str")
