"""A small convolutional network as ONNX, with random weights of a fixed seed: 64 x 64 images to 10 scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cached import built

NAME, INPUT, OUTPUT = "vision", "images", "scores"
SIDE, CLASSES = 64, 10
SEED = 1
LAYERS = ((32, 2), (64, 2), (128, 1), (128, 1), (256, 2), (256, 1))
"""Channels and stride of each 3 x 3 convolution: 119 million multiplications an image."""


class Model:
    """The model in this process, on one thread: uint8 images [n, 64, 64, 3] to float32 scores [n, 10]."""

    def __init__(self) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        file = built("vision.onnx", __file__, _write)
        self._session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        scores: NDArray[np.float32] = self._session.run([OUTPUT], {INPUT: images})[0]
        return scores


def inputs(rng: np.random.Generator, count: int) -> NDArray[np.uint8]:
    """Pictures of noise of many contrasts [count, 64, 64, 3], whose scores differ."""
    contrast = rng.uniform(0.05, 1.0, (count, 1, 1, 3))
    brightness = rng.uniform(0, 1 - contrast)
    return (255 * (brightness + contrast * rng.random((count, SIDE, SIDE, 3)))).astype(np.uint8)


def _write(file: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(SEED)
    weights: list[Any] = []
    nodes: list[Any] = []

    def weight(array: NDArray[Any]) -> str:
        weights.append(numpy_helper.from_array(array, f"w{len(weights)}"))
        return f"w{len(weights) - 1}"

    def drawn(*shape: int) -> str:
        # He et al. 2015: keeps the variance from layer to layer.
        return weight(rng.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / np.prod(shape[1:]))))

    def add(kind: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [f"t{len(nodes)}"], **attributes))
        return f"t{len(nodes) - 1}"

    x = add("Transpose", add("Cast", INPUT, to=TensorProto.FLOAT), perm=(0, 3, 1, 2))
    x = add("Mul", x, weight(np.array(1 / 255, np.float32)))
    channels = 3
    for width, stride in LAYERS:
        kernel = drawn(width, channels, 3, 3)
        x = add("Relu", add("Conv", x, kernel, strides=(stride, stride), pads=(1, 1, 1, 1)))
        channels = width
    x = add("Gemm", add("Flatten", add("GlobalAveragePool", x)), drawn(CLASSES, channels), transB=1)
    nodes.append(helper.make_node("Softmax", [x], [OUTPUT], axis=1))
    graph = helper.make_graph(
        nodes,
        NAME,
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["n", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", CLASSES])],
        weights,
    )
    # Versions that any onnxruntime of the last years reads.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, file)
