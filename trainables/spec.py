"""What one trajectory computes (`TrajectorySpec`), its identity, and how it is executed (`Execution`).

The identity of a trajectory is the SHA-256 of *every* field that can change its science columns, defaults included. Hashing only
what differs from the defaults is the tempting wrong way: editing a default would then silently rename old results to new ones.
The other wrong way is to let a path, a core count or a folder in: the same science would be computed again after a move. So the
fields that cannot change the science live in another type, `Execution`, and cannot enter an identity even by mistake.

A field that has no effect on a trajectory is null in its spec (the planner sees to it), so that cells which cannot differ meet in
one id. A field added later must be left out of `canonical_json` while it has the value that reproduces the old
behaviour; golden ids in the tests prove it.
"""

import hashlib
import json
import math
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal

SCIENCE_VERSION = 2
"""Bumped by hand when the code changes what a field means, so that old results are never taken for new ones.

2: a minibatch holds its longest review first, so training masks meet other reviews than before; and the precision became a field.
"""

FULL_DATA = "full_data"
"""The acquisition name of the full-data model: one round, trained on every label."""

SITES = ("word", "input", "recurrent", "output")
"""The four places where dropout masks act (Gal & Ghahramani 2016, arXiv 1512.05287)."""

SITES_OF = {"lstm": SITES, "mlp": ("input", "output")}
"""The sites that a built-in classifier has; a plug-in may have any."""

LATER_FIELDS: dict[str, Any] = {"classifier": "lstm", "plugins": ()}
"""Fields that are younger than results that exist, with the value that means what was meant before them: left out of the canonical form."""

Pooling = Literal["mean", "last", "max"]

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class TrajectorySpec:
    """Every science field of one trajectory: frozen, plain types only."""

    corpus: str
    """Digest of the encoded corpus, with its source in front (``synthetic:ab12...``); never a path."""
    seed: int
    """Keys every random stream; the replicate of the statistics. >= 0."""
    acquisition: str
    """Name of the acquisition function, or ``full_data``."""
    dropout_rate: float
    """p, the probability that a unit is dropped, at every site that has no rate of its own. In [0, 1)."""
    mc_passes: int | None
    """T, thinned networks a score is computed from; null where the score needs none."""

    classifier: str = "lstm"
    """``lstm``, ``mlp`` (one hidden layer on given features) or a plug-in's name."""
    plugins: tuple[str, ...] = ()
    """Each plug-in that has a part in the trajectory, as ``package.module:name@hash of its source``, sorted."""

    embedding_dim: int
    """E, width of a word's embedding."""
    hidden_dim: int
    """H, width of what the output layer reads: the LSTM's state, or the hidden layer of the MLP."""
    pooling: Pooling
    """How the states of a review's real tokens become one vector."""
    precision: Precision
    """What weights, states and, in training, inputs and gradients of the LSTM are rounded to where they enter a product; sums are
    float32."""
    embedding_std: float
    """Standard deviation of the initial embeddings."""
    word_dropout: float | None
    """Rate of the word-type masks; null: `dropout_rate`."""
    input_dropout: float | None
    """Rate of the LSTM-input masks; null: `dropout_rate`."""
    recurrent_dropout: float | None
    """Rate of the recurrent-state masks; null: `dropout_rate`."""
    output_dropout: float | None
    """Rate of the pooled-output masks; null: `dropout_rate`."""

    learning_rate: float
    """Adam's rate at the first gradient step of a round; it falls linearly to zero over the round."""
    batch_size: int
    """Reviews a minibatch."""
    min_steps: int
    """Fewest gradient steps of a round."""
    epochs: float
    """Passes over the labelled set, where that is more than `min_steps`."""
    prior_length_scale: float
    """l of the prior term l^2 / (2 N (1-p)) ||W||^2 (Gal & Ghahramani 2016): the one tuned constant."""
    gradient_clip: float
    """Largest norm of a step's gradient."""
    warm_start: bool
    """Start a round from the weights of the round before; false: fresh weights each round."""
    validation_fraction: float
    """Part of the labelled set kept from training and only measured; its labels count. In [0, 1)."""

    label_budgets: tuple[int, ...] | None
    """Labelled reviews of each round, rising; null for the full-data model."""
    pool_subsample: int | None
    """Reviews scored in a round, or 10 x the batch to acquire if that is more; null: the whole pool."""
    eval_mc_passes: int | None
    """Thinned networks of the MC prediction on the test set; null where it is never measured."""
    eval_mc_budgets: tuple[int, ...]
    """Numbers of labels at which the MC prediction is measured."""

    def site_rate(self, site: str) -> float:
        """The dropout rate of one of `SITES`."""
        own: float | None = getattr(self, f"{site}_dropout")
        return self.dropout_rate if own is None else own

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites at which the classifier can drop something."""
        return SITES_OF.get(self.classifier, SITES)

    @property
    def hidden_drops(self) -> bool:
        """Whether a pass differs from another in more than its output layer."""
        return any(self.site_rate(site) > 0 for site in self.sites if site != "output")

    @property
    def num_rounds(self) -> int:
        """Rounds of the whole trajectory; one for the full-data model."""
        return 1 if self.label_budgets is None else len(self.label_budgets)

    def gradient_steps(self, num_reviews: int) -> int:
        """Gradient steps of a round that trains on `num_reviews`: max(min_steps, epochs * N / batch)."""
        return max(self.min_steps, math.ceil(self.epochs * num_reviews / self.batch_size))

    def canonical_json(self) -> str:
        """All science fields and `SCIENCE_VERSION` as one JSON text: sorted keys, no spaces, plain types only.

        Raises:
            TypeError: a field holds a type whose JSON form is not unique.
        """
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        stated = {name: _plain(name, value) for name, value in values.items() if LATER_FIELDS.get(name, ...) != value}
        return json.dumps(
            {"science_version": SCIENCE_VERSION, **stated},
            sort_keys=True,
            separators=(",", ":"),
            allow_nan=False,
        )

    @cached_property
    def trajectory_id(self) -> str:
        """The first 16 hex digits of the SHA-256 of `canonical_json`."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()[:16]

    @classmethod
    def from_json(cls, text: str) -> "TrajectorySpec":
        """The inverse of `canonical_json`.

        Raises:
            ValueError: not a spec, or one of another science version.
        """
        values: dict[str, Any] = json.loads(text)
        version = values.pop("science_version", None)
        if version != SCIENCE_VERSION or LATER_FIELDS.keys() | values.keys() != {f.name for f in fields(cls)}:
            raise ValueError(f"a spec of science version {version}; this code computes version {SCIENCE_VERSION}")
        frozen: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**frozen)


def _plain(name: str, value: object) -> object:
    """`value` if its JSON form is unique; a tuple becomes a list of plain values."""
    if isinstance(value, tuple):
        return [_plain(name, item) for item in value]
    if type(value) not in (str, int, float, bool, type(None)):
        raise TypeError(f"TrajectorySpec.{name} holds {value!r} of type {type(value).__name__}; only plain types have an identity")
    return value


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a trajectory is computed: nothing here may change a science column beyond rounding, and nothing here has an identity."""

    threads: int = 1
    """CPU threads of torch."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where torch computes."""
    compiled: bool = True
    """On a CPU, compute with the compiled kernel where there is a C compiler; false: always with torch."""
    scoring_batch: int = 64
    """Reviews a batch where torch makes the passes; 64 is the fastest of 32 to 512 on a 1 MiB L2 cache."""
    store_predictions: bool = True
    """Keep per-review test log-probabilities at the MC evaluation budgets."""
