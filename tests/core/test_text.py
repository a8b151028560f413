"""Names that hide something, and text that is shown."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imbalance_spark.core.masking import LONGEST_NAME, is_plain, visible
from imbalance_spark.core.progress import Progress


@pytest.mark.parametrize(
    "name", ["amount (€), net", "число", "金額 [1]", "a" * LONGEST_NAME, "<script>", "=cmd()", "'", '"']
)
def test_a_name_in_any_script_with_any_sign_is_plain(name: str) -> None:
    assert is_plain(name)


@pytest.mark.parametrize(
    "name", ["a\x00", "a\nb", "a\tb", "\x1b[31m", "a\u202eb", "\u200fa", "a\u2028b", "\ud800", "a" * 1001]
)
def test_a_name_that_hides_something_is_not_plain(name: str) -> None:
    assert not is_plain(name)


@settings(max_examples=30)
@given(st.text(max_size=20))
def test_shown_text_is_one_printable_line_and_printable_text_stays(text: str) -> None:
    assert visible(text).isprintable()
    assert visible(text) == text or not text.isprintable()


def test_what_a_stage_says_cannot_move_the_cursor_or_forge_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(("read",)).step("read") as step:
        step.says("orders\x1b[2K\nERROR 0: all is well")
    assert "orders\\x1b[2K\\x0aERROR 0: all is well" in capsys.readouterr().err
