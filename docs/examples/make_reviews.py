"""Writes reviews.jsonl: generated reviews of three classes, to try the examples with."""

import json
from pathlib import Path

from trainables.sources.synthetic import SyntheticSource

texts = SyntheticSource(train_size=600, test_size=300, num_classes=3, seed=0).read()
with Path("reviews.jsonl").open("w", encoding="utf-8") as file:
    for part, reviews, labels in (("train", texts.train_texts, texts.train_labels), ("test", texts.test_texts, texts.test_labels)):
        for text, label in zip(reviews, labels, strict=True):
            file.write(json.dumps({"part": part, "text": text, "stars": label + 1}) + "\n")
