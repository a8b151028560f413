"""The reference of all settings, written from the config classes: `python -m imbalance_spark.config.reference`."""

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, fields
from inspect import cleandoc
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from imbalance_spark.config.run import RunConfig
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.threshold.objectives import OBJECTIVES

_HEAD = """# Configuration

Every setting of a run's YAML file, written by `python -m imbalance_spark.config.reference docs/configuration.md` from
the classes in `imbalance_spark/config*.py`. An unknown key is an error that names the nearest known one; all problems
of a file are said at once. `--set section.key=value` overrides a setting on the command line. *needed* marks what has
no default."""


_OBJECTIVES = """## Objectives

Entries of `objectives`: `{name: NAME, SETTING: VALUE, ...}`, or the name alone where nothing is needed."""


_PLAIN = {bool: "true or false", int: "whole number", float: "number", str: "text", Any: "any value", NoneType: "null"}


_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


_ARGUMENT = re.compile(r"^ {4}([\w, ]+): (.*)$")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the reference, or write it into the file that is named."""
    target = (sys.argv[1:] if argv is None else list(argv))[:1]
    if target:
        Path(target[0]).write_text(reference(), "utf-8")
    else:
        sys.stdout.write(reference())
    return 0


def reference() -> str:
    """The reference as Markdown.

    Raises:
        ConfigError: a setting has no meaning under `Args` of its class.
    """
    parts = [_HEAD]
    for place, kind in _sections(RunConfig, ""):
        parts += [f"## {place or 'The run'}", *_section(place, kind)]
    parts += [_OBJECTIVES, _table(("name", "settings", "what it chooses"), _objectives())]
    return "\n\n".join(parts) + "\n"


def _sections(kind: type[BaseModel], place: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """A section and those inside it, each with its dotted place."""
    yield place, kind
    for name, field in kind.model_fields.items():
        if (inner := _section_in(field.annotation)) is not None:
            yield from _sections(inner, f"{place}.{name}".removeprefix("."))


def _section(place: str, kind: type[BaseModel]) -> Iterator[str]:
    summary, meanings = read_docstring(kind)
    if absent := sorted(set(kind.model_fields) - set(meanings)):
        raise ConfigError(f"{kind.__name__}: {absent} have no meaning. Add them under Args of its docstring.")
    yield summary
    rows = [
        (f"`{name}`", _type_of(field, place, name), _default_of(field), meanings[name])
        for name, field in kind.model_fields.items()
    ]
    yield _table(("setting", "type", "default", "meaning"), rows)


def read_docstring(kind: type) -> tuple[str, dict[str, str]]:
    """What stands before `Args:` in a docstring, and the meaning of each argument; `a, b: text` is for both."""
    before, _, after = cleandoc(kind.__doc__ or "").partition("\n\nArgs:\n")
    meanings: dict[str, str] = {}
    names: list[str] = []
    for line in after.splitlines():
        if found := _ARGUMENT.match(line):
            names = found[1].split(", ")
            meanings |= dict.fromkeys(names, found[2])
        else:
            meanings |= {name: f"{meanings[name]} {line.strip()}".strip() for name in names}
    return " ".join(before.split()), meanings


def _type_of(field: FieldInfo, place: str, name: str) -> str:
    if _section_in(field.annotation) is not None:
        target = f"{place}.{name}".removeprefix(".")
        # Headings lose their dots where links name them.
        link = f"[{target}](#{target.replace('.', '')})"
        return f"list of {link}" if get_origin(field.annotation) is tuple else link
    return _describe(field.annotation, field.metadata)


def _describe(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        nested = [item for found in inner[1:] for item in getattr(found, "metadata", [found])]
        return _describe(inner[0], [*nested, *metadata])
    if origin in (Union, UnionType):
        return " or ".join(_describe(one) for one in inner)
    if origin is Literal:
        return ("one of " if len(inner) > 1 else "") + ", ".join(f"`{value}`" for value in inner)
    if origin is tuple:
        return f"list of {_describe(inner[0])}"
    if origin is dict:
        return f"map of {_describe(inner[0])} to {_describe(inner[1])}"
    return ", ".join([_PLAIN[annotation], *_limits(metadata)])


def _limits(metadata: Sequence[Any]) -> Iterator[str]:
    for item in metadata:
        if getattr(item, "pattern", None):
            yield f"as `{item.pattern}`"
        for bound, words in _BOUNDS.items():
            if (limit := getattr(item, bound, None)) is not None:
                yield f"{words} {limit:,}" if isinstance(limit, int) else f"{words} {limit:g}"


def _default_of(field: FieldInfo) -> str:
    if field.is_required():
        return "*needed*"
    if _section_in(field.annotation) is not None:
        return ""
    return f"`{json.dumps(field.default)}`"


def _section_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _section_in(part))), None)


def _objectives() -> Iterator[tuple[str, ...]]:
    for key, kind in OBJECTIVES.items():
        settings = {one.name: one.default for one in fields(kind)}
        yield f"`{key}`", ", ".join(map(_setting, settings.items())), read_docstring(kind)[0]


def _setting(item: tuple[str, Any]) -> str:
    name, default = item
    return f"`{name}` *needed*" if default is MISSING else f"`{name}` {json.dumps(default)}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
