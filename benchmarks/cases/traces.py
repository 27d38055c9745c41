"""Traces for the targets, made up with a fixed seed: sessions that come in bursts, sizes that vary by session.

    python -m benchmarks.cases.traces                     all of them, in build/cases/
    python -m benchmarks.cases.traces triton mine.trace   one, elsewhere

Pure but for the writing: a client is a function that makes its next request.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.arrivals import synthetic
from locust_adaptive.replay.record import Record
from locust_adaptive.replay.store import Trace, TraceWriter

from .targets import language, ranker, v2, vision
from .targets.cached import BUILD, digest

SEED = 11
SECONDS = 3600.0
SCALE = 0.075
"""Of the rates of `synthetic.mixed`: 2 600 requests, in bursts of which there are enough for recorded arrivals."""


@dataclass(frozen=True)
class Message:
    """What a request sends."""

    name: str
    path: str
    headers: v2.Headers
    body: bytes


Rng = np.random.Generator
Turns = Callable[[], Message]
"""A client: each call is its next request."""


def _log_normal(rng: Rng, median: float, sigma: float, most: int) -> int:
    return int(np.clip(round(median * np.exp(sigma * rng.standard_normal())), 1, most))


def _infer(model: str, inputs: v2.Tensors, binary: bool) -> Message:
    return Message(model, v2.path(model), *v2.encode_request(inputs, binary=binary))


def looks(rng: Rng) -> Turns:
    """Sends pictures: mostly one, some clients albums of up to 4; one client in eight as JSON."""
    album, binary = rng.random() < 0.15, rng.random() < 7 / 8

    def turn() -> Message:
        count = _log_normal(rng, 2, 0.5, 4) if album else 1
        return _infer(vision.NAME, {vision.INPUT: vision.inputs(rng, count)}, binary)

    return turn


def ranks(rng: Rng) -> Turns:
    """Sends candidates: median 100, varying by client and a little by request; one client in four as JSON."""
    usual, binary = _log_normal(rng, 100, 0.5, 300), rng.random() < 3 / 4

    def turn() -> Message:
        count = _log_normal(rng, usual, 0.3, 400)
        return _infer(ranker.NAME, {ranker.INPUT: ranker.inputs(rng, count)}, binary)

    return turn


def chats(rng: Rng) -> Turns:
    """Sends a conversation that grows with each turn, for 4 to 64 words; half of the clients want a stream."""
    stream = bool(rng.random() < 0.5)
    said: list[dict[str, str]] = []

    def words(median: float) -> str:
        count = _log_normal(rng, median, 0.6, 80)
        return " ".join(language.word(int(n)) for n in rng.integers(language.WORDS // 2, size=count))

    def turn() -> Message:
        if len(said) > 6:
            said.clear()  # before the context is full
        if said:
            said.append({"role": "assistant", "content": words(16)})
        said.append({"role": "user", "content": words(20)})
        tokens = 3 + _log_normal(rng, 13, 0.7, 61)
        body = {"messages": said, "max_tokens": tokens, "stream": stream, "temperature": 0, "ignore_eos": True}
        headers = (("Content-Type", "application/json"),)
        return Message("chat", "/v1/chat/completions", headers, json.dumps(body).encode())

    return turn


CLIENTS: dict[str, tuple[Callable[[Rng], Turns], ...]] = {
    "triton": (looks, ranks, ranks),
    "fastapi": (looks,),
    "llama": (chats,),
}
"""Who sends to each target: kinds of clients, equally often."""


def write(target: str, path: Path, *, seed: int = SEED, seconds: float = SECONDS, scale: float = SCALE) -> None:
    """Write the trace of a target, the same for the same arguments. Raises TraceError where the file exists.

    Sessions start in bursts, have 4 requests on average, and think 5 s between them.
    """
    rng = np.random.default_rng(seed)
    index = synthetic.mixed(seconds, rng, scale)
    clients: dict[int, Turns] = {}
    with TraceWriter(path, origin=_origin(target)) as writer:
        for due_ns, session in zip(index.due_ns.tolist(), index.session.tolist(), strict=True):
            if session not in clients:
                kinds = CLIENTS[target]
                clients[session] = kinds[rng.integers(len(kinds))](rng)
            message = clients[session]()
            writer.append(
                Record(due_ns, f"s{session}", "POST", message.path, message.headers, message.body, message.name, 200)
            )


def made(target: str) -> Path:
    """The trace of a target in build/cases/, where the locustfiles expect it; made if it is not there or old."""
    path = BUILD / f"{target}.trace"
    if not path.exists() or _origin_of(path) != _origin(target):
        BUILD.mkdir(parents=True, exist_ok=True)
        beside = BUILD / f"{target}-{os.getpid()}.trace"
        try:
            write(target, beside)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    return path


def _origin(target: str) -> str:
    makers = [module.__file__ or "" for module in (synthetic, language, ranker, v2, vision)]
    return f"benchmarks.cases.traces {target} {digest(__file__, *makers)}"


def _origin_of(path: Path) -> str:
    with Trace.open(path) as trace:
        return trace.info().origin


if __name__ == "__main__":
    if sys.argv[1:]:
        write(sys.argv[1], Path(sys.argv[2]))
    else:
        for name in CLIENTS:
            print(made(name))
