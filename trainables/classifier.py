"""What a classifier is here: a pure function from encoded reviews to class logits, under the weights of one network.

There is no module with a mode to forget: a network is a dictionary of weights, and the same function runs the deterministic network, a
thinned one and a training step. It has two halves, because what lies before the output layer need not be computed again where no mask
touches it, and because some acquisition functions read it:

    reviews -> hidden (B, H)  by `hidden_BH`, yours        hidden -> logits (B, C)  by `logits_BC`, a linear layer unless you change it

Dropout is declared, not called: `sites` says at which site each weight matrix is masked, and whoever needs a *thinned network* gets one
by masking columns of the matrices (for the site ``word`` rows, that is words), scaled by 1/(1-p) (Gal & Ghahramani 2016, arXiv
1512.05287: a mask on an input is a mask on the columns of the matrix that reads it). So a classifier is written once, without dropout,
and training, MC passes and the deterministic prediction all use it.

To bring your own, subclass `Classifier` and name the class in the study file as ``package.module:Name``; docs/extending.md has an
example. `trainables/lstm.py` and `trainables/mlp.py` are the two that are built in.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainables.arrays import Floats, Floats32, Rows
from trainables.corpus import Corpus, Reviews
from trainables.errors import ComputationError
from trainables.plugins import is_plugin, load
from trainables.spec import SITES, Execution, TrajectorySpec
from trainables.streams import INITIAL_WEIGHTS, stream

Weights = dict[str, Tensor]
"""A network: float32 arrays by name. ``output`` (C, H) and ``output_bias`` (C) are the output layer."""

BUILT_IN = {"lstm": "trainables.lstm:Lstm", "mlp": "trainables.mlp:Mlp"}


@dataclass(frozen=True)
class Batch:
    """B reviews as tensors on the device."""

    token_ids_BL: Tensor
    """int32, cut to the longest of them and padded on the right with 0."""
    lengths_B: Tensor
    """int64: real tokens of each."""
    features_BF: Tensor
    """float32; F = 0 where the corpus has no features."""


class Classifier(ABC):
    """A network of one shape. Subclasses say what its weights are, where dropout acts, and how the hidden layer is computed."""

    sites: ClassVar[Mapping[str, str]]
    """The dropout site (``word``, ``input``, ``recurrent`` or ``output``) of each weight matrix that is masked. ``word`` masks the rows of
    an embedding, every other site the columns of a matrix."""
    reads_features: ClassVar[bool] = False
    """Whether it reads features, and not token ids."""

    def __init__(self, spec: TrajectorySpec, execution: Execution) -> None:
        """`spec` has the widths (``embedding_dim``, ``hidden_dim``); nothing is computed yet."""
        self.spec = spec
        self.execution = execution

    @abstractmethod
    def draw_weights(self, rng: np.random.Generator, num_inputs: int, num_classes: int) -> Mapping[str, npt.NDArray[np.floating]]:
        """Fresh weights of one round.

        Args:
            rng: keyed by (seed, round): all arms of a seed start from the same weights.
            num_inputs: V, word types of the corpus with padding and unknown; F, where it reads features.
            num_classes: C.

        Returns:
            ``output`` (C, H), ``output_bias`` (C) and whatever `hidden_BH` reads.
        """

    @abstractmethod
    def hidden_BH(self, weights: Weights, batch: Batch) -> Tensor:
        """(B, H): all of the network but its output layer; differentiable, without dropout, and blind to padding."""

    def logits_BC(self, weights: Weights, hidden_BH: Tensor) -> Tensor:
        """(B, C): the output layer."""
        return torch.nn.functional.linear(hidden_BH, weights["output"], weights["output_bias"])

    def scoring_logits_NC(self, weights: Weights, hidden_NH: Tensor) -> Tensor:
        """(N, C): the output layer over a whole pool."""
        return self.logits_BC(weights, hidden_NH)

    def training_logits_BC(self, weights: Weights, reviews: Reviews, rows_B: Rows, rng: np.random.Generator) -> Tensor:
        """(B, C): of one minibatch with dropout; here all of it is shown the same thinned network."""
        thinned = {name: value * self.mask(rng, name, value) if name in self.sites else value for name, value in weights.items()}
        return self.logits_BC(thinned, self.hidden_BH(thinned, batch_of(reviews, rows_B, self.execution.device)))

    def hidden_NH(self, weights: Weights, reviews: Reviews, rows_N: Rows) -> Tensor:
        """(N, H): `hidden_BH` of many reviews, ``scoring_batch`` of like length at a time."""
        batch = self.execution.scoring_batch
        order_N = np.argsort(reviews.lengths_N[rows_N], kind="stable")
        hidden_NH = weights["output"].new_empty(len(rows_N), weights["output"].shape[1])
        for start in range(0, len(rows_N), batch):
            positions_B = order_N[start : start + batch]
            found = self.hidden_BH(weights, batch_of(reviews, rows_N[positions_B], self.execution.device))
            hidden_NH[torch.from_numpy(positions_B).to(hidden_NH.device)] = found
        return hidden_NH

    # what follows is the same for all classifiers

    def num_inputs(self, corpus: Corpus) -> int:
        """What the first layer is as wide as: F, where it reads features, else V.

        Raises:
            ComputationError: it reads features, and the corpus has none.
        """
        if not self.reads_features:
            return corpus.num_embeddings
        if not corpus.num_features:
            raise ComputationError(f"the classifier {self.spec.classifier} reads features, but the corpus ({corpus.source}) has none")
        return corpus.num_features

    def initial_weights(self, num_inputs: int, num_classes: int, round_: int) -> Weights:
        """Fresh float32 weights of one round, on the CPU."""
        arrays = self.draw_weights(stream(self.spec.seed, INITIAL_WEIGHTS, round_), num_inputs, num_classes)
        return {name: torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)) for name, array in arrays.items()}

    def rate_of(self, matrix: str) -> float:
        """The dropout rate of a weight matrix; 0 where no mask acts."""
        return self.spec.site_rate(self.sites[matrix]) if matrix in self.sites else 0.0

    @cached_property
    def hidden_drops(self) -> bool:
        """Whether a pass differs from another in more than its output layer."""
        return any(self.rate_of(matrix) > 0 for matrix in self.sites if matrix != "output")

    def mask(self, rng: np.random.Generator, matrix: str, whole: Tensor) -> Tensor:
        """A mask that broadcasts over a weight matrix: of its rows at the site ``word``, else of its columns."""
        shape = (whole.shape[0], 1) if self.sites[matrix] == "word" else (1, whole.shape[1])
        return torch.from_numpy(dropout_mask(rng, shape, self.rate_of(matrix))).to(whole.device)

    def compute_hidden(self, weights: Weights, reviews: Reviews, rows_N: Rows) -> Tensor:
        """(N, H), without gradients."""
        with torch.inference_mode():
            return self.hidden_NH(weights, reviews, rows_N)

    def log_probs_of_hidden(self, weights: Weights, hidden_NH: Tensor) -> Floats:
        """(N, C) log-probabilities in nats, float64: what remains of a pass."""
        with torch.inference_mode():
            return np.asarray(torch.log_softmax(self.scoring_logits_NC(weights, hidden_NH).double(), dim=1).cpu().numpy())

    def log_probs_NC(self, weights: Weights, reviews: Reviews, rows_N: Rows) -> Floats:
        """One pass: log-probabilities, in nats, of the given reviews under one network."""
        return self.log_probs_of_hidden(weights, self.compute_hidden(weights, reviews, rows_N))


def classifier_of(spec: TrajectorySpec, execution: Execution) -> Classifier:
    """The classifier that a trajectory trains.

    Raises:
        ImportError: a plug-in that cannot be loaded, or that declares what cannot be.
    """
    return classifier_class(spec.classifier)(spec, execution)


def classifier_class(name: str) -> type[Classifier]:
    """The class of a built-in classifier or a plug-in."""
    found = load(name if is_plugin(name) else BUILT_IN[name], type, "class")
    if not issubclass(found, Classifier):
        raise ImportError(f"the plug-in {name} is no classifier: it must be a subclass of trainables.classifier.Classifier")
    strangers = sorted({*found.sites.values()} - {*SITES})
    if strangers:
        raise ImportError(f"the plug-in {name} names unknown dropout sites: {', '.join(strangers)}; there are {', '.join(SITES)}")
    return found


def batch_of(reviews: Reviews, rows_B: Rows, device: str) -> Batch:
    """The chosen reviews, on the device; token ids cut to the longest of them."""
    lengths_B = reviews.lengths_N[rows_B].astype(np.int64)
    features_NF = np.empty((len(reviews), 0), dtype=np.float32) if reviews.features_NF is None else reviews.features_NF
    arrays = (reviews.token_ids_NL[rows_B, : int(lengths_B.max())], lengths_B, features_NF[rows_B])
    return Batch(*(torch.from_numpy(array).to(device) for array in arrays))


def weights_hash(weights: Weights) -> str:
    """The first 16 hex digits of the SHA-256 of all weights: equal starts have equal hashes."""
    sha = hashlib.sha256()
    for name in sorted(weights):
        sha.update(name.encode())
        sha.update(weights[name].detach().cpu().numpy().tobytes())
    return sha.hexdigest()[:16]


def dropout_mask(rng: np.random.Generator, shape: tuple[int, ...], rate: float) -> Floats32:
    """Inverted-dropout mask: 0 with probability `rate`, else 1/(1-rate); drawn also at rate 0, so that streams stay in step."""
    keep = rng.random(shape, dtype=np.float32) >= rate
    return keep.astype(np.float32) / np.float32(1 - rate)
