"""JSON to dataclasses without a guess: what does not fit is refused, by its path, with what is allowed."""

import contextlib
import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import cattrs
import cattrs.gen

from t5lite.core.bounded_reads import read_at_most
from t5lite.core.errors import ConfigError, NewerVersionError, UserError, suggestion
from t5lite.core.json_text import MAX_BYTES, parse_json
from t5lite.core.migrations import Versions
from t5lite.core.storage.addresses import StoragePath

T = TypeVar("T")
_TAG = "type"


class StrictJson:
    """Reads and writes frozen dataclasses of scalars, Literals, tuples, mappings, dataclasses, or None.

    Unknown and missing fields, values of another type (an int is a float, nothing else is converted) and
    numbers that are not finite are errors.

    Args:
      unions: union types of dataclasses; their JSON objects carry the class's name as ``type``.
      versions: of the kinds whose files say theirs.
    """

    def __init__(self, *, unions: Sequence[Any] = (), versions: Mapping[type, Versions] | None = None):
        self._versions = versions or {}
        self._converter = converter = cattrs.Converter(forbid_extra_keys=True)
        for scalar in (int, str, bool, float):
            converter.register_structure_hook(scalar, _strict(scalar))
        converter.register_structure_hook_func(lambda kind: get_origin(kind) is Literal, _literal)
        converter.register_structure_hook_func(_is_number_or_word, self._number_or_word)
        converter.register_structure_hook_func(lambda kind: get_origin(kind) is tuple, self._tuple)
        converter.register_structure_hook_func(lambda kind: get_origin(kind) is Mapping, self._mapping)
        converter.register_structure_hook_factory(dataclasses.is_dataclass, self._object)
        for union in unions:
            converter.register_structure_hook_func(lambda kind, union=union: kind == union, self._tagged)
            converter.register_unstructure_hook(union, self._with_tag(union))

    def unstructure(self, value: Any, kind: Any) -> Any:
        """Return the JSON form of ``value``, an instance of ``kind``, with its version if it has one."""
        content = self._converter.unstructure(value, kind)
        return self._versions[kind].stamped(content) if kind in self._versions else content

    def parse(self, text: str, kind: type[T], *, name: str) -> T:
        """Return the ``kind`` that ``text`` describes.

        Args:
          text: JSON.
          kind: a dataclass.
          name: what is read, for messages.

        Raises:
          ConfigError: for malformed JSON, a newer version or anything that does not fit; all that is wrong
            in one line.
        """
        try:
            content = parse_json(text)
        except json.JSONDecodeError as error:
            raise ConfigError(f"{name} is not JSON: {error}") from error
        except ValueError as error:
            raise ConfigError(f"{name}: {error}") from error
        return self.structure(content, kind, name=name)

    def structure(self, content: Any, kind: type[T], *, name: str) -> T:
        """Return the ``kind`` that a JSON value describes; errors as of ``parse``."""
        if kind in self._versions:
            content = self._versions[kind].migrated(content, name=name)
        try:
            return self._converter.structure(content, kind)
        except (cattrs.BaseValidationError, ValueError, UserError) as error:
            raise ConfigError(f"{name}: {'; '.join(_explain(error))}") from error

    def read(self, path: StoragePath, kind: type[T]) -> T:
        """Return the ``kind`` that a file describes.

        Raises:
          ConfigError: if the file cannot be read, and as ``parse``.
        """
        return self.parse(read_text(path), kind, name=str(path))

    def _number_or_word(self, value: Any, kind: Any) -> Any:
        """Structure a union of scalars and one Literal."""
        scalars = [each for each in get_args(kind) if each in (int, float)]
        if value is None and type(None) in get_args(kind):
            return None
        words = [word for each in get_args(kind) if get_origin(each) is Literal for word in get_args(each)]
        if isinstance(value, str) and value in words:
            return value
        for scalar in scalars:
            with contextlib.suppress(ValueError):
                return self._converter.structure(value, scalar)
        names = [*(scalar.__name__ for scalar in scalars), *map(repr, words)]
        raise ValueError(f"{value!r} is none of {', '.join(names)}")

    def _tuple(self, value: Any, kind: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{value!r} is not a list")
        kinds = get_args(kind)
        if kinds[-1] is Ellipsis:
            kinds = kinds[:1] * len(value)
        if len(value) != len(kinds):
            raise ValueError(f"{value!r} has {len(value)} items; it needs {len(kinds)}")
        return tuple(self._converter.structure(item, kind) for item, kind in zip(value, kinds, strict=True))

    def _mapping(self, value: Any, kind: Any) -> dict[str, Any]:
        """Structure the values, each as if it were the field of an object."""
        if not isinstance(value, dict):
            raise ValueError(f"{value!r} is not an object")
        structured, problems, (_, kind) = {}, [], get_args(kind)
        for name, item in value.items():
            try:
                structured[name] = self._converter.structure(item, kind)
            except (ExceptionGroup, ValueError, UserError) as error:
                error.__notes__ = [cattrs.AttributeValidationNote(f"field {name}", name, kind)]
                problems.append(error)
        if problems:
            raise ExceptionGroup("mapping", problems)
        return structured

    def _object(self, kind: Any) -> Callable[[Any, Any], Any]:
        structure = cattrs.gen.make_dict_structure_fn(kind, self._converter, _cattrs_forbid_extra_keys=True)

        def checked(value: Any, kind: Any) -> Any:
            if not isinstance(value, dict):
                raise ValueError(f"{value!r} is not an object with the fields of {kind.__name__}")
            return structure(value, kind)

        return checked

    def _with_tag(self, union: Any) -> Callable[[Any], dict[str, Any]]:
        """Return what writes any of the kinds of a union.

        Unlike ``cattrs.strategies.configure_tagged_union`` it makes no code for a kind before there is one,
        which for all that a run may be would be a tenth of the start of a command.
        """
        tags = {kind: kind.__name__ for kind in get_args(union)}
        return lambda value: {**self._converter.unstructure(value), _TAG: tags[type(value)]}

    def _tagged(self, value: Any, union: Any) -> Any:
        kinds = {kind.__name__: kind for kind in get_args(union)}
        tag = value.get(_TAG) if isinstance(value, dict) else None
        if not isinstance(tag, str):
            raise ValueError(f"needs an object whose {_TAG!r} is one of {', '.join(sorted(kinds))}")
        if tag not in kinds:
            raise ValueError(f"unknown {_TAG} {tag!r}{suggestion(tag, kinds)}")
        return self._converter.structure({k: v for k, v in value.items() if k != _TAG}, kinds[tag])


@contextmanager
def remedied(remedy: str) -> Iterator[None]:
    """Say in the errors of reading a damaged file what to do; not in those of one that cannot be read."""
    try:
        yield
    except NewerVersionError:
        raise
    except ConfigError as error:
        if isinstance(error.__cause__, OSError):
            raise
        raise ConfigError(f"{error}; {remedy}") from error


def read_text(path: StoragePath) -> str:
    """Return the text of a small UTF-8 file.

    Raises:
      ConfigError: if it cannot be read.
    """
    try:
        return read_at_most(path, MAX_BYTES).decode()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text ({error})") from error


def _strict(scalar: type) -> Callable[[Any, Any], Any]:
    """Refuse what Python would convert silently: ``int(2.7)``, ``bool("false")``."""
    allowed = (int, float) if scalar is float else (scalar,)

    def structure(value: Any, _: Any) -> Any:
        if not isinstance(value, allowed) or (isinstance(value, bool) and scalar is not bool):
            raise ValueError(f"{value!r} is not of type {scalar.__name__}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{value!r} is not a finite number")
        return scalar(value)

    return structure


def _is_number_or_word(kind: Any) -> bool:
    alternatives = get_args(kind) if get_origin(kind) in (Union, UnionType) else ()
    others = [each for each in alternatives if get_origin(each) is not Literal]
    is_scalar = [each in (int, float) for each in others if each is not type(None)]
    return len(others) < len(alternatives) and any(is_scalar) and all(is_scalar)


def _literal(value: Any, kind: Any) -> Any:
    if value not in get_args(kind):
        raise ValueError(f"unknown value {value!r}{suggestion(str(value), get_args(kind))}")
    return value


def _explain(error: BaseException, path: str = "") -> list[str]:
    """Flatten a cattrs error into one phrase a field."""
    if isinstance(error, cattrs.ForbiddenExtraKeysError):
        names = {f.name for f in dataclasses.fields(error.cl)}
        return [f"unknown field {path + key!r}{suggestion(key, names)}" for key in sorted(error.extra_fields)]
    if isinstance(error, ExceptionGroup):
        phrases = []
        for inner in error.exceptions:
            note = next((n for n in getattr(inner, "__notes__", []) if hasattr(n, "name")), None)
            missing = isinstance(inner, KeyError)  # names its field itself
            phrases += _explain(inner, f"{path}{note.name}." if note and not missing else path)
        return phrases
    if isinstance(error, KeyError):
        return [f"field {path + str(error.args[0])!r} is missing"]
    message = str(error)
    return [message if message.startswith(path) else f"{path.rstrip('.')}: {message}"]
