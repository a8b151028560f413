"""The page of a comparison from its contents as JSON values and its figures: what was logged suffices to make it."""

import base64
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from imbalance_spark.core.errors import DataContractError
from imbalance_spark.core.page_style import page_style

LAYOUT = 1
"""Number of what `page.page_content` gives: another one needs another template."""

_CAPTIONS = {
    "comparison": "How good is each strategy, and how sure is that? Validation decides, test confirms.",
    "gain_over_plain": "Does it rank better than plain boosting? Only where the interval leaves 0 out.",
    "savings_over_plain": "Is it cheaper than plain boosting? Only where the interval leaves 0 out.",
    "thresholds": "What moving the best strategy's threshold does, and where each objective puts it.",
    "confusion_matrix": "What the best strategy does at its threshold, counted on test.",
    "cost": "Which strategy is cheapest if a miss costs more, or less, than configured? Lower is better.",
    "precision_recall": "How many alarms are right, for each share of the positives that is found.",
    "roc": "The share of positives found, for each false positive rate.",
    "detection_error_tradeoff": "False negative against false positive rate, small rates spread. Lower left is better.",
    "gain_and_lift": "What is found, and how many times more often than by chance, if the highest scores are flagged.",
    "reliability": "Do predicted probabilities come true? On the dotted line they do; within the grey band, by chance.",
    "over_time": "Does it last? Each window is judged by fits on the days before it; on the dotted line p is right.",
    "importance": "Which features move the best strategy's scores, and how far? The mean over a sample of test rows.",
    "scores": "How the best strategy's scores separate the classes.",
}


_CLASS_CAPTIONS = {"confusion_matrix": "True and decided classes, by the best strategy's serving rule on test."}


_SECTIONS = {
    "strategies": ("comparison", "gain_over_plain", "savings_over_plain"),
    "operating-point": ("thresholds", "confusion_matrix", "cost"),
    "curves": ("precision_recall", "roc", "detection_error_tradeoff", "gain_and_lift"),
    "probabilities": ("reliability", "scores"),
    "features": ("importance",),
    "over-time": ("over_time",),
}
"""Figures by the section that shows them."""


_OF_CLASS = ("precision_recall", "reliability")
"""Figures of each of K classes."""


def render_page(content: Mapping[str, Any], images: Mapping[str, bytes]) -> str:
    """One self-contained page; every name in it is escaped.

    Args:
        content: of `page.page_content`, also after it was JSON.
        images: PNGs by name, such as `roc`.

    Raises:
        DataContractError: the contents are of another layout, or a figure is missing.
    """
    if content.get("layout") != LAYOUT:
        raise DataContractError(
            f"report.json has layout {content.get('layout')!r}, this version makes pages of layout {LAYOUT}. Use the "
            "version of imbalance_spark that logged it, see the run's tag imbalance_spark.version."
        )
    captions = _CAPTIONS | _CLASS_CAPTIONS if content["class_names"] else _CAPTIONS
    shown = {name: (captions.get(name, name), _address(image)) for name, image in images.items()}
    of_classes = [
        (name, [(f"{name}: {captions[kind]}", _taken(shown, f"{kind}_{number}")) for kind in _OF_CLASS])
        for number, name in enumerate(content["class_names"])
    ]
    placed = {name for names in _SECTIONS.values() for name in names}
    values = {
        **content,
        "style": page_style(),
        "explorer": _explorer(content["explorer"]),
        "images": {section: [shown[n] for n in names if n in shown] for section, names in _SECTIONS.items()},
        "of_classes": of_classes,
        "others": [image for name, image in shown.items() if name not in placed],
    }
    return Environment(autoescape=True).from_string(_file("page.html.j2")).render(values)


def _taken(shown: dict[str, tuple[str, str]], name: str) -> str:
    if name not in shown:
        raise DataContractError(f"the report has no figure {name!r}, it has {sorted(shown)}. Log the run again.")
    return shown.pop(name)[1]


def _explorer(data: Mapping[str, Any] | None) -> Markup:
    """The explorer with its numbers; nothing for K classes."""
    if data is None:
        return Markup("")
    # Inside a script element only "</" and "<!--" could end or change it; JSON knows no other use of "<" than in texts.
    safe = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    template = Environment(autoescape=True).from_string(_file("explorer.html.j2"))
    return Markup(template.render(data=Markup(safe), script=Markup(_file("explorer.js"))))  # noqa: S704  # our own files


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def _address(png: bytes) -> str:
    """The address of an image that holds the image itself."""
    return "data:image/png;base64," + base64.b64encode(png).decode()
