"""Choose reviews from the pool: gather what the acquisition function reads, have it score, and take the best.

An acquisition function declares what it needs (``acquisition.py``); everything that it is given is made here, so that a plug-in is given
exactly what a built-in one is. Reviews are scored in parts where the score of one does not depend on the others, so that the
distributions of a large pool are never held at once; ties are broken by the round's random key of each review, whoever scores.

What a plug-in does wrong is told as its fault: an exception in it, scores of the wrong shape, scores that are not finite.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from trainables.acquisition import AcquisitionFunction, acquisition_function, checked, select, select_greedily
from trainables.arrays import Floats, Rows
from trainables.classifier import Classifier, Weights
from trainables.corpus import Corpus
from trainables.errors import ComputationError
from trainables.execution import is_out_of_memory
from trainables.mc_dropout import Distributions, in_parts
from trainables.plugins import is_plugin
from trainables.spec import FULL_DATA, TrajectorySpec
from trainables.streams import ACQUISITION_DRAWS, REVIEW_KEYS, stream


class Scoring:
    """The acquisition function of one trajectory, and what it is given."""

    def __init__(self, spec: TrajectorySpec, corpus: Corpus, classifier: Classifier) -> None:
        """Loads the function, if it is a plug-in; ImportError if that fails."""
        self._spec = spec
        self._corpus = corpus
        self._classifier = classifier
        self._function = None if spec.acquisition == FULL_DATA else acquisition_function(spec.acquisition)

    def choose(self, network: Weights, labelled: Rows, candidates: Rows, batch: int, round_: int) -> tuple[Rows, int]:
        """The best `batch` of the candidates, best first, and the tokens that were read for it.

        Raises:
            ComputationError: the acquisition function failed, or gave what are no scores.
        """
        function, name = self._function, self._spec.acquisition
        if function is None:
            raise ValueError(f"{name} acquires nothing")
        keys_N = stream(self._spec.seed, REVIEW_KEYS, round_).random(len(self._corpus.train))[candidates]
        whole = self._distributions(network, candidates)
        given = self._given(function, whole, network, labelled, keys_N, round_)
        with blamed(name):
            if function.is_greedy:
                steps = function.score(self._log_probs_NTC(function, whole, len(candidates), round_), **given)
                positions = select_greedily(steps, keys_N, batch, name)
            else:
                scores_N = self._scores(function, network, candidates, given, round_)
                positions = select(scores_N, keys_N, batch)
        return candidates[positions], self._tokens_read(function, labelled, candidates)

    def _scores(self, function: AcquisitionFunction, network: Weights, candidates: Rows, given: dict[str, object], round_: int) -> Floats:
        """(N,) scores, in parts where the function allows it."""

        def score(positions: Rows) -> Floats:
            part = self._distributions(network, candidates[positions])
            log_probs_NTC = self._log_probs_NTC(function, part, len(positions), round_)
            own = {key: value[positions] if key in PER_REVIEW else value for key, value in given.items()}  # type: ignore[index]
            return checked(function.score(log_probs_NTC, **own), len(positions), self._spec.acquisition)

        everyone = np.arange(len(candidates))
        return score(everyone) if function.joint else in_parts(everyone, self._passes(function) * len(self._corpus.class_names), score)

    def _distributions(self, network: Weights, rows_N: Rows) -> Distributions:
        return Distributions(self._classifier, network, self._corpus.train, rows_N)

    def _passes(self, function: AcquisitionFunction) -> int:
        return {"none": 0, "deterministic": 1, "mc": self._spec.mc_passes or 1}[function.prediction]

    def _log_probs_NTC(self, function: AcquisitionFunction, of: Distributions, num_reviews: int, round_: int) -> Floats:
        """What the function reads of the reviews' distributions; T = 0 where it reads nothing."""
        match function.prediction:
            case "none":
                return np.empty((num_reviews, 0, len(self._corpus.class_names)))
            case "deterministic":
                return of.deterministic()[:, None]
            case "mc":
                return of.stacked(self._passes(function), round_)

    def _given(
        self, function: AcquisitionFunction, whole: Distributions, network: Weights, labelled: Rows, keys_N: Floats, round_: int
    ) -> dict[str, object]:
        """The keyword arguments that the function declares a need of."""
        makers: dict[str, tuple[str, Callable[[], object]]] = {
            "features": ("features_NH", lambda: _as_floats(whole)),
            "labelled": ("labelled_features_MH", lambda: _as_floats(self._distributions(network, labelled))),
            "keys": ("keys_N", lambda: keys_N),
            "rng": ("rng", lambda: stream(self._spec.seed, ACQUISITION_DRAWS, round_)),
        }
        return {makers[need][0]: makers[need][1]() for need in function.needs}

    def _tokens_read(self, function: AcquisitionFunction, labelled: Rows, candidates: Rows) -> int:
        """Real tokens that went through the network: once for features and deterministic distributions together."""
        lengths_N = self._corpus.train.lengths_N
        passes = self._passes(function) + ("features" in function.needs and function.prediction != "deterministic")
        return passes * int(lengths_N[candidates].sum()) + ("labelled" in function.needs) * int(lengths_N[labelled].sum())


PER_REVIEW = ("features_NH", "keys_N")
"""What a function that scores in parts is given of the part's reviews alone."""


@contextmanager
def blamed(name: str) -> Iterator[None]:
    """Tell what a plug-in raises as its fault; what this project's own functions raise stays what it is."""
    try:
        yield
    except ComputationError:
        raise
    except Exception as error:
        if not is_plugin(name) or is_out_of_memory(error):
            raise
        raise ComputationError(f"the plug-in {name} failed with {type(error).__name__}: {error}") from error


def _as_floats(of: Distributions) -> Floats:
    return np.asarray(of.hidden_NH.double().cpu().numpy())
