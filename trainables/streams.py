"""Named random streams: every draw of a trajectory is keyed by (study seed, purpose, round) and by nothing else.

The key never holds the acquisition function, T, the order of trials, the worker or the machine. Two things follow. All arms of a
seed share their initial set, initial weights, subsample keys and dropout masks (common random numbers), which is what licenses
paired tests. And no random state ever needs saving: a stream is made anew from its key wherever and whenever it is needed.
"""

import hashlib

import numpy as np

INITIAL_SET = "initial labelled set"
INITIAL_WEIGHTS = "initial weights"
VALIDATION_KEYS = "validation split"
BATCH_ORDER = "batch order"
TRAINING_MASKS = "training masks"
SUBSAMPLE_KEYS = "pool subsample keys"
REVIEW_KEYS = "review keys"
ACQUISITION_DRAWS = "draws of the acquisition function"


def mc_masks(mc_pass: int) -> str:
    """The purpose that keys the masks of one MC pass: pass t is the same thinned network whatever T is."""
    return f"mc masks of pass {mc_pass}"


def stream(seed: int, purpose: str, round_: int) -> np.random.Generator:
    """A fresh generator for one purpose in one round, seeded by the SHA-256 of its name.

    Args:
        seed: the study seed, shared by all arms of a pair.
        purpose: what is drawn; one of this module's names.
        round_: the round, 0 for the initial set.
    """
    key = hashlib.sha256(f"{seed}\n{purpose}\n{round_}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(key, "big")))
