"""Laws that are sums of power terms, as most scaling laws are.

Every part is exp(s - sum_j x_j f_j), times a constant where a formula has one: s is the logarithm
of its scale, x_j an exponent, f_j a feature of the data (a log variable, as a rule); one may be a
constant of any sign. Sums over runs of first and second derivatives are matrix products of the
parts with features that do not change during a fit.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from isoloss.laws._law import Data, Law, LawOnRuns, Sums

VALLEY = 2.0 ** np.array(
    [-8, -6, -4, -3, -2, -1, 1, 2, 3]
)  # factors of exponents of further starts
LEAST = 0.02  # of the loss, what a start leaves to a part


@dataclass(frozen=True)
class Part:
    """scale / prod_j (prod_v v^power)^exponent_j.

    Attributes:
        scale: name of the term that holds the scale, by its logarithm; by its value in a part
            without exponents that may have any sign (`Term.log` says which).
        exponents: name of a term -> variable -> power, the product that the exponent acts on.
        linear: whether exponents multiply the variables themselves, not their logarithms.
        factor: the constant in front, not 0; -1 of a part that is subtracted.
        inside: name of a term -> logarithm of a constant in the product that the exponent acts on.
    """

    scale: str
    exponents: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    linear: bool = False
    factor: float = 1.0
    inside: Mapping[str, float] = field(default_factory=dict)

    def feature(self, exponent: str, data: Data) -> np.ndarray:
        """What an exponent multiplies, with the sign of the law: (..., n)."""
        powers = self.exponents[exponent].items()
        with np.errstate(divide="ignore", invalid="ignore"):  # of a variable at 0 or below
            product = sum(
                power * (np.asarray(data[v]) if self.linear else np.log(data[v]))
                for v, power in powers
            )
        constant = self.inside.get(exponent, 0.0)
        return -(product + constant) if constant else -product


class Posynomial(Law):
    """A law that is a sum of parts.

    Attributes:
        parts: the parts; every term is the scale of one part or an exponent of some.
    """

    parts: tuple[Part, ...]

    @property
    def python(self) -> str:
        """The sum of the parts as an expression."""
        summands = []
        for part in self.parts:
            factors = [part.scale]
            for name, powers in part.exponents.items():
                product = " * ".join(v if p == 1 else f"{v} ** {p}" for v, p in powers.items())
                factors.append(
                    f"({product}) ** -{name}"
                    if len(powers) > 1 or " " in product
                    else f"{product} ** -{name}"
                )
            summands.append(" * ".join(factors))
        return " + ".join(summands)

    def any_sign(self, part: Part) -> bool:
        """Whether a part is a constant that may have any sign, not one above zero."""
        return not self.terms[self.index(part.scale)].log

    def _parts(self, theta: np.ndarray, data: Data) -> list[np.ndarray]:
        some = np.zeros(np.shape(data[self.variables[0]]))
        values = []
        for part in self.parts:
            power = theta[..., self.index(part.scale), None] + some
            for name in part.exponents:
                power = power + theta[..., self.index(name), None] * part.feature(name, data)
            value = power if self.any_sign(part) else np.exp(power)
            values.append(value if part.factor == 1.0 else part.factor * value)
        return values

    def loss(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """Sum of the parts, (..., n); not finite where a variable is 0 or below."""
        with np.errstate(all="ignore"):
            return sum(self._parts(theta, data))

    def gradient(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """d loss / d theta, (..., n, p)."""
        with np.errstate(all="ignore"):
            return self._slopes(theta, data)

    def _slopes(self, theta: np.ndarray, data: Data) -> np.ndarray:
        values = self._parts(theta, data)
        slopes = np.zeros((*values[0].shape, len(self.terms)))
        for part, value in zip(self.parts, values, strict=True):
            slopes[..., self.index(part.scale)] += part.factor if self.any_sign(part) else value
            for name in part.exponents:
                slopes[..., self.index(name)] += value * part.feature(name, data)
        return slopes

    def rescaling(
        self, log_scale: Mapping[str, float], log_loss_scale: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """A part's scale takes up the scales of its variables and of the loss."""
        matrix, shift = np.eye(len(self.terms)), np.zeros(len(self.terms))
        for part in self.parts:
            row = self.index(part.scale)
            if self.any_sign(part):
                matrix[row, row] = np.exp(-log_loss_scale)
                continue
            shift[row] = -log_loss_scale
            for name, powers in part.exponents.items():
                if not part.linear:
                    moved = sum(power * log_scale[v] for v, power in powers.items())
                    matrix[row, self.index(name)] -= moved
        return matrix, shift

    def along_valley(self, theta: np.ndarray) -> np.ndarray:
        """Points with other exponents of a part, and the same value and slope where it is 1.

        A constant of any sign takes up what the part's scale gains as its exponents fall to 0.
        """
        constants = [self.index(part.scale) for part in self.parts if self.any_sign(part)]
        factors = [part.factor for part in self.parts if self.any_sign(part)]
        points = []
        for part in self.parts if constants else ():
            for factor in VALLEY if part.exponents else ():
                point, scale = theta.copy(), self.index(part.scale)
                point[[self.index(name) for name in part.exponents]] *= factor
                point[scale] -= np.log(factor)
                gain = np.exp(theta[scale]) - np.exp(point[scale])
                point[constants[0]] += part.factor / factors[0] * gain
                points.append(point)
        return np.array(points).reshape(-1, len(theta))

    def on(self, data: Data) -> PosynomialOnRuns:
        """With all features and their products computed once."""
        return PosynomialOnRuns(self, data)


class PosynomialOnRuns(LawOnRuns):
    """A posynomial on n runs."""

    by_row = False

    def __init__(self, law: Posynomial, data: Data):
        super().__init__(law, data)
        n = len(self.data[law.variables[0]])
        self.members: list[np.ndarray] = []  # positions in theta of each part's terms, (m,)
        self.features: list[np.ndarray] = []  # what they multiply in the exponent, (n, m)
        self.constant = [law.any_sign(part) for part in law.parts]
        self.factors = [part.factor for part in law.parts]
        for part in law.parts:
            columns = [np.ones(n), *(part.feature(name, self.data) for name in part.exponents)]
            self.members.append(np.array([law.index(k) for k in (part.scale, *part.exponents)]))
            self.features.append(np.stack(columns, axis=-1))
        self.sizes = [np.abs(feature) for feature in self.features]
        self.pairs = {
            (k, m): (self.features[k][:, :, None] * self.features[m][:, None, :]).reshape(n, -1)
            for k, m in itertools.combinations_with_replacement(range(len(law.parts)), 2)
        }

    def at(self, theta: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """Loss (b, n), and the derivative of every part by its scale's coordinate, (b, n) each.

        That is the part itself, and 1 of a constant of any sign.
        """
        total, slopes = None, []
        for where, feature, constant, factor in zip(
            self.members, self.features, self.constant, self.factors, strict=True
        ):
            power = theta[:, where] @ feature.T
            part = power if constant else np.exp(power, out=power)
            if factor != 1.0:
                part = np.multiply(part, factor, out=part)
            total = part.copy() if total is None else np.add(total, part, out=total)
            slopes.append(np.full_like(part, factor) if constant else part)
        return total, slopes

    def take(self, slopes: list[np.ndarray], which: np.ndarray) -> list[np.ndarray]:
        """The derivatives of the parts at some of the thetas."""
        return [slope[which] for slope in slopes]

    def with_data(self, data: Data) -> PosynomialOnRuns:
        """The same on other runs, (n,)."""
        return type(self)(self.law, data)

    def project(self, theta: np.ndarray, loss: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """The scales that are best for the relative errors, given the exponents.

        Least squares over every subset of the parts; the best with scales above zero is taken.
        A part that is not in it keeps LEAST of the loss; a constant of any sign is in all of them.
        Where losses are not all above 0, the errors are those of the losses themselves.
        """
        count = len(self.members)
        if count > 4:
            return theta
        unit = loss if (loss > 0).all() else np.full_like(loss, np.mean(np.abs(loss)) or 1.0)
        shape = np.stack(self.at(theta)[1], axis=-1) / unit[:, None]  # (b, n, k)
        size = np.sqrt(np.einsum("bnk,n->bk", shape**2, weight) / weight.sum())
        shape = shape / size[:, None, :]
        normal = np.einsum("bnk,bnl,n->bkl", shape, shape, weight, optimize=True) / weight.sum()
        right = np.einsum("bnk,n->bk", shape, weight * (loss / unit)) / weight.sum()
        best, chosen = np.full(len(theta), np.inf), np.full((len(theta), count), LEAST)
        for members in itertools.product((False, True), repeat=count):
            some = np.flatnonzero(members)
            if not len(some) or (np.array(self.constant) & ~np.array(members)).any():
                continue
            signed = np.array(self.constant)[some]
            inner = normal[:, some[:, None], some] + 1e-9 * np.eye(len(some))
            scale = np.linalg.solve(inner, right[:, some, None])[..., 0]
            gain = -np.einsum("bk,bk->b", scale, right[:, some])
            better = ((scale > LEAST) | signed).all(axis=-1) & (gain < best - 1e-12)
            best[better] = gain[better]
            full = np.full((len(theta), count), LEAST)
            full[:, some] = scale
            chosen[better] = full[better]
        moved = theta.copy()
        for k, members in enumerate(self.members):
            scale = chosen[:, k] / size[:, k]
            if self.constant[k]:
                moved[:, members[0]] = scale
            else:
                moved[:, members[0]] += np.log(scale)
        return np.where(np.isfinite(moved), moved, theta)

    def sums(self, parts, slope: np.ndarray, curvature: np.ndarray, weight: np.ndarray) -> Sums:
        """Sums over runs, as matrix products with the fixed features; `parts` are those of `at`."""
        b, p = len(slope), len(self.law.terms)
        gradient, absolute = np.zeros((b, p)), np.zeros((b, p))
        hessian, outer = np.zeros((b, p, p)), np.zeros((b, p, p))
        curved, heavy = [curvature * part for part in parts], [weight * part for part in parts]
        for k, own in enumerate(self.members):
            sloped = slope * parts[k]
            gradient[:, own] += sloped @ self.features[k]
            for m in range(k, len(parts)):
                other = self.members[m]
                product = curved[k] * parts[m]
                if m == k and not self.constant[k]:
                    product += sloped
                both = (len(own), len(other))
                _add(hessian, own, other, (product @ self.pairs[k, m]).reshape(b, *both), m == k)
                product = heavy[k] * parts[m]
                _add(outer, own, other, (product @ self.pairs[k, m]).reshape(b, *both), m == k)
            absolute[:, own] += np.abs(sloped, out=sloped) @ self.sizes[k]
        return Sums(gradient, absolute, hessian, outer)


def _add(matrix: np.ndarray, rows, columns, block: np.ndarray, diagonal: bool) -> None:
    """Add a block, and its mirror image where it lies off the diagonal."""
    matrix[:, rows[:, None], columns[None, :]] += block
    if not diagonal:
        matrix[:, columns[:, None], rows[None, :]] += np.swapaxes(block, -1, -2)
