"""Where this machine keeps what can always be made again: encoded corpora, downloads and the compiled kernel."""

import os
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """``AL_SWEEP_CACHE``, else the user's cache folder."""
    own = os.environ.get("AL_SWEEP_CACHE")
    if own:
        return Path(own)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "al-sweep"
    except RuntimeError:  # a container's user often has no home
        return Path(tempfile.gettempdir()) / "al-sweep-cache"
