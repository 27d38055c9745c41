"""The demo's model: a small seeded ranker whose inference is real numpy work, one row a candidate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from locust_adaptive.demo.workload import ITEMS, USERS


class Ranker:
    """User and item embeddings into a two-layer perceptron; a score in 0..1 for each candidate.

    The weights come from `seed`, so the same request has the same scores in every process.
    """

    def __init__(self, seed: int = 7, users: int = USERS, items: int = ITEMS, dim: int = 16, hidden: int = 32) -> None:
        rng = np.random.default_rng(seed)

        def weights(*shape: int) -> NDArray[np.float32]:
            return rng.standard_normal(shape, dtype=np.float32) / np.float32(np.sqrt(shape[0]))

        self.users = users
        self.items = items
        self._user_embedding = rng.standard_normal((users, dim), dtype=np.float32)
        self._item_embedding = rng.standard_normal((items, dim), dtype=np.float32)
        self._user_to_hidden = weights(dim, hidden)
        self._item_to_hidden = weights(dim, hidden)
        self._hidden_to_score = weights(hidden)

    def score(self, user: int, candidates: NDArray[np.int64]) -> NDArray[np.float32]:
        """Scores of `candidates` [n] for `user`; ids outside the tables raise IndexError or wrap: check them before."""
        # The user's half of the first layer is one row for all candidates.
        of_user = self._user_embedding[user] @ self._user_to_hidden
        hidden = np.maximum(self._item_embedding[candidates] @ self._item_to_hidden + of_user, np.float32(0))
        scores: NDArray[np.float32] = 1 / (1 + np.exp(-(hidden @ self._hidden_to_score)))
        return scores
