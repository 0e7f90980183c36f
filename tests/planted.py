"""Tables of rounds in which the truth is known: means by arm and label budget, a share of noise that the arms of a seed have in common."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from trainables.spec import FULL_DATA

BUDGETS = (100, 200, 400, 800, 1600)
ALL_LABELS = 6400
Mean = Callable[[str, float, int | None, int], float]
"""(acquisition, dropout rate, T, labels) -> true accuracy."""


def learning(acquisition: str, dropout_rate: float, mc_passes: int | None, labels: int) -> float:
    """All arms alike: half a point short of the full-data model's .86 at 1,600 labels, and 2.6 points a halving below that."""
    return 0.86 if acquisition == FULL_DATA else 0.855 - 0.026 * float(np.log2(1600 / labels))


def raised(*names: str, by: float, mean: Mean = learning) -> Mean:
    """The same truth with some acquisition functions better by so much at every budget."""
    return lambda a, p, t, b: mean(a, p, t, b) + (by if a in names else 0.0)


def planted(
    mean: Mean = learning,
    *,
    seeds: int = 10,
    acquisitions: Sequence[str] = ("random", "softmax_entropy", "entropy"),
    rates: Sequence[float] = (0.25,),
    passes: Sequence[int] = (10,),
    budgets: Sequence[int] = BUDGETS,
    noise: float = 0.004,
    key: int = 0,
) -> pd.DataFrame:
    """A row a round, with both predictions; `noise` is the SD of an arm's own deviation, constant along a curve but for a tenth."""
    rng = np.random.default_rng(key)
    arms: list[tuple[str, int | None]] = [(FULL_DATA, None)]
    for name in acquisitions:
        arms += [(name, None)] if name == "random" or name.startswith("softmax") else [(name, t) for t in passes]
    rows = []
    for seed in range(seeds):
        shared = rng.normal(0, 0.01)
        for rate in rates:
            for name, t in arms:
                own = rng.normal(0, noise)
                for number, labels in enumerate([ALL_LABELS] if name == FULL_DATA else budgets):
                    accuracy = float(np.clip(mean(name, rate, t, labels) + shared + own + rng.normal(0, noise / 10), 0, 1))
                    rows.append(
                        {
                            "acquisition": name,
                            "dropout_rate": rate,
                            "mc_passes": t,
                            "seed": seed,
                            "round": number,
                            "num_labelled": labels,
                            "accuracy_deterministic": accuracy,
                            "accuracy_mc": min(accuracy + 0.002, 1.0),
                            "nll_deterministic": 3 - 2 * accuracy,
                            "nll_mc": 2.9 - 2 * accuracy,
                            "train_seconds": labels / 100,
                            "score_seconds": float(t or 1),
                            "evaluate_seconds": 1.0,
                        }
                    )
    return pd.DataFrame(rows).astype({"mc_passes": "Int64"})


def example() -> pd.DataFrame:
    """The table of docs/examples: entropy and bald are better than the two others by .8 points at every budget."""
    table = planted(raised("entropy", "bald", by=0.008), acquisitions=("random", "softmax_entropy", "entropy", "bald"))
    columns = ["acquisition", "dropout_rate", "mc_passes", "seed", "num_labelled", "accuracy_deterministic", "accuracy_mc"]
    return table[columns].round(4)
