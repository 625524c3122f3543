"""What a form is: an expression, and how each of its parameters is searched for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from isoloss.formulas import read_formula

AMPLITUDES = tuple("ABFGHJKPQRSTVWXYZ")  # C is compute, which N and D give
GREEK = (
    *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"),
    *("mu", "nu", "xi", "rho", "sigma", "tau", "phi", "chi", "psi", "omega"),
)
OFFSETS = ("E", "E_0")  # names of the response where every term has vanished
SPARE = 1e-9  # of the least value of a positive response, that an offset stays below


@dataclass(frozen=True)
class Parameter:
    """A parameter of a form, for variables in the data's own scale.

    Attributes:
        name: in the expression.
        role: linear (projected out), exponent, scale (searched by its logarithm), slope (of an
            exponent that depends on a variable), or place.
        low, high: bounds; of a scale those of its logarithm. Starts are drawn between `near`.
        near: where starts are drawn.
    """

    name: str
    role: str
    low: float = -1e12
    high: float = 1e12
    near: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Form:
    """An expression of variables and parameters whose constants are searched for.

    Attributes:
        text: the expression, in the names of the table's columns.
        parameters: in the order in which they are searched: linear ones last.
        exponent: of an exponential or a logistic function of a polynomial: the polynomial, from
            whose regression starts are taken; empty for other forms.
        family: kind of form, in a word.
        structure: from which it may grow; None of a form that does not.
    """

    text: str
    parameters: tuple[Parameter, ...]
    exponent: str = ""
    family: str = ""
    structure: Any = None

    @property
    def size(self) -> int:
        """The number of its parameters."""
        return len(self.parameters)

    @property
    def slopes(self) -> int:
        """How many of its exponents depend on a variable."""
        return sum(p.role == "slope" for p in self.parameters)

    @property
    def linear(self) -> tuple[str, ...]:
        """Names of the parameters in which the expression is linear, all of them together."""
        return tuple(p.name for p in self.parameters if p.role == "linear")

    @property
    def curved(self) -> tuple[Parameter, ...]:
        """The other parameters."""
        return tuple(p for p in self.parameters if p.role != "linear")

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the columns in it, in their order."""
        own = {p.name for p in self.parameters}
        return tuple(name for name in read_formula(self.text).names if name not in own)


class Names:
    """Fresh names for the parameters of one form, none of them that of a column."""

    def __init__(self, columns: Sequence[str]):
        self.taken = set(columns)
        self.parameters: list[Parameter] = []

    def _first(self, names: Sequence[str]) -> str:
        for name in self._endless(names):
            if name not in self.taken:
                self.taken.add(name)
                return name
        raise AssertionError("names never end")

    @staticmethod
    def _endless(names: Sequence[str]) -> Iterator[str]:
        yield from names
        for number in range(1, 1000):
            yield from (f"{name}{number}" for name in names)

    def _add(self, name: str, role: str, **limits) -> str:
        self.parameters.append(Parameter(name, role, **limits))
        return name

    def offset(self) -> str:
        """The response where every term has vanished."""
        return self._add(self._first(OFFSETS), "linear")

    def amplitude(self) -> str:
        """A factor in which the response is linear."""
        return self._add(self._first(AMPLITUDES), "linear")

    def coefficient(self) -> str:
        """A factor of any sign within an exponent, called as an amplitude is."""
        return self._add(self._first(AMPLITUDES), "place", low=-60.0, high=60.0)

    def exponent(self, near: tuple[float, float] = (0.05, 1.2), low=-3.0, high=5.0) -> str:
        """A power."""
        return self._add(self._first(GREEK), "exponent", low=low, high=high, near=near)

    def scale(self, stem: str, near: tuple[float, float] = (-3.0, 3.0), wide: float = 12.0) -> str:
        """A value above 0 beside a variable."""
        limits = {"low": -wide, "high": wide, "near": near}
        return self._add(self._first((f"{stem}_0", f"{stem}_1")), "scale", **limits)

    def slope(self, stem: str, near: float) -> str:
        """How an exponent depends on a variable."""
        limits = {"low": -3.0, "high": 3.0, "near": (-near, near)}
        return self._add(self._first((stem, f"{stem}_1", f"{stem}_2")), "slope", **limits)

    def place(self, stem: str, near: tuple[float, float], wide: float = 30.0) -> str:
        """A value of any sign."""
        limits = {"low": -wide, "high": wide, "near": near}
        return self._add(self._first((stem, f"{stem}_1", f"{stem}_2")), "place", **limits)

    def ordered(self) -> tuple[Parameter, ...]:
        """The parameters named so far, linear ones last."""
        return tuple(sorted(self.parameters, key=lambda p: p.role == "linear"))
