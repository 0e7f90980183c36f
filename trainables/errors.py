"""The ways in which work here ends badly, told apart because each asks something else of the reader."""


class RequestError(Exception):
    """What was asked for cannot be done as asked: nothing was started. The message names place, value, rule and remedy."""


class ComputationError(Exception):
    """The computation itself went wrong (NaN, a bug in a score): repeating it would repeat the error."""


class SupersededError(Exception):
    """Another writer has committed this round: whoever learns of it goes on from what is there."""


class LedgerError(Exception):
    """A ledger holds something that cannot be trusted. Nothing is guessed and nothing is deleted."""


class StorageError(OSError):
    """The storage is full, read-only, or has been gone for longer than was worth waiting: no fault of what was computed."""


class NodeError(Exception):
    """A machine cannot run trials of this launch; the message names it, what it lacks, and the remedy."""
