"""YAML to `RunConfig`: a small, safe dialect, and all problems of a file in one error."""

import hashlib
import json
import re
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from imbalance_spark.core.errors import ConfigError, nearest
from imbalance_spark.core.masking import SECRET_NAME, masked_settings
from imbalance_spark.core.section import Section
from imbalance_spark.core.version import __version__

Model = TypeVar("Model", bound=BaseModel)


_LONGEST_FILE = 1_000_000
_DEEPEST = 12
_NOT_OF_THE_RESULT: dict[str, Any] = {
    "training": {"stall_limit_s", "max_fit_attempts", "slot_wait_s", "peer_timeout_s"},
    # What is registered follows from the results, and is decided again each time that a run is resumed.
    "gate": {"incomparable", "minimum", "require_reachable", "require_ledger"},
    "tracking": {"uri"},
    "monitoring": True,
}


class _Loader(yaml.SafeLoader):
    """YAML with JSON's idea of scalars: no `yes` for True, no octal, no base 60, `1e-3` a number.

    Sequences become tuples; tags, anchors and repeated keys are refused.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}  # PyYAML's own way to drop YAML 1.1's

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise ConfigError(f"line {line}: anchors and aliases are not supported; write the value out")
        if getattr(event, "tag", None):
            raise ConfigError(f"line {line}: tags such as {event.tag} are not supported; write a plain value")
        if isinstance(event, yaml.CollectionStartEvent):
            self._refuse_depth(line)
        return super().compose_node(parent, index)

    def _refuse_depth(self, line: int) -> None:
        # Each open collection has about one state on the parser's stack.
        if len(self.states) > 2 * _DEEPEST:
            raise ConfigError(f"line {line}: nested deeper than {_DEEPEST} levels")

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        found: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError(f"line {line}: a key must be a plain value")
            key = self.construct_object(key_node, deep=True)
            if key in found or str(key) in map(str, found):
                raise ConfigError(f"line {line}: duplicate key {key!r}")
            found[key] = self.construct_object(value_node, deep=True)
        return found


def _construct_tuple(loader: _Loader, node: yaml.SequenceNode) -> tuple[Any, ...]:
    return tuple(loader.construct_object(child, deep=True) for child in node.value)


def _construct_map(loader: _Loader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:seq", _construct_tuple)
_Loader.add_constructor("tag:yaml.org,2002:map", _construct_map)


_EXPONENT = r"(?:[eE][-+]?[0-9]+)"
_DIGITS = 400  # of an integer; with more it is text, as Python refuses to read thousands of digits
for _tag, _pattern, _first in (
    ("bool", r"^(?:true|false)$", "tf"),
    ("null", r"^(?:null|~|)$", ["n", "~", ""]),
    ("int", rf"^-?(?:0|[1-9][0-9]{{0,{_DIGITS - 1}}})$", "-0123456789"),
    (
        "float",
        rf"^-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]+{_EXPONENT}?|\.?{_EXPONENT})|\.[0-9]+{_EXPONENT}?)$",
        "-0123456789.",
    ),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))


def load_config(path: str, kind: type[Model], overrides: Sequence[str] = ()) -> Model:
    """Read a YAML file, apply `section.key=value` overrides, and validate the result.

    Args:
        path: the file, of at most 1 MB.
        kind: the config class.
        overrides: as given to `--set`; values are parsed as YAML.

    Raises:
        ConfigError: the file or a setting is invalid; all problems at once, each with its dotted path and,
            for an unknown key, the nearest known one.
    """
    return parse(read_yaml(path, overrides), kind, path)


def read_yaml(path: str, overrides: Sequence[str] = ()) -> dict[Any, Any]:
    """The file's mapping with the overrides applied, before validation."""
    data = parse_yaml(_read(path), path)
    for override in overrides:
        _apply(data, override)
    return data


def parse(data: dict[Any, Any], kind: type[Model], where: str) -> Model:
    """Validate parsed settings; a `ConfigError` lists every problem with its dotted path."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise ConfigError.of_all([f"{where}: {_problem(item, kind)}" for item in error.errors()]) from None


def parse_yaml(text: str, where: str) -> dict[Any, Any]:
    """The mapping in a YAML text, in the dialect of `_Loader`."""
    try:
        data = yaml.load(text, Loader=_Loader)  # noqa: S506  # a SafeLoader with less, not more
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise ConfigError(f"{where} line {line}: not YAML: {error.problem}.") from None
    except yaml.YAMLError:
        raise ConfigError(f"{where}: not YAML: it contains a character that YAML forbids.") from None
    except ConfigError as error:
        raise ConfigError(f"{where} {error}.") from None
    if not isinstance(data, dict):
        found = "nothing" if data is None else f"a {type(data).__name__}"
        raise ConfigError(f"{where}: the file must have `key: value` lines at its top level, it has {found}.")
    return data


def dump(config: Section) -> dict[str, Any]:
    """The whole config, defaults included, as JSON-able values."""
    return config.model_dump(mode="json")


def config_hash(config: Section) -> str:
    """A hash of the code's version and all settings that affect the result, defaults included, in any order of keys.

    Timeouts, retry counts, what is monitored later, what the gate asks of the best model, the address of the MLflow
    store, and the memory, cores and places of Spark are left out: a run may be resumed with others.
    """
    asked = config.model_dump(mode="json", exclude=_NOT_OF_THE_RESULT)
    if "spark" in asked:
        settings = asked["spark"]["settings"]
        asked["spark"] = {name: value for name, value in settings.items() if name.startswith("spark.sql.")}
    return hashlib.sha256(json.dumps([__version__, asked], sort_keys=True).encode()).hexdigest()


def _read(path: str) -> str:
    file = Path(path)
    if not file.is_file():
        raise ConfigError(f"--config: there is no file {path!r}. Give the path of a YAML file.")
    if file.stat().st_size > _LONGEST_FILE:
        raise ConfigError(f"{path}: larger than {_LONGEST_FILE:,} bytes, too large for a config.")
    try:
        return file.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8. Save it as UTF-8 text.") from None


def _apply(data: dict[Any, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise ConfigError(f"--set {override!r}: must read section.key=value, such as split.seed=7.")
    *sections, last = path.split(".")
    target = data
    for section in sections:
        target = target.setdefault(section, {})
        if not isinstance(target, dict):
            raise ConfigError(f"--set {override!r}: {section!r} is not a section.")
    target[last] = parse_yaml(f"value: {text}", f"--set {path}")["value"]


def _problem(item: Any, kind: type[BaseModel]) -> str:
    location, section, tag = _follow(kind, item["loc"])
    place = ".".join(map(str, location)) or "config"
    if item["type"] == "extra_forbidden":
        known = set(section.model_fields)
        of_kind = f" of kind {tag!r}" if tag else ""
        return f"{place}: unknown key{of_kind}.{nearest([location[-1]], known)} Known: {sorted(known)}."
    if item["type"] == "missing":
        return f"{place}: missing. Add it."
    if item["type"] == "union_tag_not_found":
        return f"{place}: kind is missing. Add it, or give the kind alone."
    if item["type"] == "union_tag_invalid":
        kinds = [kind.strip("'") for kind in item["ctx"]["expected_tags"].split(", ")]
        return (
            f"{place}: there is no kind {item['ctx']['tag']!r}.{nearest([item['ctx']['tag']], kinds)} Known: {kinds}."
        )
    message = str(item["msg"]).removeprefix("Value error, ")
    is_plain = isinstance(item["input"], int | float | str | bool | None)
    # A secret may be the value, and a part of the message.
    if SECRET_NAME.search(place):
        return f"{place}: is no value of the right type. It is not shown, as its name is that of a secret."
    return f"{place}: {message}" + (f", got {masked_settings(item['input'])!r}." if is_plain else ".")


def _follow(kind: type[BaseModel], location: Sequence[Any]) -> tuple[list[Any], type[BaseModel], str]:
    """The place as the file has it, the section that its last key is in, and that section's kind where it has one."""
    place: list[Any] = []
    section, tag, inside = kind, "", sections_in(kind)
    for part in location:
        if len(inside) > 1 and (chosen := [one for one in inside if _kind_of(one) == part]):
            # Of a union pydantic names the kind, which is no key of the file.
            section, tag, inside = chosen[0], str(part), []
            continue
        place.append(part)
        if isinstance(part, int):
            continue
        if len(inside) == 1:
            section, tag = inside[0], ""
        field = section.model_fields.get(part)
        inside = sections_in(field.annotation) if field else []
    return place, section, tag


def _kind_of(section: type[BaseModel]) -> Any:
    return section.model_fields["kind"].default if "kind" in section.model_fields else None


def sections_in(annotation: Any) -> list[type[BaseModel]]:
    """The config classes inside `X`, `X | None`, `tuple[X, ...]` or a union of kinds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for part in get_args(annotation) for section in sections_in(part)]
