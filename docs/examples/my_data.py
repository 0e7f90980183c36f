"""A data source: reviews in a JSON lines file, with stars."""

import json
from pathlib import Path

from trainables.corpus import Corpus, Texts, encode


def starred(path: str, max_tokens: int = 100) -> Corpus:
    """Each line has ``part`` (train or test), ``text`` and ``stars`` (1 to 3)."""
    lines = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
    parts = {part: [line for line in lines if line["part"] == part] for part in ("train", "test")}
    texts = Texts(
        train_texts=[line["text"] for line in parts["train"]],
        train_labels=[line["stars"] - 1 for line in parts["train"]],
        test_texts=[line["text"] for line in parts["test"]],
        test_labels=[line["stars"] - 1 for line in parts["test"]],
        class_names=("1 star", "2 stars", "3 stars"),
    )
    return encode("stars", texts, max_tokens=max_tokens, vocabulary_size=5_000)
