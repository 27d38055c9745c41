"""The servers that can be started: the command of each, what it needs, and the inference that shows it ready."""

from __future__ import annotations

import json
import os
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from importlib.util import find_spec
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from . import ranker, v2, vision

TIMEOUT_S = 10.0
JSON = (("Content-Type", "application/json"),)


@dataclass(frozen=True)
class Target:
    """A server: `command(port)` starts it, `check(url)` sends an inference and raises OSError, HTTPException or
    ValueError until it is answered right. `modules` must be importable, `environment()` is added to ours."""

    name: str
    command: Callable[[int], Sequence[str]]
    check: Callable[[str], None]
    modules: tuple[str, ...] = ()
    environment: Callable[[], Mapping[str, str]] = dict

    def missing(self) -> list[str]:
        """What is not installed of what it needs."""
        return [name for name in self.modules if find_spec(name) is None]


def post(url: str, headers: v2.Headers, body: bytes) -> bytes:
    """The body of the answer, of whichever status below 400; ValueError with the body for the others."""
    parts = urlsplit(url)
    connection = HTTPConnection(str(parts.hostname), parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("POST", parts.path, body, dict(headers))
        response = connection.getresponse()
        answer = response.read()
    finally:
        connection.close()
    if response.status >= 400:
        raise ValueError(f"HTTP {response.status}: {answer[:500].decode(errors='replace')}")
    return answer


def infer(url: str, model: ModuleType, inputs: NDArray[Any], *, binary: bool = True) -> NDArray[Any]:
    """The scores that a server has for these inputs of `vision` or `ranker`, by KServe V2."""
    headers, body = v2.encode_request({model.INPUT: inputs}, binary=binary)
    outputs = v2.decode_reply(post(url + v2.path(model.NAME), headers, body))
    if model.OUTPUT not in outputs:
        raise ValueError(f"no {model.OUTPUT} in {sorted(outputs)}")
    return outputs[model.OUTPUT]


def complete(url: str, prompt: str, tokens: int) -> dict[str, Any]:
    """A completion of so many tokens by OpenAI's API, the likeliest."""
    request = {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True}
    reply = json.loads(post(f"{url}/v1/completions", JSON, json.dumps(request).encode()))
    if not isinstance(reply, dict) or not {"usage", "choices"} <= reply.keys():
        raise ValueError(f"no completion: {reply!r}")
    return reply


def _answers(*models: ModuleType) -> Callable[[str], None]:
    """A check that a server answers as these models do in this process."""

    def check(url: str) -> None:
        for model in models:
            inputs = model.inputs(np.random.default_rng(0), 3)
            answer, right = infer(url, model, inputs), model.Model()(inputs)
            if answer.shape != right.shape or not np.allclose(answer, right, rtol=1e-4, atol=1e-6):
                raise ValueError(f"{model.NAME} answers {answer}, not {right}")

    return check


def _check_llama(url: str) -> None:
    # There is no second implementation to compare with: what must hold is that the same is answered to the same.
    replies = [complete(url, "bafa dedo", 8) for _ in range(2)]
    counts = {reply["usage"]["completion_tokens"] for reply in replies}
    texts = {reply["choices"][0]["text"] for reply in replies}
    if counts != {8} or len(texts) != 1:
        raise ValueError(f"twice 8 tokens of the same text were asked for, not {replies}")


def _module(name: str) -> Callable[[int], Sequence[str]]:
    return lambda port: [sys.executable, "-m", f"{__package__}.{name}", str(port)]


def _own_libraries() -> dict[str, str]:
    """Triton embeds Python, and must find the library of this one before that of the system."""
    paths = (sysconfig.get_config_var("LIBDIR"), os.environ.get("LD_LIBRARY_PATH"))
    return {"LD_LIBRARY_PATH": os.pathsep.join(filter(None, paths))}


TARGETS = {
    target.name: target
    for target in (
        Target(
            "triton",
            _module("serve_triton"),
            _answers(vision, ranker),
            ("pytriton", "onnxruntime", "onnx", "lightgbm"),
            _own_libraries,
        ),
        Target("fastapi", _module("serve_fastapi"), _answers(vision), ("fastapi", "uvicorn", "onnxruntime", "onnx")),
        Target("llama", _module("serve_llama"), _check_llama, ("xllamacpp", "gguf")),
    )
}
