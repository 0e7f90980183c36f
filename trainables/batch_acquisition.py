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

HELD_NUMBERS = 131_072
"""Most numbers of an intermediate result that are held at once: 1 MB, which stays in a core's cache. 32 MB took twice the time."""

POWER = 1.0
"""beta of `power_bald`: the share of a review in the draw grows as its BALD to this power."""

MAX_STATES = 500
"""Label configurations of the batch that `batch_bald` averages over: all of them while they are fewer, then so many drawn ones. Batches
of 20 to 60 of 2,000 reviews (T = 20, synthetic) held within .015 nats as much information as with 2,000, in a quarter of the time."""

EPIG_TARGETS = 200
"""Reviews that `epig` wants to know about."""

SAME = 1e-13
"""Squared distances below this share of the squared lengths are zero: far above rounding (about H x 1e-16), far below what float32
features can tell apart in more than one of them."""


def power_bald(log_probs_NTC: Floats, *, keys_N: Floats) -> Floats:
    """Log BALD + Gumbel noise of scale 1/beta (Kirsch et al. 2021, arXiv 2106.12059).

    The q best are q draws without replacement, each in proportion to BALD^beta. The noise is the random key of the review, put into
    Gumbel's distribution so that a smaller key is a larger noise: where no review disagrees, they rank as for `random`.
    """
    noise_N = -np.log(-np.log1p(-np.maximum(keys_N, np.finfo(np.float64).tiny)))
    return np.log(np.maximum(bald(log_probs_NTC), ZERO_TOLERANCE)) + noise_N / POWER


def epig(log_probs_NTC: Floats, *, keys_N: Floats) -> Floats:
    """Expected predictive information gain: mean over targets of I(y; y* | x, x*) (Bickford Smith et al. 2023, arXiv 2304.08151).

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
    """Greedy joint mutual information of the batch's labels and the network (Kirsch et al. 2019, arXiv 1906.08158, algorithm 1).

    By the chain rule a review adds I(y; t | y_B) to the information that the batch B has. A *state* is one configuration of labels y_B,
    with its probability and its posterior pi over the T networks; a review adds the mean over states of its BALD under pi,
    H[sum_t pi_t p_t] - sum_t pi_t H[p_t]. All states are kept while they are at most `MAX_STATES`; then so many are drawn.

    Over all states the second term is mean_t H[p_t] whatever B is, as in the paper, and it is tempting to compute it once. But drawn
    states favour some networks by chance; only the difference within a state cancels that, is never negative, and is 0 where nothing is
    left to learn. With the constant the errors of the gains were 3 to 10 times as large (1,000 states, T = 20), from the 20th review on
    larger than the differences between reviews, and 11 of 12 batches of 50 held less information than the 50 reviews of largest BALD.

    T networks hold at most ln T nats. Once nothing of that is left every review adds exactly 0, and the random keys choose: so a small T
    or a large batch makes most of a batch random.
    """
    probs_NTC = np.exp(log_probs_NTC)
    N, T, C = probs_NTC.shape
    entropies_TN = entropy_of(probs_NTC).T
    passes_TK = probs_NTC.transpose(1, 0, 2).reshape(T, N * C)
    weight_S, posterior_ST = np.ones(1), np.full((1, T), 1 / T)
    chosen = yield bald(log_probs_NTC)
    while True:
        weight_S, posterior_ST = _given_labels(weight_S, posterior_ST, probs_NTC[chosen])
        left_S = weight_S * entropy_of(posterior_ST)
        if left_S.sum() < ZERO_TOLERANCE:  # no gain is larger, now or later: a label tells at most what is left to learn
            break
        if len(weight_S) > MAX_STATES:
            weight_S, posterior_ST = _drawn(weight_S, posterior_ST, left_S, rng)
        expected_N = (weight_S @ posterior_ST) @ entropies_TN
        chosen = yield snapped(_predicted_entropy(weight_S, posterior_ST, passes_TK, C) - expected_N)
    while True:
        yield np.zeros(N)


def _given_labels(weight_S: Floats, posterior_ST: Floats, probs_TC: Floats) -> tuple[Floats, Floats]:
    """The states after one more review: each with each label that is possible in it. Normalised posteriors never underflow."""
    joint_ST = (weight_S[:, None, None] * posterior_ST[:, None] * probs_TC.T).reshape(-1, len(probs_TC))
    weights = joint_ST.sum(axis=1)
    possible = weights > 0
    return weights[possible], joint_ST[possible] / weights[possible, None]


def _drawn(weight_S: Floats, posterior_ST: Floats, left_S: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """`MAX_STATES` states in place of more, so that every sum of weight x value keeps its expectation.

    A state's share in the draw is half its probability and half what is left to learn in it, which late in a batch is nothing in most
    states. The plain way, that each state draws its next label, gave errors 1.3 to 3 times as large (T = 20, 15th to 60th review). The
    half by probability keeps weights small: at most 2 / `MAX_STATES` of their sum. Each draw has a stratum of the shares of its own, and
    an offset of its own in it: with one offset for all (systematic resampling) it keeps step with states that lie beside their siblings,
    draws the same label in many, and had up to twice the error.
    """
    share_S = (weight_S / weight_S.sum() + left_S / left_S.sum()) / 2
    strata = (np.arange(MAX_STATES) + rng.random(MAX_STATES)) / MAX_STATES
    drawn = np.minimum(np.searchsorted(share_S.cumsum(), strata, side="right"), len(share_S) - 1)
    return weight_S[drawn] / share_S[drawn] / MAX_STATES, posterior_ST[drawn]


def _predicted_entropy(weight_S: Floats, posterior_ST: Floats, passes_TK: Floats, num_classes: int) -> Floats:
    """(N,) mean over states of H[sum_t pi_t p_t], from (T, N x C) probabilities; this is where the time of `batch_bald` goes."""
    nats_K = np.empty(passes_TK.shape[1])
    for part in _parts(len(nats_K), len(weight_S)):
        predicted_SK = posterior_ST @ passes_TK[:, part]
        terms_SK = np.maximum(predicted_SK, np.finfo(np.float64).tiny)  # 0 log 0 = 0
        np.log(terms_SK, out=terms_SK)
        terms_SK *= predicted_SK
        nats_K[part] = weight_S @ terms_SK
    return np.asarray(-nats_K.reshape(-1, num_classes).sum(axis=1))


def k_center(log_probs_NTC: Floats, *, features_NH: Floats, labelled_features_MH: Floats) -> Steps:
    """Distance to the nearest review that is labelled or in the batch: farthest-first (Sener & Savarese 2018, arXiv 1708.00489, alg. 1)."""
    squares_N, squares_M = (features_NH**2).sum(axis=1), (labelled_features_MH**2).sum(axis=1)
    nearest_N = np.empty(len(features_NH))
    for part in _parts(len(features_NH), len(labelled_features_MH)):
        products_NM = features_NH[part] @ labelled_features_MH.T
        nearest_N[part] = _distances_from(squares_N[part, None], squares_M, products_NM).min(axis=1)
    while True:
        chosen = yield np.sqrt(nearest_N)
        nearest_N = np.minimum(nearest_N, _distances_from(squares_N, squares_N[chosen], features_NH @ features_NH[chosen]))


def badge(log_probs_NTC: Floats, *, features_NH: Floats, rng: np.random.Generator) -> Steps:
    """k-means++ over gradients of the output layer for the most probable label (Ash et al. 2020, arXiv 1906.03671, alg. 1).

    The gradient is (p - [most probable]) x h, of which only products are needed: <g, g'> = <p - .., p' - ..> <h, h'>. The first review is
    a uniform draw (the smallest key; the authors' code begins with the longest gradient instead), each further one a draw in proportion to
    the squared distance to the nearest before it (Arthur & Vassilvitskii 2007), made as the largest of log D^2 + Gumbel noise. Where D^2
    is 0, for copies and where the network is certain, log D^2 is put at -708, behind all others.
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


def _distances_from(squares: Floats, other_squares: Floats, products: Floats) -> Floats:
    """Squared distances from squared lengths and products; a matrix product is ten times faster than differences, and cancels."""
    lengths = squares + other_squares
    distances = lengths - 2 * products
    return np.where(distances > SAME * lengths, distances, 0.0)


def _parts(num_reviews: int, numbers_per_review: int) -> Iterator[slice]:
    """So many reviews at a time that `HELD_NUMBERS` are not exceeded."""
    size = max(1, HELD_NUMBERS // numbers_per_review)
    return (slice(start, min(start + size, num_reviews)) for start in range(0, num_reviews, size))
