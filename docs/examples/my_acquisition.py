"""Two acquisition functions: one that scores each review by itself, and one that takes care that a batch is not all alike."""

import numpy as np

from trainables.acquisition import AcquisitionFunction
from trainables.arrays import Floats


def _mode_disagreement(log_probs_NTC: Floats) -> Floats:
    """Variance over passes of the probability of the class that is the most probable on average."""
    probs_NTC = np.exp(log_probs_NTC)
    top_N = probs_NTC.mean(axis=1).argmax(axis=1)
    return probs_NTC[np.arange(len(top_N)), :, top_N].var(axis=1)


mode_disagreement = AcquisitionFunction(_mode_disagreement, prediction="mc", min_passes=2)


def _spread_entropy(log_probs_NTC, *, features_NH):
    """Entropy of the deterministic prediction, times the distance to the nearest review that is already in the batch."""
    log_probs_NC = log_probs_NTC[:, 0]
    entropy_N = -(np.exp(log_probs_NC) * log_probs_NC).sum(axis=1)
    distance_N = np.ones(len(entropy_N))
    chosen = yield entropy_N
    while True:
        to_chosen_N = np.linalg.norm(features_NH - features_NH[chosen], axis=1)
        distance_N = np.minimum(distance_N, to_chosen_N)
        chosen = yield entropy_N * distance_N


spread_entropy = AcquisitionFunction(_spread_entropy, prediction="deterministic", needs=("features",))
