"""The trajectory of `benchmarks.trajectory` with baal 2, as its documentation has it. Needs the extra ``benchmarks``.

`ActiveLearningDataset` holds what is labelled, `MCDropoutModule` swaps the dropout layers for scoring and puts them back,
`ModelWrapper.predict_on_dataset` makes the T passes and `BALD` ranks. Training is a plain loop over `ModelWrapper.train_on_batch`:
`train_on_dataset` counts whole epochs, and the protocol fixes the number of gradient steps. The schedule is torch's; clipping hooks
into the optimizer, since `train_on_batch` has no place for it.
"""

import logging
import math
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import structlog
import torch
from baal import ActiveLearningDataset, ModelWrapper
from baal.active.heuristics import BALD
from baal.bayesian.dropout import MCDropoutModule
from baal.modelwrapper import TrainingArgs
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from benchmarks.figures import RoundFigures
from trainables.arrays import Ids
from trainables.corpus import PADDING, Corpus, Reviews
from trainables.lstm import Lstm
from trainables.spec import Execution, TrajectorySpec
from trainables.training import BUCKET_BATCHES, prior_coefficients
from trainables.trajectory import initial_set, pool_subsample

EVALUATION_BATCH = 64
MATRICES = {"embedding.weight": "embedding", "lstm.weight_ih_l0": "input", "lstm.weight_hh_l0": "recurrent", "output.weight": "output"}
"""This project's names of the weight matrices."""

Item = tuple[Tensor, int]


class EncodedReviews(Dataset[Item]):
    """Reviews as items of their own lengths."""

    def __init__(self, reviews: Reviews) -> None:
        """Keep the arrays: baal copies the whole dataset whenever it is asked for its pool."""
        self.reviews = reviews

    def __len__(self) -> int:
        """The number of reviews."""
        return len(self.reviews)

    def __getitem__(self, index: int) -> Item:
        """Token ids without padding, and the label."""
        reviews = self.reviews
        return torch.from_numpy(reviews.token_ids_NL[index, : reviews.lengths_N[index]]), int(reviews.labels_N[index])


class Classifier(nn.Module):
    """The same network as `trainables.model` with dropout of the pooled output, which baal can swap."""

    def __init__(self, spec: TrajectorySpec, corpus: Corpus) -> None:
        """Fresh weights: torch's own draws for LSTM and linear layer are those of `trainables.model`; the embedding's are made so."""
        super().__init__()
        self.embedding = nn.Embedding(corpus.num_embeddings, spec.embedding_dim)
        nn.init.normal_(self.embedding.weight, std=spec.embedding_std)
        self.lstm = nn.LSTM(spec.embedding_dim, spec.hidden_dim, batch_first=True)
        self.output_dropout = nn.Dropout(spec.dropout_rate)
        self.output = nn.Linear(spec.hidden_dim, len(corpus.class_names))

    def forward(self, token_ids_BL: Tensor) -> Tensor:
        """(B, C) logits; the mean is over the real tokens."""
        states_BLH, _ = self.lstm(self.embedding(token_ids_BL))
        real_BL1 = (token_ids_BL != PADDING).unsqueeze(-1)
        pooled_BH = (states_BLH * real_BL1).sum(dim=1) / real_BL1.sum(dim=1)
        logits: Tensor = self.output(self.output_dropout(pooled_BH))
        return logits


def pad(items: Sequence[Item]) -> tuple[Tensor, Tensor]:
    """A batch, padded to its own longest review."""
    token_ids, labels = zip(*items, strict=True)
    return nn.utils.rnn.pad_sequence(list(token_ids), batch_first=True, padding_value=PADDING), torch.tensor(labels)


def wrapped(network: nn.Module, *, batch_size: int, replicate: bool = True, optimizer: torch.optim.Optimizer | None = None) -> ModelWrapper:
    """A wrapper of baal's, on the CPU and without worker processes."""
    return ModelWrapper(
        network,
        TrainingArgs(
            optimizer=optimizer,
            criterion=nn.CrossEntropyLoss(),
            batch_size=batch_size,
            workers=0,
            use_cuda=False,
            collate_fn=pad,
            replicate_in_memory=replicate,
        ),
    )


class Trajectory:
    """One trajectory with baal; `replicate`: all passes of a batch at once (its default), else one after the other."""

    def __init__(self, spec: TrajectorySpec, corpus: Corpus, *, replicate: bool, scoring_batch: int) -> None:
        """Label the initial set."""
        self.spec, self.corpus = spec, corpus
        self.replicate, self.scoring_batch = replicate, scoring_batch
        self.lengths_N = corpus.train.lengths_N
        is_labelled = np.isin(np.arange(len(corpus.train)), initial_set(spec, len(corpus.train)))
        self.data = ActiveLearningDataset(EncodedReviews(corpus.train), labelled=is_labelled)

    def round(self, number: int) -> RoundFigures:
        """Train from fresh weights, measure, acquire; the last round acquires nothing."""
        began = time.perf_counter()
        network = Classifier(self.spec, self.corpus)
        self.train(network)
        trained_at = time.perf_counter()
        accuracy = self.test_accuracy(network)
        evaluated_at = time.perf_counter()
        if number < self.spec.num_rounds - 1:
            self.acquire(network, number)
        return RoundFigures(accuracy, trained_at - began, time.perf_counter() - evaluated_at, evaluated_at - trained_at)

    def train(self, network: Classifier) -> None:
        """Exactly `min_steps` gradient steps on the labelled set."""
        spec = self.spec
        coefficients = prior_coefficients(Lstm(spec, Execution()), Lstm.sites, len(self.data))
        decay = {name: 2 * coefficient for name, coefficient in coefficients.items()}
        groups: list[dict[str, Any]] = [
            {"params": [value], "weight_decay": decay.get(MATRICES.get(name, ""), 0.0)} for name, value in network.named_parameters()
        ]
        optimizer = torch.optim.Adam(groups, lr=spec.learning_rate, fused=True)
        optimizer.register_step_pre_hook(partial(clip, network, spec.gradient_clip))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / spec.min_steps)
        wrapper = wrapped(network, batch_size=spec.batch_size, optimizer=optimizer)
        wrapper.train()
        order = batches(self.lengths_N[self.data.labelled], spec.batch_size, spec.min_steps)
        for token_ids_BL, labels_B in DataLoader(self.data, batch_sampler=order, collate_fn=pad):
            wrapper.train_on_batch(token_ids_BL, labels_B)
            schedule.step()

    def test_accuracy(self, network: Classifier) -> float:
        """With dropout off, the reviews sorted by length."""
        test = self.corpus.test
        by_length = np.argsort(test.lengths_N, kind="stable")
        wrapper = wrapped(network, batch_size=EVALUATION_BATCH)
        logits_NC1 = wrapper.predict_on_dataset(Subset(EncodedReviews(test), by_length.tolist()), iterations=1, verbose=False)
        return float((logits_NC1[..., 0].argmax(axis=1) == test.labels_N[by_length]).mean())

    def acquire(self, network: Classifier, number: int) -> None:
        """Score the round's subsample of the pool, sorted by length, and label the best."""
        budgets = self.spec.label_budgets or ()
        batch = budgets[number + 1] - budgets[number]
        labelled, pool = np.flatnonzero(self.data.labelled), np.flatnonzero(~self.data.labelled)
        rows = pool_subsample(self.spec, len(self.lengths_N), labelled, batch, number)
        positions = np.searchsorted(pool, rows[np.argsort(self.lengths_N[rows], kind="stable")])
        with MCDropoutModule(network) as stochastic:
            wrapper = wrapped(stochastic, batch_size=self.scoring_batch, replicate=self.replicate)
            logits_NCT = wrapper.predict_on_dataset(
                Subset(self.data.pool, positions.tolist()), iterations=self.spec.mc_passes, verbose=False
            )
        self.data.label(positions[BALD()(logits_NCT)[:batch]].tolist())


def clip(network: nn.Module, largest: float, *_: object) -> None:
    """Before a step of the optimizer: the norm of the gradient is at most this."""
    nn.utils.clip_grad_norm_(network.parameters(), largest)


def batches(lengths_N: Ids, batch_size: int, steps: int) -> list[list[int]]:
    """Whole passes over the labelled set laid end to end, in buckets sorted by length."""
    batch = min(batch_size, len(lengths_N))
    passes = math.ceil(steps * batch / len(lengths_N))
    order = torch.cat([torch.randperm(len(lengths_N)) for _ in range(passes)])[: steps * batch].numpy()
    chosen: list[list[int]] = []
    for start in range(0, len(order), BUCKET_BATCHES * batch):
        bucket = order[start : start + BUCKET_BATCHES * batch]
        by_length = bucket[np.argsort(lengths_N[bucket], kind="stable")].reshape(-1, batch)
        chosen += by_length[torch.randperm(len(by_length)).numpy()].tolist()
    return chosen


def compute_with_baal(spec: TrajectorySpec, corpus: Corpus, *, replicate: bool, scoring_batch: int) -> list[RoundFigures]:
    """All rounds, as a program of baal's would compute them: torch's own settings, but for the threads."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))  # baal tells each phase on stdout
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(1)
    torch.manual_seed(spec.seed)
    trajectory = Trajectory(spec, corpus, replicate=replicate, scoring_batch=scoring_batch)
    return [trajectory.round(number) for number in range(spec.num_rounds)]
