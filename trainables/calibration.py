"""The command ``python -m trainables.calibration``: how fast this machine trains, scores and chooses, measured in about a second.

A process of its own, because it needs torch, which whoever plans a study does not load. It reads a request as JSON from standard input and
writes rates as JSON to standard output. What is timed are the functions that trajectories are made of, on made-up reviews of the lengths
that the real ones have: a rate per token from elsewhere knows neither this processor nor these widths, and a whole small trajectory would
not tell its parts.

Where a trial has one core, what is read is the clock of the process and not that on the wall: a calibration is kept, and one that met a
busy machine would overstate every study from then on. It counts what copies of it do to each other (memory, a core's shared parts), and not
the time for which other programs have the core. Several threads, and GPUs, have no such clock: there the machine should be quiet.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from trainables.acquisition import AcquisitionFunction, acquisition_function, select_greedily
from trainables.classifier import Classifier, Weights, classifier_of
from trainables.corpus import Corpus, Reviews
from trainables.execution import make_deterministic
from trainables.mc_dropout import ThinnedNetworks
from trainables.spec import Execution, TrajectorySpec
from trainables.training import fit

MEASURED_SECONDS = 0.2
"""Of each part."""

ROUND_SECONDS = 0.03
"""Of a round beside what is measured: its file in the ledger, metrics, and what the trial says to the driver."""

FEW, MANY = 50, 600
"""Reviews of a small and of a large pass."""

CHOSEN_OF, CHOSEN = 2_000, 100
"""Reviews that a batch-aware function is timed on, and the batch: as in a usual round, since its time grows with neither in proportion.
From 400 reviews and a batch of 30, `batch_bald` was promised to take three times as long as it took to choose 200 of 2,000."""


Timed = Callable[[Callable[[], object]], float]
"""`_timed` by the clock that tells a trial's time."""


@dataclass(frozen=True)
class Request:
    """What is to be measured."""

    spec: TrajectorySpec
    """A trajectory like those of the study."""
    execution: Execution
    acquisitions: dict[str, int]
    """Names of the acquisition functions, each with its T."""
    num_embeddings: int
    num_features: int
    """F; 0 where the corpus has none."""
    num_classes: int
    lengths: list[int]
    """Of some reviews, as long as the corpus's."""

    @classmethod
    def from_json(cls, text: str) -> "Request":
        """What `sweep/estimate.py` writes."""
        values: dict[str, Any] = json.loads(text)
        spec, execution = TrajectorySpec.from_json(values.pop("spec")), Execution(**values.pop("execution"))
        return cls(spec=spec, execution=execution, **values)


def calibrate(request: Request) -> dict[str, Any]:
    """The fields of `sweep.cost.Rates`, and ``devices``, the GPUs that are here."""
    make_deterministic(request.execution)
    classifier = classifier_of(request.spec, request.execution)
    corpus = _made_up(request)
    num_inputs = classifier.num_inputs(corpus)
    timed = partial(_timed, trial_clock(request.execution))
    start = classifier.initial_weights(num_inputs, request.num_classes, 0)
    drawn_seconds = timed(lambda: classifier.initial_weights(num_inputs, request.num_classes, 0))
    pass_seconds, token_seconds = _pass_rates(classifier, corpus.train, start, timed)
    return {
        "round_seconds": ROUND_SECONDS + drawn_seconds,
        "step_seconds": _step_seconds(classifier, corpus.train, start, timed),
        "pass_seconds": pass_seconds,
        "token_seconds": token_seconds,
        "choice_seconds": {name: _choice_seconds(name, passes, request, timed) for name, passes in request.acquisitions.items()},
        "devices": torch.cuda.device_count(),
    }


def _made_up(request: Request) -> Corpus:
    """Random reviews of the given lengths, a few hundred of them."""
    rng = np.random.default_rng(0)
    lengths_N = rng.choice(np.array(request.lengths, dtype=np.int32), MANY)
    token_ids_NL = rng.integers(0, request.num_embeddings, (MANY, int(lengths_N.max()))).astype(np.int32)
    features_NF = rng.normal(size=(MANY, request.num_features)).astype(np.float32) if request.num_features else None
    reviews = Reviews(token_ids_NL, lengths_N, rng.integers(0, request.num_classes, MANY).astype(np.int32), features_NF)
    return Corpus("made up", reviews, reviews, tuple(map(str, range(request.num_classes))), request.num_embeddings)


def trial_clock(execution: Execution) -> Callable[[], float]:
    """The clock that tells how long a trial computes, in seconds; see the module's docstring."""
    return time.process_time if execution.device == "cpu" and execution.threads == 1 else time.perf_counter


def _timed(clock: Callable[[], float], work: Callable[[], object]) -> float:
    """Seconds that something takes, the mean of as many times as fit, after once unmeasured."""
    work()
    began, times = clock(), 0
    while clock() - began < MEASURED_SECONDS:
        work()
        times += 1
    return (clock() - began) / times


def _step_seconds(classifier: Classifier, reviews: Reviews, start: Weights, timed: Timed) -> float:
    """Of a gradient step: by fits of 20 steps."""
    steps = 20
    short = type(classifier)(replace(classifier.spec, min_steps=steps, epochs=1e-9), classifier.execution)
    return timed(lambda: fit(short, reviews, np.arange(MANY), start, 0)) / steps


def _pass_rates(classifier: Classifier, reviews: Reviews, start: Weights, timed: Timed) -> tuple[float, float]:
    """Seconds of a pass over nothing, and of each token in it: from a small and a large one."""
    weights = {name: value.to(classifier.execution.device) for name, value in start.items()}
    networks = ThinnedNetworks(classifier, weights, 0)

    def one_pass(count: int) -> Callable[[], object]:
        return lambda: classifier.log_probs_NC(networks.of_pass(0), reviews, np.arange(count))

    small, large = timed(one_pass(FEW)), timed(one_pass(MANY))
    few_tokens, many_tokens = int(reviews.lengths_N[:FEW].sum()), reviews.num_tokens
    token_seconds = max(0.0, (large - small) / (many_tokens - few_tokens))
    return max(0.0, small - few_tokens * token_seconds), token_seconds


def _choice_seconds(name: str, passes: int, request: Request, timed: Timed) -> float:
    """Of a review in a joint score, or of a review and a choice for a batch-aware function."""
    function = acquisition_function(name)
    rng = np.random.default_rng(0)
    T = {"none": 0, "deterministic": 1, "mc": passes}[function.prediction]
    log_probs_NTC = np.log(rng.dirichlet(np.ones(request.num_classes), (CHOSEN_OF, T)))
    H = request.spec.hidden_dim
    available = {
        "features": ("features_NH", rng.normal(size=(CHOSEN_OF, H))),
        "labelled": ("labelled_features_MH", rng.normal(size=(CHOSEN_OF, H))),
        "keys": ("keys_N", rng.random(CHOSEN_OF)),
        "rng": ("rng", rng),
    }
    given = dict(available[need] for need in function.needs)
    return timed(lambda: _chosen(function, log_probs_NTC, given, name)) / (CHOSEN_OF * (CHOSEN if function.is_greedy else 1))


def _chosen(function: AcquisitionFunction, log_probs_NTC: object, given: dict[str, Any], name: str) -> object:
    scores = function.score(log_probs_NTC, **given)
    return select_greedily(scores, np.arange(CHOSEN_OF) / CHOSEN_OF, CHOSEN, name) if function.is_greedy else scores


if __name__ == "__main__":
    print(json.dumps(calibrate(Request.from_json(sys.stdin.read()))))
