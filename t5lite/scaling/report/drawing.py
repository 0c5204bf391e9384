"""What the figures of a report share: colours by size, axes that say numbers in words' order, dark twins."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from t5lite.pages.figures import DARK, LIGHT

_RAMP = 0.85
"""Of viridis in light figures: its end is too pale on white."""
_DARKEST = 0.38
"""Where it begins in dark ones."""
_LIGHT_METHODS = ("#0072b2", "#d55e00", "#00795c", "#cc79a7", "#56b4e9", "#667080")
_DARK_METHODS = ("#56b4e9", "#f08a4b", "#2fc79b", "#d98cb8", "#9ad0f0", "#9aa5b3")
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_WRITTEN_OUT = 1e4
_ENOUGH = 3
"""Numbers on a logarithmic axis."""
_WIDE = 12.0
"""Largest over smallest value, above which an axis is logarithmic."""
_LONGEST = 22
"""Of a name beside a line."""


def ramp(share: float) -> str:
    """Return the colour of a place between the smallest, 0, and the largest, 1."""
    return to_hex(colormaps["viridis"](_RAMP * share))


def dark_twin(color: str) -> str:
    """Return what a light colour is in the dark."""
    themes = zip(vars(LIGHT).values(), vars(DARK).values(), strict=True)
    known = dict(themes) | dict(zip(_LIGHT_METHODS, _DARK_METHODS, strict=True))
    if color in known:
        return known[color]
    shades = colormaps["viridis"](np.linspace(0, _RAMP, 256))
    wanted = np.array([int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    place = int(np.argmin(np.sum((shades[:, :3] - wanted) ** 2, axis=1)))
    return to_hex(colormaps["viridis"](_DARKEST + (1 - _DARKEST) * place / 255))


def method_color(place: int) -> str:
    """Return the colour of a method by its place."""
    return _LIGHT_METHODS[place % len(_LIGHT_METHODS)]


def short(value: float) -> str:
    """Return a number as axes have it: 0.05, 1,600, 4·10¹¹.

    >>> short(4e11)
    '4·10¹¹'
    """
    if value == 0 or 1e-3 <= abs(value) < _WRITTEN_OUT:
        return f"{value:,.6g}"
    mantissa, exponent = f"{value:.2e}".split("e")
    power = f"10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
    front = f"{float(mantissa):g}"
    return power if front == "1" else f"{front}·{power}"


def shown_name(name: str) -> str:
    """Return a name that leaves room for the lines, and that a font can be asked for (of any file name)."""
    name = name.encode("utf-8", "backslashreplace").decode()
    return name if len(name) <= _LONGEST else f"…{name[1 - _LONGEST :]}"


def size_axis(axes: Axes, values: Sequence[float] | np.ndarray) -> None:
    """Make x an axis for sizes: logarithmic where they are far apart."""
    known = np.asarray(values, float)
    known = known[np.isfinite(known) & (known > 0)]
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    if not len(known) or known.max() / known.min() < _WIDE:
        axes.xaxis.set_major_locator(MaxNLocator(4))
        return
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.xaxis.set_major_locator(FixedLocator(decades(float(known.min()), float(known.max()))))
    axes.xaxis.set_minor_locator(NullLocator())


def decades(low: float, high: float) -> list[float]:
    """Return at most six numbers between, and a little beyond, two ends: round ones, where there are two."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    inside: list[float] = []
    for steps in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0)):
        ticks = [step * 10.0**each for each in range(first, last + 1) for step in steps]
        inside = [tick for tick in ticks if low * 0.98 <= tick <= high * 1.02]
        if len(inside) >= _ENOUGH:
            break
    if len(inside) < 2:
        inside = list(dict.fromkeys(float(f"{each:.3g}") for each in np.geomspace(low, high, _ENOUGH)))
    return inside[:: max(1, math.ceil(len(inside) / 6))]


def size_y_axis(axes: Axes) -> None:
    """Write the numbers of a logarithmic y as those of x."""
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(FixedLocator(decades(low, high)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.yaxis.set_minor_locator(NullLocator())
