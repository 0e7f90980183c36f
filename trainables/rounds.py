"""One finished round: its row of columns with their units, what it acquired and what it predicted.

*Science columns* are all but seconds, rates and the device. They are equal bit for bit however often a trajectory was interrupted, on
the same kind of processor, thread count, library versions, compiler and scoring batch.
"""

import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache

import pyarrow as pa

from trainables.arrays import Floats32


@dataclass(frozen=True, kw_only=True)
class Row:
    """All columns of one finished round, with their units. None where a column has no meaning or was not measured."""

    trajectory_id: str
    seed: int
    acquisition: str
    dropout_rate: float
    mc_passes: int | None
    """T of the acquisition function."""
    round: int
    num_labelled: int
    """Labels paid for when the round's network was trained."""

    accuracy_deterministic: float
    accuracy_mc: float | None
    nll_deterministic: float
    """Nats."""
    nll_mc: float | None
    """Nats."""
    brier_deterministic: float
    """0 to 2, as all Brier scores here."""
    brier_mc: float | None
    ece_deterministic: float
    """Fraction; 15 equal-width bins of top-label confidence."""
    ece_mc: float | None
    accuracy_validation: float | None
    """On the part of the labelled set kept from training, deterministic prediction."""

    acquired_class_balance: float | None
    """Entropy of the acquired batch's class counts over ln C: 1 is balanced, 0 is one class (Pielou's evenness, 1966)."""
    acquired_mean_length: float | None
    """Tokens."""
    train_loss: float
    """Mean cross-entropy over the last pass through the labelled set, nats."""
    train_objective: float
    """The same with the prior term."""
    gradient_steps: int

    train_seconds: float
    score_seconds: float
    evaluate_seconds: float
    tokens_per_second: float
    """Real tokens through the network, in training, scoring and evaluation, over the sum of those seconds."""
    device: str
    initial_set_hash: str | None
    """Of the initial labelled set: equal for all arms of a seed."""
    initial_weights_hash: str
    """Of the weights that the round started from: equal for all arms of a seed, unless warm-started."""

    @property
    def seconds(self) -> float:
        """Of computing, in all."""
        return self.train_seconds + self.score_seconds + self.evaluate_seconds


PLACE_COLUMNS = frozenset({"train_seconds", "score_seconds", "evaluate_seconds", "tokens_per_second", "device"})
"""The columns that may differ between two executions of the same trajectory."""

SCIENCE_COLUMNS = tuple(f.name for f in fields(Row) if f.name not in PLACE_COLUMNS)


@dataclass(frozen=True)
class Round:
    """One finished round as the ledger keeps it."""

    row: Row
    acquired: tuple[int, ...]
    """Training reviews chosen in this round, best first; empty in the last round."""
    predictions: Mapping[str, Floats32] = field(default_factory=dict, compare=False)
    """Test log-probabilities (reviews, classes) by prediction mode; empty where not kept, and when read back."""


@cache
def schema() -> pa.Schema:
    """The columns of a sealed table: those of `Row`, and what each round acquired."""
    types = {int: pa.int64(), float: pa.float64(), str: pa.string()}
    hints = typing.get_type_hints(Row)
    columns = []
    for f in fields(Row):
        kinds = typing.get_args(hints[f.name]) or (hints[f.name],)
        columns.append(pa.field(f.name, types[kinds[0]], nullable=type(None) in kinds))
    return pa.schema([*columns, pa.field("acquired", pa.list_(pa.int32()), nullable=False)])
