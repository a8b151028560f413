"""The lowest few of many scores."""

import numpy as np
import numpy.typing as npt


def lowest(
    scores: npt.NDArray[np.floating], wanted: int, grouped: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.floating]]:
    """Columns and values of the `wanted` lowest scores of each row, in any order; any of equally low ones.

    The lowest scores lie in the groups with the lowest minima: a minimum is much cheaper than a selection.

    Args:
        scores: (rows, columns), columns a multiple of `grouped`.
        grouped: scores whose minimum stands for them in the first selection.
    """
    groups = scores.shape[1] // grouped
    if groups <= wanted:
        columns = np.argpartition(scores, wanted - 1, axis=1)[:, :wanted]
        return columns, np.take_along_axis(scores, columns, axis=1)
    minima = scores.reshape(len(scores), grouped, groups).min(axis=1)
    near = np.argpartition(minima, wanted - 1, axis=1)[:, :wanted]
    columns = (near[:, None, :] + groups * np.arange(grouped)[None, :, None]).reshape(len(scores), -1)
    values = np.take_along_axis(scores, columns, axis=1)
    inside = np.argpartition(values, wanted - 1, axis=1)[:, :wanted]
    return np.take_along_axis(columns, inside, axis=1), np.take_along_axis(values, inside, axis=1)
