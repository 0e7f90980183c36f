"""What a study file may say: the sections, their fields with roles and ranges, and their defaults.

Strict and frozen. Short forms (``seeds: 10``, ``label_budgets: {start, stop, growth}``) are expanded on reading, so a `Study` holds
plain lists, and ``study.yaml`` in the results shows what was meant. ``study_file.py`` reads the YAML and explains what is wrong.
"""

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Strict, Tag, model_validator

from sweep.analysis_plan import AnalysisPlan, ArmChoice, default_arm
from sweep.fields import AcquisitionName, ClassifierName, PluginName, Positive, Rate, Section, Seed
from trainables.acquisition import ACQUISITIONS
from trainables.plugins import is_plugin
from trainables.spec import SITES, SITES_OF, Pooling, Precision


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


class ImdbData(Section):
    """The Large Movie Review Dataset."""

    source: Literal["imdb"]
    """Which of the sources it is."""
    path: str | None = None
    """Folder or archive; null: ``IMDB_PATH``, else the cache folder, else a download."""
    max_tokens: Positive = 200
    """Each review's first tokens that are read."""
    vocabulary_size: Positive = 10_000
    """Most frequent words of the training reviews that are kept."""


class TableData(Section):
    """Reviews in CSV or Parquet files of one's own."""

    source: Literal["csv"]
    """Which of the sources it is."""
    path: str
    """File of the training reviews, CSV or Parquet by its ending; from where the launch is started."""
    text: str = "text"
    """Column of the texts."""
    label: str = "label"
    """Column of the classes."""
    test_path: str | None = None
    """Test reviews; null: a seeded part of `path`."""
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Part of each class that is tested on; without effect where there is a `test_path`."""
    split_seed: Seed = 0
    """Keys the split into training and test reviews; the same for all seeds of the grid."""
    max_tokens: Positive = 200
    """Each review's first tokens that are read."""
    vocabulary_size: Positive = 10_000
    """Most frequent words of the training reviews that are kept."""


class FeaturesData(Section):
    """Vectors that an encoder outside has made of the reviews, as NumPy files: what a frozen language model gives, say."""

    source: Literal["features"]
    """Which of the sources it is."""
    path: str
    """``.npy`` file of (N, F) numbers, a row a review."""
    labels: str
    """``.npy`` file of N classes: numbers or words."""
    test_path: str | None = None
    """The same of the test reviews; null: a seeded part of `path`."""
    test_labels: str | None = None
    """Classes of `test_path`."""
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Part of each class that is tested on; without effect where there is a `test_path`."""
    split_seed: Seed = 0
    """Draws that part: the same for all seeds of the study."""
    standardize: bool = True
    """Shift and scale each feature to mean 0 and standard deviation 1 over the training reviews; no label is read for it."""

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.test_path is None) != (self.test_labels is None):
            raise ValueError("test_path and test_labels must be given together, or neither")
        return self


class PluginData(Section):
    """A data source of one's own: a function that returns a `Corpus` (docs/extending.md)."""

    source: PluginName
    """``package.module:name`` of the function."""
    options: dict[str, Any] = {}  # noqa: RUF012 - pydantic copies it
    """Its keyword arguments."""


class SyntheticData(Section):
    """Generated reviews: no data set at all, for trying things out."""

    source: Literal["synthetic"]
    """Which of the sources it is."""
    train_size: Positive = 2_000
    """Training reviews."""
    test_size: Positive = 1_000
    """Test reviews."""
    num_classes: Annotated[int, Field(ge=2)] = 2
    """C, classes."""
    seed: Seed = 0
    """Of the generated texts; the same for all seeds of the grid."""
    max_tokens: Positive = 60
    """Each review's first tokens that are read."""
    vocabulary_size: Positive = 10_000
    """Most frequent words of the training reviews that are kept."""


SOURCES: dict[str, type[Section]] = {"imdb": ImdbData, "csv": TableData, "features": FeaturesData, "synthetic": SyntheticData}
"""The sections that ``data`` can be, by their source; any other source is a plug-in."""


def _source_of(data: object) -> str | None:
    """Which section ``data`` is."""
    source = data.get("source") if isinstance(data, Mapping) else getattr(data, "source", None)
    if isinstance(source, str) and is_plugin(source):
        return "plugin"
    return source if isinstance(source, str) else None


Data = Annotated[
    Annotated[ImdbData, Tag("imdb")]
    | Annotated[TableData, Tag("csv")]
    | Annotated[FeaturesData, Tag("features")]
    | Annotated[SyntheticData, Tag("synthetic")]
    | Annotated[PluginData, Tag("plugin")],
    Discriminator(_source_of),
]


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
            raise ValueError(f"eval_mc_budgets {strangers} are not label budgets; choose from {list(budgets)}")
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


class Study(Section):
    """One study file, resolved."""

    study: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Name, and so the folder of the results."""
    data: Data
    """The reviews."""
    model: Model = Model()
    """The classifier."""
    training: Training = Training()
    """How a round's network is trained."""
    protocol: Protocol
    """When labels are asked for, and what is measured."""
    grid: Grid
    """The axes: what is compared with what."""
    baseline: Baseline = Baseline()
    """What the arms are compared with."""
    analysis: AnalysisPlan = AnalysisPlan()
    """What will be tested, at which level and by which margin."""
    resources: Resources = Resources()
    """What a trial is given."""
    trackers: Trackers = Trackers()
    """Where rounds are shown beside the ledger."""
    storage: str = "results"
    """Folder, or ``s3://`` or ``gs://`` URI, that holds the study's folder."""

    @model_validator(mode="after")
    def _arm_is_in_the_grid(self) -> Self:
        arm, grid = self.analysis.q1.arm, self.grid
        if arm is None:
            return self
        known = ACQUISITIONS.get(arm.acquisition)  # of a plug-in it is not known here whether it needs passes
        passes: list[int | None] = [None] if known is None or known.prediction != "mc" else []
        if known is None or known.prediction == "mc":
            passes += grid.mc_passes
        axes: list[tuple[str, object, tuple[object, ...]]] = [
            ("acquisition", arm.acquisition, grid.acquisition),
            ("dropout_rate", arm.dropout_rate, grid.dropout_rate),
            ("mc_passes", arm.mc_passes, tuple(passes)),
        ]
        for name, value, axis in axes:
            if value not in axis:
                raise ValueError(f"analysis.q1.arm.{name} = {value!r} must be one of grid.{name}: {', '.join(map(str, axis))}")
        if arm.acquisition == "random":
            raise ValueError("analysis.q1.arm.acquisition must be an acquisition function other than random, which it is compared with")
        return self

    @model_validator(mode="after")
    def _classifier_reads_the_data(self) -> Self:
        given = {site for site, rate in self.model.site_dropout.model_dump().items() if rate is not None}
        sites = SITES_OF.get(self.classifier, SITES)
        if not given <= set(sites):
            lacking = ", ".join(sorted(given - set(sites)))
            raise ValueError(f"model.site_dropout: {self.classifier} has no site {lacking}; it must be one of {', '.join(sites)}")
        if not set(sites) - given:
            raise ValueError("model.site_dropout: one site must follow grid.dropout_rate, or that axis means nothing")
        reads = {"mlp": True, "lstm": False}.get(self.classifier)
        has = {"features": True, "plugin": None}.get(_source_of(self.data) or "", False)
        if None not in (reads, has) and reads != has:
            raise ValueError(
                f"model.classifier = {self.classifier!r} must be {'mlp' if has else 'lstm'} or a plug-in for data.source {self.data.source}"
            )
        return self

    @property
    def classifier(self) -> str:
        """The classifier's name: the given one, or what the data ask for."""
        return self.model.classifier or ("mlp" if isinstance(self.data, FeaturesData) else "lstm")

    @property
    def confirmatory_arm(self) -> ArmChoice | None:
        """The arm that answers Q1: the declared one, or the default for this grid."""
        grid = self.grid
        return self.analysis.q1.arm or default_arm(self.analysis.q2, grid.acquisition, grid.dropout_rate, grid.mc_passes)

    def resolved(self) -> dict[str, Any]:
        """Plain values with every default and every short form written out."""
        content = self.model_dump(mode="json")
        content["protocol"]["eval_mc_budgets"] = list(self.protocol.mc_budgets)
        content["model"]["classifier"] = self.classifier
        arm = self.confirmatory_arm
        content["analysis"]["q1"]["arm"] = arm and arm.model_dump(mode="json")
        return content


SCIENCE_SECTIONS = ("data", "model", "training", "protocol")
"""The sections that a study may not change under the same name; the data are compared by digest, not by path."""
