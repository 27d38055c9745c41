"""The part of the KServe V2 (Open Inference Protocol) JSON that the ranker speaks: metadata, requests, answers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from locust_adaptive.demo.workload import ITEMS, MAX_CANDIDATES, MODEL, USERS

METADATA = {
    "name": MODEL,
    "versions": ["1"],
    "platform": "numpy",
    "inputs": [
        {"name": "user_id", "datatype": "INT64", "shape": [1]},
        {"name": "candidates", "datatype": "INT64", "shape": [-1]},
    ],
    "outputs": [{"name": "scores", "datatype": "FP32", "shape": [-1]}],
}


class BadRequest(ValueError):
    """The body is not a request that the ranker can answer; the message says where and what is expected."""


def decode_request(body: bytes) -> tuple[str | None, int, NDArray[np.int64]]:
    """The id (if given), the user and the candidates [n] of an inference request; BadRequest when it is not one."""
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON that can be read: {error}") from None
    if not isinstance(request, dict) or not isinstance(request.get("inputs"), list):
        raise BadRequest('the body must be an object with a list "inputs"')
    identity = request.get("id")
    if identity is not None and not isinstance(identity, str):
        raise BadRequest('"id" must be a string')
    inputs: dict[Any, Any] = {}
    for tensor in request["inputs"]:
        if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
            raise BadRequest('each of "inputs" must be an object with a "name"')
        inputs[tensor["name"]] = tensor
    if inputs.keys() != {"user_id", "candidates"} or len(request["inputs"]) != 2:
        raise BadRequest(f'the inputs must be "user_id" and "candidates", once each, not {str(sorted(inputs))[:200]}')
    user = _int64(inputs["user_id"], 1, USERS)
    candidates = _int64(inputs["candidates"], MAX_CANDIDATES, ITEMS)
    return identity, int(user[0]), candidates


def encode_answer(identity: str | None, scores: NDArray[np.float32]) -> bytes:
    """The answer's body: `scores` [n] as FP32, with six decimals."""
    answer: dict[str, Any] = {"model_name": MODEL, "model_version": "1"}
    if identity is not None:
        answer["id"] = identity
    data = np.round(scores.astype(np.float64), 6).tolist()
    answer["outputs"] = [{"name": "scores", "datatype": "FP32", "shape": [len(data)], "data": data}]
    return json.dumps(answer, separators=(",", ":")).encode()


def _int64(tensor: dict[str, Any], longest: int, bound: int) -> NDArray[np.int64]:
    """The data of an input tensor of 1..`longest` values in 0..`bound`-1."""
    name, data = tensor["name"], tensor.get("data")
    if tensor.get("datatype") != "INT64":
        raise BadRequest(f'input "{name}": datatype must be "INT64", not {str(tensor.get("datatype"))[:40]!r}')
    if not isinstance(data, list) or not 1 <= len(data) <= longest:
        raise BadRequest(f'input "{name}": "data" must be a flat list of 1 to {longest} integers')
    if tensor.get("shape") != [len(data)]:
        raise BadRequest(f'input "{name}": shape {str(tensor.get("shape"))[:40]} does not fit {len(data)} values')
    # A bool is an int to Python and not to the protocol.
    if not all(type(value) is int and 0 <= value < bound for value in data):
        raise BadRequest(f'input "{name}": every value must be an integer in 0..{bound - 1}')
    return np.array(data, dtype=np.int64)
