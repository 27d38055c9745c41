"""The server of llama.cpp, from xllamacpp, with the random language model: OpenAI's API, continuous batching.

    python -m benchmarks.cases.targets.serve_llama PORT

Answers are nonsense, and the same each time.
"""

from __future__ import annotations

import signal
import sys

import xllamacpp

from . import language

SLOTS = 8


def main(port: int) -> None:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(language.file())
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = port
    parameters.n_ctx = language.CONTEXT * SLOTS
    parameters.n_parallel = SLOTS
    parameters.cpuparams.n_threads = 1
    parameters.cpuparams_batch.n_threads = 1
    _server = xllamacpp.Server(parameters)  # serves from threads of its own
    signal.pause()


if __name__ == "__main__":
    main(int(sys.argv[1]))
