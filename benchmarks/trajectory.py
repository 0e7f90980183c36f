"""``python -m benchmarks.trajectory --peer baal``: one whole active-learning trajectory, here and with baal, under one protocol.

Problem: libraries of active learning are compared by what they offer, seldom by what the same work costs. Timing one step (a forward
pass, a score) flatters whoever is fast at it. So a whole trajectory is computed, from the initial labelled set to the last test
accuracy, by `trainables.trajectory.rounds` and by baal 2 (`benchmarks.baal_peer`), and the accuracies stand beside the seconds:
speed at the price of accuracy would show.

Protocol, equal on all sides: the encoded corpus and its vocabulary; the network (embedding, one LSTM layer, mean over the real tokens,
dropout, linear layer), and the distribution of its initial weights, drawn anew each round; the initial labelled set; the keys by which a
round's part of the pool is drawn; T passes of MC dropout, BALD, reviews acquired per round; gradient steps per round, batch size,
Adam, learning rate falling linearly to zero, weight decay, clipping; the test set, measured in every round with dropout off; batches of
like length, padded to their own longest review; one thread, one process. Dropout acts on the pooled output alone: there both sides
can have it, and it is drawn once per review on both. The row *four sites* is this side with its usual variational dropout, which
baal cannot have: every pass then runs the whole network.

What cannot be equal:

- *The precision.* This side computes in its default, bfloat16, which needs no care of the user's; baal in torch's, float32. The row
  *float32* is this side in baal's precision.
- *The masks.* Here pass t is one network for the whole pool; in baal each review meets its own masks.
- *The draws* (batches, masks, initial weights), and so the reviews acquired after round 0.

How to read the accuracies: one trajectory of a few hundred labels is noisy by several points, so compare medians of some repeats, and
whether any side is behind by more than that. How to read the speed: where no mask touches the LSTM, this side runs it once for all T
passes, and what remains is training, where both sides take the same steps. The more steps (``--gradient-steps``; the default is a
study's, 300), and the smaller the part of the pool that is scored (``--subsample``), the more of the work that is; the columns by phase
show it.

Why it is fair: baal is used as its documentation tells, by its faster ways where there is a choice: no worker processes beside the one
thread, reviews sorted by length, padding left to a mask so that the fused LSTM kernel runs, and each of its variants (passes
replicated in one batch, its default; passes in a loop) at the scoring batch that was the fastest for it: of 1 to 64 reviews, times
T passes, and of 16 to 256. Each variant computes a tiny trajectory first, which pays for imports and first calls. With ``--repeats``
the variants take turns, repeat k with seed k, and the table has medians. CPU seconds are those of the process, seconds by phase are
wall seconds; a variant's CPU time is told in multiples of al-sweep's, since with one thread it says the same as wall time on an idle
machine and more on a busy one.

Reviews are generated unless ``--imdb`` asks for real ones, found as everywhere: ``IMDB_PATH``, else the cache, else a download.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import mean, median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.figures import RoundFigures
from benchmarks.reviews import study
from sweep.data import load_corpus
from sweep.plan import make_plan
from sweep.study import Study
from trainables.corpus import Corpus
from trainables.execution import make_deterministic
from trainables.spec import Execution, TrajectorySpec
from trainables.trajectory import rounds

NO_BAAL = "error: --peer baal needs the extra `benchmarks`: pip install -c constraints.txt -e '.[benchmarks]'\n"

TINY = {"rounds": 2, "labels": 64, "acquire": 2, "subsample": 64, "gradient_steps": 2, "repeats": 1}
"""Sizes of the trajectory that warms a variant up."""

Compute = Callable[[TrajectorySpec, Corpus], list[RoundFigures]]


@dataclass(frozen=True)
class Measured:
    """What one whole trajectory cost and reached."""

    wall_seconds: float
    cpu_seconds: float
    """Of this process."""
    train_seconds: float
    score_seconds: float
    evaluate_seconds: float
    final_accuracy: float
    """On the test set, dropout off, after the last round."""
    mean_accuracy: float
    """Over the rounds."""


def the_study(options: argparse.Namespace) -> Study:
    """The protocol as a study: one arm, one trajectory per repeat."""
    data: dict[str, Any] = {"source": "imdb"} if options.imdb else {"source": "synthetic", "train_size": 12_000, "test_size": 2_000}
    budgets = [options.labels + options.acquire * number for number in range(options.rounds)]
    no_dropout_before_the_output = {"word": 0.0, "input": 0.0, "recurrent": 0.0}
    sections = {
        "model": {
            "embedding_dim": options.embedding_dim,
            "hidden_dim": options.hidden_dim,
            "site_dropout": no_dropout_before_the_output,
        },
        "training": {"min_steps": options.gradient_steps, "epochs": 1e-9},
        "protocol": {"label_budgets": budgets, "pool_subsample": options.subsample},
        "grid": {"seeds": options.repeats, "mc_passes": options.mc_passes},
    }
    return study(data | {"max_tokens": options.max_tokens}, sections)


def compute_here(spec: TrajectorySpec, corpus: Corpus) -> list[RoundFigures]:
    """The trajectory by this project, set up as a trial sets it up."""
    execution = Execution()
    make_deterministic(execution)
    done = [finished.row for finished in rounds(spec, corpus, [], execution)]
    return [RoundFigures(row.accuracy_deterministic, row.train_seconds, row.score_seconds, row.evaluate_seconds) for row in done]


def compute_with_four_sites(spec: TrajectorySpec, corpus: Corpus) -> list[RoundFigures]:
    """The same with dropout at all four sites."""
    return compute_here(replace(spec, word_dropout=None, input_dropout=None, recurrent_dropout=None), corpus)


def compute_in_float32(spec: TrajectorySpec, corpus: Corpus) -> list[RoundFigures]:
    """The same in the peer's precision."""
    return compute_here(replace(spec, precision="float32"), corpus)


def variants(peer: str | None, options: argparse.Namespace) -> dict[str, Compute]:
    """What to measure, by name; this project first. A peer is imported only here."""
    chosen: dict[str, Compute] = {"al-sweep": compute_here}
    if peer == "baal":
        from benchmarks.baal_peer import compute_with_baal

        chosen["al-sweep, float32"] = compute_in_float32
        chosen["al-sweep, four sites"] = compute_with_four_sites
        chosen["baal, default"] = partial(compute_with_baal, replicate=True, scoring_batch=options.replicated_batch)
        chosen["baal, loop"] = partial(compute_with_baal, replicate=False, scoring_batch=options.loop_batch)
    return chosen


def measure(compute: Compute, spec: TrajectorySpec, corpus: Corpus) -> Measured:
    """Compute a trajectory and say what it cost."""
    wall, cpu = time.perf_counter(), time.process_time()
    done = compute(spec, corpus)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    accuracies = [figures.accuracy for figures in done]
    return Measured(
        wall_seconds=wall,
        cpu_seconds=cpu,
        train_seconds=sum(figures.train_seconds for figures in done),
        score_seconds=sum(figures.score_seconds for figures in done),
        evaluate_seconds=sum(figures.evaluate_seconds for figures in done),
        final_accuracy=accuracies[-1],
        mean_accuracy=mean(accuracies),
    )


def rows_of(measured: dict[str, list[Measured]]) -> list[dict[str, Any]]:
    """A row per variant: medians over the repeats, and CPU time in multiples of this project's, within a repeat."""
    rows = []
    for name, repeats in measured.items():
        columns = {column: [asdict(one)[column] for one in repeats] for column in asdict(repeats[0])}
        rows.append({"variant": name, **{column: median(values) for column, values in columns.items()}, "repeats": columns})
    ours = rows[0]["repeats"]["cpu_seconds"]
    return [row | {"times": median(t / o for t, o in zip(row["repeats"]["cpu_seconds"], ours, strict=True))} for row in rows]


def print_table(rows: list[dict[str, Any]]) -> None:
    """Rows as people read them."""
    seconds = ("wall_seconds", "cpu_seconds", "train_seconds", "score_seconds", "evaluate_seconds")
    table = Table("variant", "wall", "CPU", "train", "score", "test", "final", "mean", "times", box=None)
    for row in rows:
        accuracies = (f"{row[name]:.3f}" for name in ("final_accuracy", "mean_accuracy"))
        table.add_row(row["variant"], *(f"{row[name]:.1f}" for name in seconds), *accuracies, f"{row['times']:.2f}")
    table.caption = "seconds; test accuracy in the last round, and its mean over the rounds; CPU in multiples of al-sweep"
    Console().print(table)


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """The command line; ends the command where the peer is not installed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trajectory", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer", choices=["baal"], help="compare with this library (default: measure al-sweep alone)")
    parser.add_argument("--imdb", action="store_true", help="real reviews instead of generated ones")
    parser.add_argument("--repeats", type=int, default=1, help="trajectories per variant, seeds 0, 1, ...; the table has medians")
    parser.add_argument("--json", metavar="PATH", type=Path, help="write the rows here too")
    sizes = {
        "rounds": 3, "labels": 200, "acquire": 100, "subsample": 10_000, "mc_passes": 20, "gradient_steps": 300, "max_tokens": 100,
        "embedding_dim": 64, "hidden_dim": 128, "replicated_batch": 8, "loop_batch": 64,
    }  # fmt: skip
    for name, default in sizes.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, metavar="N", default=default, help=f"default: {default:,}")
    options = parser.parse_args(arguments)
    if options.peer and find_spec(options.peer) is None:
        parser.exit(2, NO_BAAL)
    return options


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    options = parsed(arguments)
    protocol = the_study(options)
    corpus = load_corpus(protocol.data, Console())
    tiny = argparse.Namespace(**vars(options) | TINY)
    (warm_up,) = make_plan(the_study(tiny), corpus).specs.values()
    specs = sorted(make_plan(protocol, corpus).specs.values(), key=lambda spec: spec.seed)
    chosen = variants(options.peer, options)
    measured: dict[str, list[Measured]] = {name: [] for name in chosen}
    for compute in chosen.values():
        compute(warm_up, corpus)
    for spec in specs:
        for name, compute in chosen.items():
            with Console(stderr=True).status(f"{name}, seed {spec.seed}"):
                measured[name].append(measure(compute, spec, corpus))
    rows = rows_of(measured)
    print_table(rows)
    if options.json:
        spec = json.loads(specs[0].canonical_json())
        options.json.write_text(json.dumps({"spec_of_seed_0": spec, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
