"""What is read and written of unions, and at which price."""

from dataclasses import dataclass

import cattrs.gen
import pytest

from t5lite.core.strict_json import StrictJson


@dataclass(frozen=True)
class Circle:
    radius: float


@dataclass(frozen=True)
class Square:
    side: float


@dataclass(frozen=True)
class Frame:
    inner: Circle | Square


@dataclass(frozen=True)
class Drawing:
    shape: Square | Frame


WRITTEN = {"shape": {"inner": {"radius": 2.0, "type": "Circle"}, "type": "Frame"}}
OUTER_FIRST = (Square | Frame, Circle | Square)


def test_a_union_in_a_union_keeps_its_types_in_either_order():
    for unions in (OUTER_FIRST, OUTER_FIRST[::-1]):
        form = StrictJson(unions=unions)
        assert form.structure(WRITTEN, Drawing, name="drawing") == Drawing(Frame(Circle(2.0)))
        assert form.unstructure(Drawing(Frame(Circle(2.0))), Drawing) == WRITTEN


def test_what_no_union_has_is_not_written():
    with pytest.raises(KeyError):
        StrictJson(unions=OUTER_FIRST).unstructure(Frame(Drawing(Square(1.0))), Frame)  # type: ignore[arg-type]


def test_code_is_made_for_the_kinds_that_are_read_alone(monkeypatch):
    """A command that reads one configuration does not pay for all that there may be."""
    made = []
    for name in ("make_dict_structure_fn", "make_dict_unstructure_fn"):
        make = getattr(cattrs.gen, name)

        def counted(kind, *arguments, _make=make, **options):
            made.append(kind)
            return _make(kind, *arguments, **options)

        monkeypatch.setattr(cattrs.gen, name, counted)
        monkeypatch.setattr(f"cattrs.converters.{name}", counted)
    form = StrictJson(unions=OUTER_FIRST)
    assert made == []
    form.structure(WRITTEN, Drawing, name="drawing")
    assert made == [Drawing, Frame, Circle]
