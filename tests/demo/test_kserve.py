"""The ranker's V2 JSON: what it takes, what it refuses and why."""

import json
from typing import Any

import numpy as np
import pytest

from locust_adaptive.demo.kserve import BadRequest, decode_request, encode_answer
from locust_adaptive.demo.model import Ranker
from locust_adaptive.demo.workload import make_workload


def body(**changes: Any) -> bytes:
    """A good request with keys of the candidates' tensor changed."""
    user = {"name": "user_id", "shape": [1], "datatype": "INT64", "data": [3]}
    candidates = {"name": "candidates", "shape": [2], "datatype": "INT64", "data": [5, 6]} | changes
    return json.dumps({"id": "a", "inputs": [user, candidates]}).encode()


def test_a_good_request() -> None:
    identity, user, candidates = decode_request(body())
    assert (identity, user, candidates.tolist()) == ("a", 3, [5, 6])


def test_the_workload_is_understood() -> None:
    for request in make_workload(50):
        _, user, candidates = decode_request(request.body())
        assert (user, tuple(candidates.tolist())) == (request.user, request.candidates)


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"", "not JSON"),
        (b"\xff{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", '"inputs"'),
        (b'{"inputs": 1}', '"inputs"'),
        (b'{"inputs": [], "id": 3}', '"id" must be a string'),
        (b'{"inputs": [1]}', '"name"'),
        (b'{"inputs": []}', "once each"),
        (body(name="user_id"), "once each"),
        (body(name="other"), "once each"),
        (body(datatype="FP32"), "datatype must be"),
        (body(data=[]), "1 to 640"),
        (body(data=list(range(641)), shape=[641]), "1 to 640"),
        (body(data="55"), "flat list"),
        (body(shape=[3]), "does not fit 2 values"),
        (body(data=[[5, 6]], shape=[1]), "integer in 0..1999"),
        (body(data=[5, True]), "integer in 0..1999"),
        (body(data=[5, 6.0]), "integer in 0..1999"),
        (body(data=[5, -1]), "integer in 0..1999"),
        (body(data=[5, 2000]), "integer in 0..1999"),
        (body(data=[5, 10**30]), "integer in 0..1999"),
    ],
)
def test_a_bad_request_is_explained(sent: bytes, message: str) -> None:
    with pytest.raises(BadRequest, match=message.replace("[", r"\[")):
        decode_request(sent)


def test_the_answer_has_one_score_a_candidate_and_the_id() -> None:
    scores = Ranker().score(3, np.array([5, 6]))
    answer = json.loads(encode_answer("a", scores))
    assert answer["id"] == "a"
    (output,) = answer["outputs"]
    assert (output["shape"], output["datatype"]) == ([2], "FP32")
    assert output["data"] == pytest.approx(scores.tolist(), abs=1e-6)
    assert "id" not in json.loads(encode_answer(None, scores))


def test_scores_are_deterministic_and_belong_to_user_and_candidate() -> None:
    candidates = np.arange(640)
    scores = Ranker().score(3, candidates)
    assert np.array_equal(scores, Ranker().score(3, candidates))
    assert np.allclose(Ranker().score(3, candidates[::-1]), scores[::-1], atol=1e-6)
    assert not np.allclose(Ranker().score(4, candidates), scores, atol=1e-3)
    assert scores.dtype == np.float32
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert scores.std() > 0.05
