"""When the storage is gone, and not only one machine's way to it.

If one machine has lost the storage, its trials fail and the others go on; if all trials that ran when the trouble began have failed by
it, and none has finished a round since, the storage is gone, and the launch ends instead of failing every trajectory that is left.
"""

from collections.abc import Set as AbstractSet


class Outage:
    """Whether the storage is gone: all that ran when its trouble began have failed by it, and no round was finished since."""

    def __init__(self) -> None:
        """No trouble yet."""
        self._awaited: set[str] | None = None

    def failed(self, running: AbstractSet[str]) -> None:
        """A trial failed by the storage; `running` are the trajectories that still run."""
        self._awaited = set(running) if self._awaited is None else self._awaited & running

    def worked(self) -> None:
        """A round was finished somewhere."""
        self._awaited = None

    @property
    def is_total(self) -> bool:
        """True once nothing is left to wait for."""
        return self._awaited is not None and not self._awaited
