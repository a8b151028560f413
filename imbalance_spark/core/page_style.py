"""The style that all HTML pages share: wide tables scroll inside the page, and there is a dark mode."""

from importlib import resources

from markupsafe import Markup


def page_style() -> Markup:
    """The contents of a page's `style` element."""
    return Markup(resources.files(__package__).joinpath("page.css").read_text("utf-8"))  # noqa: S704  # our own file
