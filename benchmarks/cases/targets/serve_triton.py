"""Triton, by pytriton: the vision model and the ranker in its Python callables, behind its dynamic batcher.

    python -m benchmarks.cases.targets.serve_triton PORT

KServe V2 over HTTP; no gRPC, no metrics. There is no queue policy: with one, this Triton makes requests wait for up to
half a second now and then.
"""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from . import ranker, vision

MOST_IMAGES, MOST_CANDIDATES = 16, 1024
QUEUE_DELAY_US = 1000


def main(port: int) -> None:
    look, rank = vision.Model(), ranker.Model()
    config = TritonConfig(http_address="127.0.0.1", http_port=port, allow_grpc=False, allow_metrics=False)
    with Triton(config=config, workspace=Path(tempfile.mkdtemp(), "workspace")) as triton:
        triton.bind(
            vision.NAME,
            batch(lambda images: {vision.OUTPUT: look(images)}),
            inputs=[Tensor(name=vision.INPUT, dtype=np.uint8, shape=(vision.SIDE, vision.SIDE, 3))],
            outputs=[Tensor(name=vision.OUTPUT, dtype=np.float32, shape=(vision.CLASSES,))],
            config=_batched(MOST_IMAGES),
        )
        triton.bind(
            ranker.NAME,
            batch(lambda candidates: {ranker.OUTPUT: rank(candidates)}),
            inputs=[Tensor(name=ranker.INPUT, dtype=np.float32, shape=(ranker.FEATURES,))],
            outputs=[Tensor(name=ranker.OUTPUT, dtype=np.float32, shape=(1,))],
            config=_batched(MOST_CANDIDATES),
        )
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        triton.serve()


def _batched(rows: int) -> ModelConfig:
    return ModelConfig(max_batch_size=rows, batcher=DynamicBatcher(max_queue_delay_microseconds=QUEUE_DELAY_US))


if __name__ == "__main__":
    main(int(sys.argv[1]))
