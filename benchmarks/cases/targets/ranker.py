"""A ranking model in LightGBM (lambdarank), trained on made-up queries of a fixed seed: 40 features to one score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .cached import built

NAME, INPUT, OUTPUT = "ranker", "candidates", "scores"
FEATURES = 40
SEED = 2
QUERIES, DOCUMENTS = 200, 20
TREES, LEAVES = 200, 31


class Model:
    """The model in this process, on one thread: float32 candidates [n, 40] to float32 scores [n, 1]."""

    def __init__(self) -> None:
        import lightgbm

        self._booster = lightgbm.Booster(model_file=built("ranker.txt", __file__, _write))

    def __call__(self, candidates: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(self._booster.predict(candidates, num_threads=1), np.float32)[:, None]


def inputs(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    """As the model was trained on [count, 40], with three decimals as features have."""
    return np.round(rng.standard_normal((count, FEATURES), np.float32), 3)


def _write(file: Path) -> None:
    import lightgbm

    rng = np.random.default_rng(SEED)
    features = inputs(rng, QUERIES * DOCUMENTS)
    taste = rng.standard_normal(FEATURES)
    worth = features @ taste + np.abs(features[:, 0]) * 3 + rng.standard_normal(len(features))
    relevance = np.digitize(worth, np.quantile(worth, (0.5, 0.75, 0.9, 0.97)))
    parameters = {
        "objective": "lambdarank",
        "num_leaves": LEAVES,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "seed": SEED,
        "verbose": -1,
    }
    data = lightgbm.Dataset(features, relevance, group=[DOCUMENTS] * QUERIES)
    lightgbm.train(parameters, data, num_boost_round=TREES).save_model(file)
