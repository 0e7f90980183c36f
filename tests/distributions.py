"""Class distributions to score, and the scores of a batch-aware function along a batch."""

from collections.abc import Generator

import numpy as np

from trainables.arrays import Floats


def logs(probs: object) -> Floats:
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(probs, dtype=np.float64))


def random_log_probs(seed: int, N: int, T: int, C: int) -> Floats:
    probs = np.random.default_rng(seed).dirichlet(np.full(C, 0.5), size=(N, T)) + 1e-9
    return np.log(probs / probs.sum(axis=2, keepdims=True))


def log_probs_along_directions(N: int, C: int, directions: int, scale: float) -> Floats:
    """Of 12 networks that are linear in few features: reviews repeat each other."""
    rng = np.random.default_rng(12)
    features, networks = rng.normal(size=(N, directions)), rng.normal(size=(12, directions, C))
    logits = scale * np.einsum("nk,tkc->ntc", features, networks) / np.sqrt(directions)
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=2, keepdims=True)))


def scores_along(steps: Generator[Floats, int, None], chosen: list[int]) -> list[Floats]:
    """The scores given nothing, then given each further review of a batch."""
    return [next(steps), *(steps.send(position) for position in chosen)]


def keys(N: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).random(N)
