"""Names of the array types that the science passes around.

Letters at the end of an array's name are its axes: N reviews, B reviews of a batch, L tokens, T passes, C classes, V vocabulary,
E embedding, H hidden.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int64]
"""Positions of reviews in a corpus."""
