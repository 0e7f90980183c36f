"""Scores that look at more than one review: at the batch so far, at the rest of the pool, or at a draw.

The q reviews that score best one by one may all say the same thing. Three answers to that are here. *Joint information* (`batch_bald`)
asks what a review adds to the batch so far; *diversity* (`k_center`, `badge`) looks for reviews far from each other in what the output
layer reads; a *draw* (`power_bald`) lets the best reviews compete with others. `epig` asks instead what a label would tell about others.

A batch-aware function is a generator: it yields the scores of all N reviews given the batch so far, and is sent the position of the one
that was chosen. It never chooses, so ties are broken where all ties are (``acquisition.py``). Randomness is an argument.

Memory: nothing here holds much more than `HELD_NUMBERS` numbers at once beyond what it is given and what is as large as that.
"""

from collections.abc import Generator, Iterator

import numpy as np

from trainables.arrays import Floats
from trainables.scores import ZERO_TOLERANCE, bald, entropy_of, mean_over_passes, snapped

Steps = Generator[Floats, int, None]
"""What a batch-aware function returns: it yields the scores of all reviews given the batch so far, and is sent the position of the one
that was chosen."""

HELD_NUMBERS = 4_000_000
"""Most numbers of an intermediate result that are held at once: 32 MB."""

POWER = 1.0
"""beta of `power_bald`: the share of a review in the draw grows as its BALD to this power."""

MAX_STATES = 1_000
"""Label configurations of the batch that `batch_bald` averages over: all of them while they are fewer, then so many drawn ones."""

EPIG_TARGETS = 200
"""Reviews that `epig` wants to know about."""

SAME = 1e-13
"""Squared distances below this share of the squared lengths are zero: far above rounding (about H x 1e-16), far below what float32
features can tell apart in more than one of them."""


def power_bald(log_probs_NTC: Floats, *, keys_N: Floats) -> Floats:
    """Log BALD + Gumbel noise of scale 1/beta (Kirsch et al. 2021, arXiv 2106.12059, section 3).

    The q best are q draws without replacement, each in proportion to BALD^beta. The noise is the random key of the review, put into
    Gumbel's distribution so that a smaller key is a larger noise: where no review disagrees, they rank as for `random`.
    """
    noise_N = -np.log(-np.log1p(-np.maximum(keys_N, np.finfo(np.float64).tiny)))
    return np.log(np.maximum(bald(log_probs_NTC), ZERO_TOLERANCE)) + noise_N / POWER


def epig(log_probs_NTC: Floats, *, keys_N: Floats) -> Floats:
    """Expected predictive information gain: mean over targets of I(y; y* | x, x*) (Bickford Smith et al. 2023, arXiv 2304.08151, eq. 5).

    With p(y, y*) = mean_t p_t(y) p_t(y*) this is H[pbar] + H[pbar*] - H[p(y, y*)]. The targets are the reviews with the smallest keys, a
    random part of the same pool, and so look like the test reviews, which are never read. A review that is a target itself is treated
    like any other: its share in the mean is one of `EPIG_TARGETS`.
    """
    probs_NTC = np.exp(log_probs_NTC)
    N, T, C = probs_NTC.shape
    targets_MTC = probs_NTC[np.argsort(keys_N, kind="stable")[:EPIG_TARGETS]]
    M = len(targets_MTC)
    own_N, target_M = (entropy_of(mean_over_passes(probs)) for probs in (probs_NTC, targets_MTC))
    targets_TK = targets_MTC.transpose(1, 0, 2).reshape(T, M * C) / T
    scores_N = np.empty(N)
    for part in _parts(N, M * C * C):
        joint_nCMC = (probs_NTC[part].transpose(0, 2, 1).reshape(-1, T) @ targets_TK).reshape(-1, C, M, C)
        joint_nM = entropy_of(joint_nCMC.transpose(0, 2, 1, 3).reshape(-1, M, C * C))
        scores_N[part] = (own_N[part, None] + target_M - joint_nM).mean(axis=1)
    return snapped(scores_N)


def batch_bald(log_probs_NTC: Floats, *, rng: np.random.Generator) -> Steps:
    """Greedy joint mutual information of the batch's labels and the network (Kirsch et al. 2019, arXiv 1906.08158, eq. 6 and alg. 1).

    By the chain rule a review adds E_{y_B}[ H(y | y_B) - sum_t pi_t(y_B) H(p_t) ] to the information in the batch B, with
    p(y | y_B) = sum_t pi_t(y_B) p_t(y) and pi the posterior over the T networks given the batch's labels. A *state* is one configuration
    y_B, with its probability and its posterior. All of them are kept while they are at most `MAX_STATES`; then each state draws its next
    label from its own prediction, which leaves the mean over states unbiased, and normalised posteriors never underflow.

    The mean of pi over all states is 1/T, so the second term could be mean_t H(p_t), as in the paper; over drawn states, taking both terms
    by the same states keeps every gain at 0 or more and halves its error (600 reviews, T = 20, 13 to 20 in the batch: .0013 to .0039
    nats against .0032 to .0070). Drawing the states anew from all extended ones, by systematic resampling, had twice the error.

    T networks hold at most ln T nats. Once nothing of that is left every review adds exactly 0, and the random keys choose: so a small T
    or a large batch makes most of a batch random.
    """
    probs_NTC = np.exp(log_probs_NTC)
    N, T, C = probs_NTC.shape
    entropies_NT = entropy_of(probs_NTC)
    passes_TK = probs_NTC.transpose(1, 0, 2).reshape(T, N * C)
    weight_S, posterior_ST = np.ones(1), np.full((1, T), 1 / T)
    chosen = yield bald(log_probs_NTC)
    while True:
        weight_S, posterior_ST = _next_states(weight_S, posterior_ST, probs_NTC[chosen], rng)
        if weight_S @ entropy_of(posterior_ST) < ZERO_TOLERANCE:  # no gain can be larger
            chosen = yield np.zeros(N)
            continue
        known_N = np.empty(N)
        for part in _parts(N, len(weight_S) * C):
            predicted_SK = posterior_ST @ passes_TK[:, part.start * C : part.stop * C]
            known_N[part] = weight_S @ entropy_of(predicted_SK.reshape(len(weight_S), -1, C))
        chosen = yield snapped(known_N - entropies_NT @ (weight_S @ posterior_ST))


def _next_states(weight_S: Floats, posterior_ST: Floats, probs_TC: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The states after one more review: every label of every state, or one drawn label of each."""
    S, C = len(weight_S), probs_TC.shape[1]
    predicted_SC = posterior_ST @ probs_TC
    if S * C <= MAX_STATES:
        states, labels = np.repeat(np.arange(S), C), np.tile(np.arange(C), S)
        weights = (weight_S[:, None] * predicted_SC).ravel()
        possible = weights > 0
        states, labels, weights = states[possible], labels[possible], weights[possible]
    else:
        share_SC = predicted_SC.cumsum(axis=1) / predicted_SC.sum(axis=1, keepdims=True)
        states, weights = np.arange(S), weight_S
        labels = np.minimum((rng.random(S)[:, None] >= share_SC).sum(axis=1), C - 1)
    posteriors = posterior_ST[states] * probs_TC[:, labels].T
    return weights / weights.sum(), posteriors / posteriors.sum(axis=1, keepdims=True)


def k_center(log_probs_NTC: Floats, *, features_NH: Floats, labelled_features_MH: Floats) -> Steps:
    """Distance to the nearest review that is labelled or in the batch: farthest-first (Sener & Savarese 2018, arXiv 1708.00489, alg. 1)."""
    nearest_N = np.empty(len(features_NH))
    for part in _parts(len(features_NH), len(labelled_features_MH)):
        nearest_N[part] = _squared_distances(features_NH[part], labelled_features_MH).min(axis=1)
    while True:
        chosen = yield np.sqrt(nearest_N)
        nearest_N = np.minimum(nearest_N, _squared_distances(features_NH, features_NH[chosen][None])[:, 0])


def badge(log_probs_NTC: Floats, *, features_NH: Floats, rng: np.random.Generator) -> Steps:
    """k-means++ over gradients of the output layer for the most probable label (Ash et al. 2020, arXiv 1906.03671, alg. 1).

    The gradient is (p - [most probable]) x h, of which only products are needed: <g, g'> = <p - .., p' - ..> <h, h'>. The first review is
    a uniform draw (the smallest key), each further one a draw in proportion to the squared distance to the nearest before it
    (Arthur & Vassilvitskii 2007), made as the largest of log D^2 + Gumbel noise.
    """
    errors_NC = np.exp(log_probs_NTC[:, 0])
    errors_NC[np.arange(len(errors_NC)), errors_NC.argmax(axis=1)] -= 1
    lengths_N = (errors_NC**2).sum(axis=1) * (features_NH**2).sum(axis=1)
    nearest_N = np.full(len(errors_NC), np.inf)
    chosen = yield np.zeros(len(errors_NC))
    while True:
        products_N = (errors_NC @ errors_NC[chosen]) * (features_NH @ features_NH[chosen])
        nearest_N = np.minimum(nearest_N, _distances_from(lengths_N, lengths_N[chosen], products_N))
        chosen = yield np.log(np.maximum(nearest_N, np.finfo(np.float64).tiny)) + rng.gumbel(size=len(nearest_N))


def _squared_distances(x_NH: Floats, z_MH: Floats) -> Floats:
    """(N, M) squared Euclidean distances."""
    return _distances_from((x_NH**2).sum(axis=1)[:, None], (z_MH**2).sum(axis=1), x_NH @ z_MH.T)


def _distances_from(squares: Floats, other_squares: Floats, products: Floats) -> Floats:
    """Squared distances from squared lengths and products; a matrix product is ten times faster than differences, and cancels."""
    lengths = squares + other_squares
    distances = lengths - 2 * products
    return np.where(distances > SAME * lengths, distances, 0.0)


def _parts(num_reviews: int, numbers_per_review: int) -> Iterator[slice]:
    """So many reviews at a time that `HELD_NUMBERS` are not exceeded."""
    size = max(1, HELD_NUMBERS // numbers_per_review)
    return (slice(start, min(start + size, num_reviews)) for start in range(0, num_reviews, size))
