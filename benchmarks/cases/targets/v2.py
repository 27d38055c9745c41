"""KServe V2 (Open Inference Protocol) over HTTP: requests in JSON or with binary tensors, answers in JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tensors = Mapping[str, NDArray[Any]]
Headers = tuple[tuple[str, str], ...]

DATATYPES: dict[str, np.dtype[Any]] = {"UINT8": np.dtype("u1"), "INT64": np.dtype("<i8"), "FP32": np.dtype("<f4")}
NAMES = {dtype: name for name, dtype in DATATYPES.items()}
HEADER = "Inference-Header-Content-Length"
"""Bytes of JSON before the tensors of a binary request."""


def path(model: str) -> str:
    return f"/v2/models/{model}/infer"


def encode_request(inputs: Tensors, *, binary: bool) -> tuple[Headers, bytes]:
    """Headers and body of a request with these tensors; KeyError for a type that is none of DATATYPES."""
    if not binary:
        return (("Content-Type", "application/json"),), _json(
            {"inputs": [{**_described(name, array), "data": _numbers(array)} for name, array in inputs.items()]}
        )
    raw = [np.ascontiguousarray(array).tobytes() for array in inputs.values()]
    head = _json(
        {
            "inputs": [
                {**_described(name, array), "parameters": {"binary_data_size": array.nbytes}}
                for name, array in inputs.items()
            ]
        }
    )
    headers = (("Content-Type", "application/octet-stream"), (HEADER, str(len(head))))
    return headers, b"".join((head, *raw))


def decode_request(headers: Mapping[str, str], body: bytes) -> dict[str, NDArray[Any]]:
    """The tensors of a request; `headers` by names in lower case. ValueError says what is wrong with it."""
    at = int(headers.get(HEADER.lower(), len(body)))
    tensors = {}
    for tensor in _tensors(body[:at], "inputs"):
        size = (tensor.get("parameters") or {}).get("binary_data_size")
        if size is not None:
            if not isinstance(size, int):
                raise ValueError(f"tensor {tensor['name']!r}: binary_data_size is {size!r}, and no number of bytes")
            tensor["data"] = np.frombuffer(body, np.uint8, count=size, offset=at).view(_dtype(tensor))
            at += size
        tensors[tensor["name"]] = _array(tensor)
    return tensors


def encode_reply(model: str, outputs: Tensors) -> bytes:
    described = [{**_described(name, array), "data": _numbers(array)} for name, array in outputs.items()]
    return _json({"model_name": model, "model_version": "1", "outputs": described})


def decode_reply(body: bytes) -> dict[str, NDArray[Any]]:
    """The tensors of an answer; ValueError says what is wrong with it."""
    return {tensor["name"]: _array(tensor) for tensor in _tensors(body, "outputs")}


def _tensors(text: bytes, which: str) -> list[dict[str, Any]]:
    message = json.loads(text)
    tensors = message.get(which) if isinstance(message, dict) else None
    if not isinstance(tensors, list) or not all(isinstance(t, dict) and "name" in t for t in tensors):
        raise ValueError(f'expected an object with a list "{which}" of objects with a "name"')
    return tensors


def _array(tensor: dict[str, Any]) -> NDArray[Any]:
    try:
        values = np.asarray(tensor["data"])
        array = values.astype(_dtype(tensor)).reshape(tuple(tensor["shape"]))
    except (KeyError, TypeError) as fault:
        raise ValueError(f"tensor {tensor['name']!r}: {fault!r}") from None
    if array.dtype.kind in "iu" and not np.array_equal(array.ravel(), values.ravel()):
        raise ValueError(f"tensor {tensor['name']!r}: values that are no {tensor['datatype']}")
    return array


def _dtype(tensor: dict[str, Any]) -> np.dtype[Any]:
    if tensor.get("datatype") not in DATATYPES:
        raise ValueError(f"tensor {tensor['name']!r}: datatype is none of {', '.join(DATATYPES)}")
    return DATATYPES[tensor["datatype"]]


def _described(name: str, array: NDArray[Any]) -> dict[str, Any]:
    return {"name": name, "shape": list(array.shape), "datatype": NAMES[array.dtype]}


def _numbers(array: NDArray[Any]) -> list[Any]:
    """In order, each with as few digits as tell it from its neighbours, as clients send them: 0.1, not the double next
    to it, which is more than twice as long."""
    flat = array.ravel()
    return flat.astype(str).astype(float).tolist() if flat.dtype.kind == "f" else flat.tolist()


def _json(message: object) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()
