"""The sections of a study file but ``data`` and ``analysis``: their fields with roles, ranges and defaults.

Short forms (``seeds: 10``, ``label_budgets: {start, stop, growth}``) are expanded on reading, so a section holds plain lists.
"""

import math
import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, Strict, model_validator

from sweep.fields import AcquisitionName, ClassifierName, Positive, Rate, Section, Seed
from trainables.spec import Pooling, Precision


def _distinct(value: object) -> object:
    """A list without repetition; a single value stands for a list of one."""
    items = value if isinstance(value, list | tuple) else [value]
    twice = sorted({repr(item) for item in items if items.count(item) > 1})
    if twice:
        raise ValueError(f"each value once, but {', '.join(twice)} is there more than once")
    return items


def _seeds(value: object) -> object:
    """A number n (0 to n-1), a list, or ranges as in ``"100-104,7"``."""
    if isinstance(value, int) and not isinstance(value, bool):
        return list(range(value))
    return seeds_of(value) if isinstance(value, str) else _distinct(value)


def seeds_of(text: str) -> list[int]:
    """The seeds of ranges such as ``"100-104,7"``, each once.

    Raises:
        ValueError: it is something else.
    """
    found = [re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part) for part in text.split(",")]
    if not all(found):
        raise ValueError('a number of seeds, a list of seeds, or ranges such as "100-104"')
    seeds = [seed for match in found if match for seed in range(int(match[1]), int(match[2] or match[1]) + 1)]
    if not seeds or any(int(match[2] or match[1]) < int(match[1]) for match in found if match):
        raise ValueError('ranges that rise, such as "100-104"')
    _distinct(seeds)
    return seeds


def _budgets(value: object) -> object:
    """A list, or {start, stop, growth} or {start, stop, step}: rounded to whole labels, `stop` always the last."""
    if not isinstance(value, Mapping):
        return value
    keys = set(value)
    numbers = [value[key] for key in keys if isinstance(value[key], int | float) and math.isfinite(value[key])]
    if keys not in ({"start", "stop", "growth"}, {"start", "stop", "step"}) or len(numbers) != len(keys):
        raise ValueError("a list of numbers of labels, or {start, stop, growth} or {start, stop, step}")
    start, stop = value["start"], value["stop"]
    growth, step = value.get("growth", 1), value.get("step", 0)
    if start < 1 or stop <= start or (growth < SLOWEST_GROWTH and step < 1):
        raise ValueError(f"start at least 1, stop above start, and growth at least {SLOWEST_GROWTH} or step at least 1")
    budgets: list[int] = []
    exact = float(start)
    while round(exact) < stop:
        if not budgets or round(exact) > budgets[-1]:
            budgets.append(round(exact))
        if len(budgets) > MOST_ROUNDS:
            raise ValueError(f"at most {MOST_ROUNDS:,} budgets; let them grow faster")
        exact = exact * growth + step
    return [*budgets, round(stop)]


def _pool_subsample(value: object) -> object:
    """A number of reviews, 1 or more, or ``all``."""
    if value == "all" or (type(value) is int and value >= 1):
        return value
    raise ValueError("a number of reviews, at least 1, or all")


def _mc_budgets(value: object) -> object:
    """``all``, ``last``, ``none``, or a list of label budgets."""
    if isinstance(value, str) and value in ("all", "last", "none"):
        return value
    if isinstance(value, list | tuple) and all(type(item) is int for item in value):
        return tuple(sorted(set(value)))
    raise ValueError("all, last, none, or a list of label budgets")


def _gpu_share(value: float) -> float:
    if value > 1 and value != round(value):
        raise ValueError("a share of one GPU, at most 1, or a whole number of GPUs")
    return value


MOST_ROUNDS = 10_000
"""More label budgets than this are a mistake, not a study."""

SLOWEST_GROWTH = 1.001
"""Of label budgets, from one to the next."""


class SiteDropout(Section):
    """Rates of single dropout sites, as in `TrajectorySpec`; null: the grid's ``dropout_rate``."""

    word: Rate | None = None
    input: Rate | None = None
    recurrent: Rate | None = None
    output: Rate | None = None


class Model(Section):
    """The classifier; fields as in `TrajectorySpec`."""

    classifier: ClassifierName | None = None
    """Null: ``mlp`` for ``data.source: features``, else ``lstm``."""
    embedding_dim: Positive = 64
    hidden_dim: Positive = 64
    pooling: Pooling = "mean"
    precision: Precision = "bfloat16"
    """Measured on IMDB (docs/performance.md): 0.1 to 0.2% of the picks differ from float32's, and mean accuracy by -0.04 to +0.06 points,
    with standard errors of 0.08 to 0.18; a trajectory takes two thirds of the time."""
    embedding_std: Annotated[float, Field(gt=0)] = 0.1
    site_dropout: SiteDropout = SiteDropout()
    """Dropout sites with a rate of their own."""


class Training(Section):
    """One round's training; fields as in `TrajectorySpec`."""

    learning_rate: Annotated[float, Field(gt=0)] = 2.0e-3
    batch_size: Positive = 32
    min_steps: Positive = 300
    epochs: Annotated[float, Field(gt=0)] = 8.0
    prior_length_scale: Annotated[float, Field(ge=0)] = 0.3
    """Measured on IMDB, p = .25: 1.0 leaves the network at chance up to 1,400 labels and more; 0.1 and 0.3 reach .797 and .794 at 2,000
    labels chosen at random, and .859 on all 25,000."""
    gradient_clip: Annotated[float, Field(gt=0)] = 1.0
    warm_start: bool = False
    validation_fraction: Rate = 0.0


class Protocol(Section):
    """When labels are asked for and what is measured."""

    label_budgets: Annotated[tuple[Positive, ...], BeforeValidator(_budgets), Strict(False), Field(min_length=1)]
    """Labelled reviews that each round is trained on, rising; the first is the initial set."""
    pool_subsample: Annotated[int | Literal["all"], BeforeValidator(_pool_subsample)] = 2_000
    """Reviews that a round scores, or 10 x the batch to acquire if that is more; ``all``: the whole pool."""
    eval_mc_passes: Positive = 20
    """Thinned networks of the MC prediction on the test set; one number for all arms, whatever their T."""
    eval_mc_budgets: Annotated[Literal["all", "last", "none"] | tuple[int, ...], BeforeValidator(_mc_budgets)] = "all"
    """Label budgets at which the MC prediction is measured."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        budgets = self.label_budgets
        if list(budgets) != sorted(set(budgets)):
            raise ValueError(f"label_budgets must rise strictly, but are {list(budgets)}")
        strangers = sorted(set(self.mc_budgets) - set(budgets))
        if strangers:
            raise ValueError(f"eval_mc_budgets must be label budgets, but {strangers} are not; choose from {list(budgets)}")
        return self

    @property
    def mc_budgets(self) -> tuple[int, ...]:
        """The label budgets at which the MC prediction is measured."""
        named = {"all": self.label_budgets, "last": self.label_budgets[-1:], "none": ()}
        return named[self.eval_mc_budgets] if isinstance(self.eval_mc_budgets, str) else self.eval_mc_budgets


class Grid(Section):
    """The axes; every combination is a cell. A single value stands for a list of one."""

    seeds: Annotated[tuple[Seed, ...], BeforeValidator(_seeds), Strict(False), Field(min_length=1)]
    """The replicates: each keys every random stream of its trajectories."""
    acquisition: Annotated[tuple[AcquisitionName, ...], BeforeValidator(_distinct), Strict(False), Field(min_length=1)]
    """How labels are chosen."""
    dropout_rate: Annotated[tuple[Rate, ...], BeforeValidator(_distinct), Strict(False), Field(min_length=1)]
    """p, the probability that a unit is dropped, in training and in MC passes alike."""
    mc_passes: Annotated[tuple[Positive, ...], BeforeValidator(_distinct), Strict(False), Field(min_length=1)] = (10,)
    """T, the thinned networks that a score is computed from."""


class Baseline(Section):
    """What the arms are compared with, beside each other."""

    full_data: bool = True
    """The same model trained on every label, for each seed and dropout rate."""


class Resources(Section):
    """What a trial is given; nothing here can change an identity."""

    cpu: Positive = 1
    """Cores, and so threads, of a trial: passes share them out; a gradient step computes the LSTM on one."""
    gpu: Annotated[float, Field(ge=0), AfterValidator(_gpu_share)] = 0.0
    """Share of a GPU (0.125: eight trials share one), or whole ones; above 0, trials compute on CUDA."""
    price_per_hour: Annotated[float, Field(ge=0)] | None = None
    """What an hour of one core costs, or of one GPU where `gpu` is above 0, in any currency: the dry run then tells the money."""
    storage_patience: Annotated[float, Field(ge=0)] = 60.0
    """Seconds for which trouble of the storage that may pass is waited out."""
    compiled: bool = True
    """On a CPU, compute with the compiled kernel (``trainables/lstm.c``) where there is a C compiler; false: always with torch."""
    scoring_batch: Positive = 64
    """Reviews a batch where torch makes the passes: on a GPU, or without the compiled kernel."""
    store_predictions: bool = True
    """Keep test log-probabilities where the MC prediction is measured."""


def _without_password(uri: str) -> str:
    if "@" in urlsplit(uri).netloc:
        raise ValueError("a URI without user and password, which study.yaml would show to all: set MLFLOW_TRACKING_USERNAME and _PASSWORD")
    return uri


def _project(name: str) -> str:
    if not 1 <= len(name) <= 128 or set(name) & set("/\\#?%:"):
        raise ValueError("a name of 1 to 128 characters, none of them / \\ # ? % :")
    return name


class Trackers(Section):
    """Where the rounds are shown while they are finished, beside the ledger; nothing here can change a result, or stop one."""

    tensorboard: bool = True
    """Event files in the study's folder."""
    mlflow: Annotated[str, Field(min_length=1), AfterValidator(_without_password)] | None = None
    """Tracking URI, as in ``http://localhost:5000``; null: not shown in MLflow."""
    wandb: Annotated[str, AfterValidator(_project)] | None = None
    """Project in Weights & Biases; null: not shown there."""
