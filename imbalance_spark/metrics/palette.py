"""One look for each strategy in every picture: colours for colour-blind eyes too, dashes and marks for grey print."""

from dataclasses import dataclass
from zlib import crc32

_COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
"""Okabe and Ito (2008), yellow left out since it is lost on white."""
_DASHES: tuple[tuple[float, ...], ...] = ((), (6, 2), (2, 1.5), (8, 2, 2, 2), (4, 1, 1, 1, 1, 1))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_NAMED = (
    *("none", "undersample", "oversample", "class_weight", "scale_pos_weight", "balanced_sketch", "focal", "smote"),
    *("borderline_smote", "adasyn", "smote_nc", "smote_tomek", "undersample_ensemble", "logistic_class_weight"),
    "isolation_forest",
)


@dataclass(frozen=True, kw_only=True)
class Look:
    """How a strategy is drawn: a colour, dash lengths in points (none means a solid line), and matplotlib's marker."""

    colour: str
    dashes: tuple[float, ...]
    marker: str


def look_of(strategy: str) -> Look:
    """The strategy's look, which follows from its name alone, whatever else is in the picture."""
    place = _NAMED.index(strategy) if strategy in _NAMED else crc32(strategy.encode())
    # 8 colours, 5 dashes and 7 markers have no common factor: 280 looks before one comes back.
    return Look(
        colour=_COLOURS[place % len(_COLOURS)],
        dashes=_DASHES[place % len(_DASHES)],
        marker=_MARKERS[place % len(_MARKERS)],
    )
