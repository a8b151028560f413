"""Expressions of costs: a line for each, against Python's own arithmetic; nothing in them is ever executed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imbalance_spark.core.errors import ConfigError
from imbalance_spark.core.expression import Expression, Line

CONSTANTS = st.floats(0.1, 50.0).map(lambda number: f"{number:.3f}")
TEXTS = st.recursive(
    st.one_of(CONSTANTS, st.just("amount")),
    lambda parts: st.one_of(
        st.tuples(parts, st.sampled_from("+-"), parts).map(lambda three: f"({three[0]} {three[1]} {three[2]})"),
        st.tuples(parts, st.sampled_from("*/"), CONSTANTS).map(lambda three: f"{three[0]}{three[1]}{three[2]}"),
        parts.map(lambda part: f"-({part})"),
    ),
    max_leaves=6,
)


@given(TEXTS.filter(lambda text: len(text) <= 200), st.floats(0.0, 1000.0))
def test_a_line_is_what_python_computes(text: str, amount: float) -> None:
    line = Expression(text, "fn").line_in("amount")
    wanted = eval(text, {"amount": amount})
    assert line.slope * amount + line.constant == pytest.approx(wanted, rel=1e-9, abs=1e-6)


def test_a_number_is_a_line_without_a_slope() -> None:
    assert Expression.of(10, "fn").line_in("amount") == Line(0.0, 10.0)
    assert Expression.of("10", "fn").line_in("amount") == Line(0.0, 10.0)


@pytest.mark.parametrize(("text", "said"), [
    ("amount *", "position 9"),
    ("", "position 1"),
    ("1 + open('x')", r"\"open\('x'\)\" at position 5 is not allowed"),
    ("().__class__", "'().__class__' at position 1 is not allowed".replace("(", r"\(").replace(")", r"\)")),
    ("amount ** 2", "position 1 is not allowed"),
    ("amount if amount else 1", "is not allowed"),
    ("True", "is not allowed"),
    ("'a'", "is not allowed"),
    ("1e400", "is not finite"),
    ("1 / 0", "divides by 0"),
    ("1 / amount", "is no straight line"),
    ("2 + amount * amount", "at position 5 is no straight line"),
    ("max(amount, 15)", "is not allowed"),
    ("price * 2", r"reads \['price'\]. It may read 'amount' alone"),
    ("1" * 300, "300 characters"),
    ("(" * 199 + "1", "no arithmetic expression"),
])  # fmt: skip
def test_what_is_no_line_is_refused_with_its_place(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"^fn: .*{said}"):
        Expression(text, "fn").line_in("amount")


def test_the_deepest_nesting_that_fits_is_read() -> None:
    assert Expression("-" * 198 + "1", "fn").line_in("amount").constant == 1.0
