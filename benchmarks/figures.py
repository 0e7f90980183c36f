"""What a compared trajectory says of one round."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RoundFigures:
    """One round's test accuracy and wall seconds."""

    accuracy: float
    """On the test set, dropout off."""
    train_seconds: float
    score_seconds: float
    """Choosing the subsample, scoring it and acquiring; 0 or nearly so in the last round."""
    evaluate_seconds: float
