"""The section `search` of a config: how XGBoost's parameters are searched."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from imbalance_spark.core.section import Name, Section, Share
from imbalance_spark.train_only.search.space import parse_space


class SearchConfig(Section):
    """A search for XGBoost's parameters, of each strategy by itself, on rows of train alone; see docs/search.md.

    Args:
        method: `successive_halving` fits all trials on few rounds and rows, and the best of them on more; `random` fits
            each on all; `tpe` likewise, and draws by what earlier trials were worth (needs
            `pip install imbalance_spark[search]`).
        trials: sets of parameters of each strategy; the first is that of the config.
        factor: of successive halving: one of so many trials is fitted again, at so many times the cost.
        fraction: share of train, by key, group or time as `split.by` says, that judges the trials and that none of them
            is fitted on.
        space: what is searched: by parameter a list of values, or `{low: , high: }` with `log: true` for orders of
            magnitude. By default a space for rare classes.
        strategies: names of those whose parameters are searched; by default all that XGBoost fits.
    """

    method: Literal["successive_halving", "random", "tpe"] = "successive_halving"
    trials: Annotated[int, Field(ge=2, le=1000)] = 20
    factor: Annotated[int, Field(ge=2, le=10)] = 3
    fraction: Share = 0.2
    space: dict[str, Any] = {}
    strategies: tuple[Name, ...] = ()

    @field_validator("space")
    @classmethod
    def _can_be_drawn(cls, space: dict[str, Any]) -> dict[str, Any]:
        parse_space(space)
        return space
