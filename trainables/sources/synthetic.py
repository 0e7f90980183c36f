"""Generated movie reviews, for trying things out without any download. They are NOT real reviews and prove nothing about any.

A small grammar writes a few clauses about a film's aspects. Every review has a target sentiment (its class) from -1 to 1, and what
makes the task worth an active learner's while is graded on purpose:

- *plain* clauses use common words of about the right strength, some softened or strengthened by an adverb;
- *negated* clauses say the opposite word with a "not" in front;
- *rare* verdicts put the whole sentiment into one of many seldom used words, in a clause that is the same for praise and blame: a
  random choice of reviews to label meets each of them late, a model that knows what it does not know asks for them;
- *ambiguous* reviews lie at the border between two classes: uncertain for ever, and nothing to be learned from;
- filler says nothing at all.
"""

import hashlib
import inspect
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainables.corpus import Texts
from trainables.streams import stream

ASPECTS = (
    "acting", "plot", "music", "camera work", "dialogue", "ending", "pacing", "cast", "script", "direction",
    "lighting", "editing", "opening", "story", "humour", "romance", "villain", "lead", "scenery", "costumes",
)  # fmt: skip
STRENGTHS = {
    -1.0: ("awful", "terrible", "dreadful", "atrocious", "horrible", "unbearable"),
    -0.6: ("bad", "poor", "weak", "dull", "clumsy", "tedious"),
    -0.25: ("flat", "thin", "slow", "uneven", "stale", "forced"),
    0.25: ("decent", "pleasant", "tidy", "likeable", "neat", "fair"),
    0.6: ("good", "solid", "strong", "charming", "clever", "moving"),
    1.0: ("superb", "brilliant", "wonderful", "magnificent", "outstanding", "perfect"),
}
STRONGER = ("very", "really", "truly", "so")
WEAKER = ("somewhat", "a little", "rather", "fairly")
FRAMES = (
    "the {aspect} was {word}",
    "i found the {aspect} {word}",
    "{word} {aspect}",
    "the {aspect} felt {word} to me",
    "its {aspect} is {word}",
    "one has to call the {aspect} {word}",
)
FILLER = (
    "i saw it on a tuesday with my cousin",
    "it runs for about two hours",
    "the film is set in a small town by the sea",
    "we had popcorn and sat in the third row",
    "it was shown at a festival last year",
    "the book came out long before",
    "there is a train in it",
    "people around us talked a lot",
    "the credits roll for ten minutes",
    "my neighbour had told me about it",
)
RARE_FRAMES = ("all in all a {rare}", "call it a {rare} and be done", "what a {rare}", "in a word : {rare}")
RARE_BAD = (
    "turkey", "clunker", "stinker", "lemon", "shambles", "dud", "fiasco", "debacle", "washout", "trainwreck", "flop", "snoozefest",
    "travesty", "hodgepodge", "botch", "slog", "misfire", "calamity", "farrago", "bungle", "eyesore", "clinker", "mishmash", "damp squib",
    "dog", "bore", "yawner", "wreck", "mess", "blunder", "ordeal", "muddle", "letdown", "disaster", "drag", "chore",
)  # fmt: skip
RARE_GOOD = (
    "gem", "triumph", "knockout", "marvel", "corker", "delight", "treasure", "stunner", "tour de force", "winner", "humdinger", "beauty",
    "pearl", "crackerjack", "feast", "jewel", "revelation", "landmark", "treat", "peach", "dazzler", "lulu", "wonder", "classic",
    "blast", "joy", "charmer", "keeper", "sensation", "riot", "dream", "bullseye", "milestone", "masterstroke", "tonic", "hoot",
)  # fmt: skip
KINDS = {"plain": 0.45, "negated": 0.2, "rare": 0.27, "ambiguous": 0.08}
"""Shares of the kinds of review."""


@dataclass(frozen=True)
class SyntheticSource:
    """A seeded draw of generated reviews."""

    train_size: int
    test_size: int
    num_classes: int
    """Classes 0 to C-1, from worst to best sentiment."""
    seed: int
    """Draws the reviews: part of the data, not of a trajectory's seed."""
    name: str = "synthetic"

    def fingerprint(self) -> str:
        """SHA-256 of the arguments and of this file, so that a changed grammar is a changed data set."""
        return hashlib.sha256((repr(self) + inspect.getsource(sys.modules[__name__])).encode()).hexdigest()

    def read(self) -> Texts:
        """Training and test reviews; labels are uniform over the classes."""
        parts = {}
        for part, size in (("train", self.train_size), ("test", self.test_size)):
            rng = stream(self.seed, f"synthetic {part} reviews", 0)
            labels = rng.integers(self.num_classes, size=size).tolist()
            parts[part] = [review(rng, label, self.num_classes) for label in labels], labels
        return Texts(*parts["train"], *parts["test"], tuple(f"sentiment {c}" for c in range(self.num_classes)))


def review(rng: np.random.Generator, label: int, num_classes: int) -> str:
    """One generated review of class `label`."""
    target = 2 * label / (num_classes - 1) - 1
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    if kind == "rare" and abs(target) < 1:
        kind = "plain"  # rare verdicts are extreme; classes between have none
    if kind == "ambiguous":
        inward = -np.sign(target) if target else rng.choice((-1, 1))
        target += inward / (num_classes - 1)
    if kind == "rare":
        clauses = [_clause(rng, aspect_strength) for aspect_strength in rng.permutation((-0.25, 0.25, 0.6, -0.6))[:2]]
        clauses.append(_rare_verdict(rng, good=target > 0))
    else:
        clauses = [_clause(rng, strength, negated=kind == "negated") for strength in target + rng.normal(0, 0.45, rng.integers(2, 5))]
    clauses += [_pick(rng, FILLER) for _ in range(rng.integers(0, 3))]
    return " . ".join(clauses[i] for i in rng.permutation(len(clauses))) + " ."


def _clause(rng: np.random.Generator, strength: float, *, negated: bool = False) -> str:
    """Something about one aspect, of about the given strength."""
    wanted = -strength if negated else strength
    distances = np.array([abs(level - wanted) for level in STRENGTHS])
    weights = np.exp(-6 * distances)
    level = float(rng.choice(list(STRENGTHS), p=weights / weights.sum()))
    word = _pick(rng, STRENGTHS[level])
    if negated:
        word = f"not {word}"
    elif rng.random() < 0.3:
        word = f"{_pick(rng, STRONGER if abs(strength) > abs(level) else WEAKER)} {word}"
    return _pick(rng, FRAMES).format(aspect=_pick(rng, ASPECTS), word=word)


def _rare_verdict(rng: np.random.Generator, *, good: bool) -> str:
    """A verdict that only its rare word decides; the word's frequency falls as one over its rank (Zipf)."""
    words = RARE_GOOD if good else RARE_BAD
    shares = 1 / np.arange(1, len(words) + 1)
    return _pick(rng, RARE_FRAMES).format(rare=words[int(rng.choice(len(words), p=shares / shares.sum()))])


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]
