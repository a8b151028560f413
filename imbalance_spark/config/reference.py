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
from imbalance_spark.config.yaml_file import sections_in
from imbalance_spark.core.errors import ConfigError
from imbalance_spark.threshold.objectives import OBJECTIVES

_HEAD = """# Configuration

Every setting of a run's YAML file, written by `python -m imbalance_spark.config.reference docs/configuration.md` from
the config classes of the package. An unknown key is an error that names the nearest known one; all problems of a file
are reported at once. `--set section.key=value` overrides a setting on the command line. *needed* marks what has
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
    for place, section, kinds in _sections(RunConfig, ""):
        parts += [f"## {place or 'The run'}", *_section(place, section, kinds)]
        for kind in kinds:
            parts += [f"### {place}: `{_name_of(kind)}`", *_settings_of_kind(place, kind, section)]
    parts += [_OBJECTIVES, _table(("name", "settings", "what it chooses"), _objectives())]
    return "\n\n".join(parts) + "\n"


def _sections(section: type[BaseModel], place: str) -> Iterator[tuple[str, type[BaseModel], Sequence[type[BaseModel]]]]:
    """A section and those inside it, each with its dotted place; of a union what its kinds share, and the kinds."""
    yield place, section, ()
    for name, field in section.model_fields.items():
        inside, inner = sections_in(field.annotation), f"{place}.{name}".removeprefix(".")
        if len(inside) > 1:
            yield (
                inner,
                next(base for base in inside[0].__mro__ if all(issubclass(one, base) for one in inside)),
                inside,
            )
        elif inside:
            yield from _sections(inside[0], inner)


def _section(place: str, section: type[BaseModel], kinds: Sequence[type[BaseModel]]) -> Iterator[str]:
    summary, rows = read_docstring(section)[0], _rows(place, section, section.model_fields)
    yield summary
    if kinds:
        names = ", ".join(f"`{_name_of(kind)}`" for kind in kinds)
        rows = [(name, f"one of {names}" if name == "`kind`" else form, *rest) for name, form, *rest in rows]
    yield _table(("setting", "type", "default", "meaning"), rows)


def _settings_of_kind(place: str, kind: type[BaseModel], shared: type[BaseModel]) -> Iterator[str]:
    yield read_docstring(kind)[0]
    own = [name for name in kind.model_fields if name not in shared.model_fields]
    if rows := _rows(place, kind, own):
        yield _table(("setting", "type", "default", "meaning"), rows)


def _rows(place: str, section: type[BaseModel], names: Iterable[str]) -> list[tuple[str, ...]]:
    # A kind's docstring leaves to its bases what it has from them.
    documented = [base for base in reversed(section.__mro__) if issubclass(base, BaseModel) and base is not BaseModel]
    meanings = {name: meaning for base in documented for name, meaning in read_docstring(base)[1].items()}
    if absent := sorted(set(section.model_fields) - set(meanings)):
        raise ConfigError(f"{section.__name__}: {absent} have no meaning. Add them under Args of its docstring.")
    fields_of = section.model_fields
    return [
        (f"`{name}`", _type_of(fields_of[name], place, name), _default_of(fields_of[name]), meanings[name])
        for name in names
    ]


def _name_of(kind: type[BaseModel]) -> str:
    return str(kind.model_fields["kind"].default)


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
    if sections_in(field.annotation):
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
    if sections_in(field.annotation):
        return ""
    return f"`{json.dumps(field.default)}`"


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
