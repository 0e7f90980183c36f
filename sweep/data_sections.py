"""What the ``data`` section of a study file may be: one section for each source of reviews, told apart by ``source``."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from sweep.fields import PluginName, Positive, Section, Seed
from trainables.plugins import is_plugin


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


def source_of(data: object) -> str | None:
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
    Discriminator(source_of),
]
