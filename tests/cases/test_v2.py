"""KServe V2 over HTTP: what is encoded is what is decoded, and what is no request is said."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from benchmarks.cases.targets import v2

TENSORS = st.dictionaries(
    st.text(min_size=1, max_size=8),
    st.sampled_from(sorted(v2.DATATYPES)).flatmap(
        lambda name: npst.arrays(
            v2.DATATYPES[name],
            npst.array_shapes(max_dims=3, max_side=4),
            elements={"allow_nan": False, "allow_infinity": False} if name == "FP32" else None,
        )
    ),
    min_size=1,
    max_size=3,
)


def same(left: v2.Tensors, right: v2.Tensors) -> bool:
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype and np.array_equal(left[name], right[name]) for name in left
    )


@settings(max_examples=40)
@given(TENSORS, st.booleans())
def test_a_request_is_read_as_it_was_written(tensors: v2.Tensors, binary: bool) -> None:
    headers, body = v2.encode_request(tensors, binary=binary)
    assert same(v2.decode_request({name.lower(): value for name, value in headers}, body), tensors)


@settings(max_examples=40)
@given(TENSORS)
def test_a_reply_is_read_as_it_was_written(tensors: v2.Tensors) -> None:
    assert same(v2.decode_reply(v2.encode_reply("m", tensors)), tensors)


GOOD = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]}


@pytest.mark.parametrize(
    "message",
    [
        [],
        {"inputs": {}},
        {"inputs": [{}]},
        {"inputs": [{**GOOD, "datatype": "BYTES"}]},
        {"inputs": [{**GOOD, "shape": [3]}]},
        {"inputs": [{**GOOD, "shape": None}]},
        {"inputs": [{**GOOD, "data": ["a", "b"]}]},
        {"inputs": [{**GOOD, "datatype": "UINT8", "data": [256, 1]}]},
        {"inputs": [{name: value for name, value in GOOD.items() if name != "data"}]},
        {"inputs": [{**GOOD, "parameters": {"binary_data_size": 8}}]},
    ],
    ids=str,
)
def test_what_is_no_request_is_a_value_error(message: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  each its own words
        v2.decode_request({}, json.dumps(message).encode())


def test_the_library_of_triton_writes_the_same_binary_request() -> None:
    client = pytest.importorskip("tritonclient.http", reason="the group targets is not installed")
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    theirs = client.InferInput("x", [2, 3], "FP32")
    theirs.set_data_from_numpy(array, binary_data=True)
    body, size = client.InferenceServerClient.generate_request_body([theirs])
    assert same(v2.decode_request({v2.HEADER.lower(): str(size)}, body), {"x": array})
    (_, (_, at)), ours = v2.encode_request({"x": array}, binary=True)
    assert json.loads(ours[: int(at)])["inputs"] == json.loads(body[:size])["inputs"]
    assert ours[int(at) :] == body[size:]
