"""Which strategies a search is about, and what it draws of each."""

from collections.abc import Iterator, Sequence

from imbalance_spark.core.errors import nearest
from imbalance_spark.train_only.search.config import SearchConfig
from imbalance_spark.train_only.search.space import DEFAULT_SPACE, Space, parse_space
from imbalance_spark.train_only.strategies.base import Strategy


def spaces_of(search: SearchConfig | None, strategies: Sequence[Strategy]) -> dict[str, Space]:
    """The space of each strategy whose parameters are searched, by its name.

    Strategies that XGBoost does not fit have no space, nor have those that `search.strategies` leaves out. What a
    strategy sets itself is not searched.
    """
    if search is None:
        return {}
    space = parse_space(search.space) or DEFAULT_SPACE
    return {
        strategy.name: {name: space[name] for name in space if name in strategy.searchable - strategy.set_params()}
        for strategy in _searched(search, strategies)
    }


def search_problems(search: SearchConfig, strategies: Sequence[Strategy]) -> Iterator[str]:
    """What the strategies of a run do not allow of a search, each with what to do."""
    by_name = {strategy.name: strategy for strategy in strategies}
    if unknown := [name for name in search.strategies if name not in by_name]:
        yield f"search.strategies: there is no strategy {unknown}.{nearest(unknown, by_name)} Known: {sorted(by_name)}"
    if unboosted := [name for name in search.strategies if name in by_name and not by_name[name].searchable]:
        yield f"search.strategies: XGBoost does not fit {unboosted}, which have none of its parameters: leave them out"
    searched = list(_searched(search, strategies))
    for name in parse_space(search.space):
        if setting := [one.name for one in searched if name in one.set_params()]:
            yield (
                f"search.space: the strategies {setting} set {name} themselves: leave it out of the space or of the "
                "strategies, or name those to search under search.strategies"
            )
        elif not any(name in one.searchable for one in searched):
            yield f"search.space: none of the strategies {[one.name for one in searched]} has {name}: leave it out"
    if useless := [name for name, space in spaces_of(search, strategies).items() if not space]:
        yield f"search.space: the strategies {useless} have none of its parameters left to search: add one"
    if not searched and not search.strategies:
        yield "search: XGBoost fits none of the strategies, so that there is nothing to search: leave search out"


def _searched(search: SearchConfig, strategies: Sequence[Strategy]) -> list[Strategy]:
    named = [one for one in strategies if one.name in (search.strategies or (one.name,))]
    return [strategy for strategy in named if strategy.searchable]
