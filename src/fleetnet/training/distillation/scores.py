"""Files of a teacher's answers to the images of a source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fleetnet.errors import DataError


def read_scores(path: str | Path, samples: int | None, classes: int) -> Tensor:
    """Read the logarithms of probabilities, ``float32[N, K]``, of a source's images.

    Args:
        path: an ``.npy`` file.
        samples: how many images there are; None if not known.
        classes: how many classes.

    Raises:
        DataError: there is no such file, it is not one of numbers, or of other images or classes.
    """
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise DataError(
            f"cannot read the scores {path}: {reason or 'it is no .npy file'}", file=str(path)
        ) from None
    wanted = (len(found) if samples is None and found.ndim else samples, classes)
    if found.dtype != np.float32 or found.shape != wanted:
        raise DataError(
            f"{path} holds {found.dtype}{list(found.shape)}, not the scores of these images, "
            f"float32{list(wanted)}: compute them anew",
            file=str(path),
        )
    if not np.isfinite(found).all():
        raise DataError(f"{path} holds scores that are not numbers: compute them anew")
    return torch.from_numpy(found)
