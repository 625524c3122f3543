"""Starts for a law that is written as a formula: parameters sized against the runs.

A start is drawn from the top of the formula down. Every part of the formula has a size to reach at
one run: the law that of the loss there, a summand a share of it, a factor 1. A parameter takes the
size that is left for it, an exponent one of the usual ones. No part then over- or underflows,
whatever the units of the variables are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from isoloss.formulas import Evaluator, names_of, operation

LEAST, MOST = 0.03, 2.0  # sizes of exponents
TURNED = 3  # every so many starts have the exponent of a sum with the other sign
LARGEST = 60.0  # size of the argument of an exp, and of a logarithm of a size
APART = 0.1  # share of a value within which a threshold is drawn about it
BENT = 0.5  # standard deviation over the runs of a power with a factor of any sign, about
NOTHING = 1e-3  # of a factor with parameters, which is meant to be of the size of 1
PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83)


class Draws:
    """Numbers between 0 and 1 that fill their cube evenly, a column for every use of them.

    Args:
        count: of starts; one start has all its numbers in the middle.
    """

    def __init__(self, count: int):
        self.count, self.used = count, 0

    def uniform(self) -> np.ndarray:
        """The next column, (b,): multiples of the square root of a prime, modulo 1."""
        prime = PRIMES[self.used % len(PRIMES)] + 1000 * (self.used // len(PRIMES))
        self.used += 1
        if self.count == 1:
            return np.full(1, 0.5)
        return (0.5 + np.arange(self.count) * np.sqrt(prime)) % 1.0

    def normal(self) -> np.ndarray:
        """Nearly normal numbers, (b,): logits of uniform ones, with standard deviation 1."""
        uniform = np.clip(self.uniform(), 1e-3, 1 - 1e-3)
        return np.log(uniform / (1 - uniform)) * (np.sqrt(3.0) / np.pi)


class Sizing:
    """Parameters of b starts, drawn so that a formula is of the size of the losses.

    Args:
        parameters: name to whether it is above 0.
        limits: name to least and greatest value, infinite where open.
        data: variables of all runs, (n,) each.
        loss: observed, (n,).
        draws: what is drawn.

    Attributes:
        values: parameter to its values so far, (b,).
    """

    def __init__(
        self,
        parameters: Mapping[str, bool],
        limits: Mapping[str, tuple[float, float]],
        data: Mapping[str, np.ndarray],
        loss: np.ndarray,
        draws: Draws,
    ):
        self.parameters, self.limits, self.draws = parameters, limits, draws
        self.data, self.values = data, {}
        order = np.argsort(loss, kind="stable")
        rows = order[(draws.uniform() * len(loss)).astype(int)]
        self.anchor = {name: column[rows] for name, column in data.items()}
        self.target = np.asarray(loss, dtype=float)[rows]

    def known(self, tree) -> bool:
        """Whether all parameters of a part have values."""
        return all(name in self.values for name in names_of(tree) if name in self.parameters)

    def at_anchor(self, tree) -> np.ndarray:
        """A part whose parameters are known at each start's own run, (b,)."""
        with np.errstate(all="ignore"):
            value = Evaluator(tree, ()).value({**self.values, **self.anchor})
        return np.broadcast_to(value, (self.draws.count,)).astype(float)

    def spread(self, tree) -> float:
        """Standard deviation over the runs of a part without parameters; 1 of a constant."""
        with np.errstate(all="ignore"):
            value = np.broadcast_to(Evaluator(tree, ()).value(self.data), self._runs).astype(float)
        value = value[np.isfinite(value)]
        return float(np.std(value)) or 1.0 if len(value) else 1.0

    @property
    def _runs(self) -> tuple[int, ...]:
        return next(iter(self.data.values())).shape

    def put(self, name: str, value: np.ndarray) -> None:
        """Give a parameter its values, moved to where they are allowed."""
        low, high = self.limits[name]
        if self.parameters[name]:
            value = np.where(value == 0, 1.0, value)
            value = np.exp(np.clip(np.log(np.abs(value) + 1e-300), -LARGEST, LARGEST))
        value = np.where(np.isfinite(value), value, 1.0)
        outside = (value <= low) | (value >= high)
        if outside.any():
            share = self.draws.uniform()
            within = low + share * (high - low) if np.isfinite([low, high]).all() else None
            near = low + np.abs(value - low) if np.isfinite(low) else high - np.abs(high - value)
            value = np.where(outside, near if within is None else within, value)
        self.values[name] = value

    def settle(self, tree, target: np.ndarray | None) -> None:
        """Give the parameters of a part values with which it is of a size at each start's run.

        Args:
            tree: the part.
            target: the value to reach, (b,); None where any value of the size of 1 will do.
        """
        if self.known(tree):
            return
        kind, parts = operation(tree)
        if kind in ("+", "-"):
            self._sum(tree, target)
        elif kind in ("*", "/"):
            self._product(tree, target)
        elif kind == "**":
            self._power(*parts, target)
        elif kind == "name":
            self.put(tree.name, self._natural() if target is None else target)
        elif kind == "neg":
            self.settle(parts[0], None if target is None else -target)
        elif kind == "where":
            self._choice(parts, target)
        elif kind in ("min", "max") and any(self._varies(part) for part in parts):
            self._corner(parts)
        else:
            self._function(kind, parts, target)

    def _natural(self, width: float = 1.0) -> np.ndarray:
        """Sizes around 1, (b,)."""
        return np.exp(width * self.draws.normal())

    def _of_any_sign(self) -> np.ndarray:
        """Numbers around 0, (b,), and 1 of a single start: a scale of size 0 has no logarithm."""
        return self.draws.normal() if self.draws.count > 1 else np.ones(1)

    def _sum(self, tree, target: np.ndarray | None) -> None:
        """Divide a sum among its summands: shares of its value, or slopes and what they leave."""
        summands = list(summands_of(tree))
        target = self._natural(1.5) if target is None else target
        unknown = [(sign, part) for sign, part in summands if not self.known(part)]
        known = [sign * self.at_anchor(part) for sign, part in summands if self.known(part)]
        rest = target - sum(known)
        free = [self._free(part) for _, part in unknown]
        if any(free):
            self._slopes(unknown, free, rest)
            return
        rest = np.where(rest > 0, rest, self._natural(1.5) * 0.1 * (np.abs(target) + 1e-300))
        shares = [-np.log(np.clip(self.draws.uniform(), 1e-3, 0.999)) for _ in unknown]
        for share, (sign, part) in zip(shares, unknown, strict=True):
            signed = len(unknown) > 1 or not known
            self.settle(part, rest * share / sum(shares) * (1.0 if signed else sign))

    def _free(self, part) -> bool:
        """Whether a summand has a factor of any sign: a parameter by itself."""
        bare = (operation(factor)[0] == "name" and factor.name for _, factor in factors_of(part))
        return any(name in self.parameters and not self.parameters[name] for name in bare if name)

    def _slopes(self, unknown: Sequence, free: Sequence[bool], target: np.ndarray) -> None:
        """Slopes of a linear form are small against their regressor; a constant takes the rest."""
        constant = None
        for (sign, part), any_sign in zip(unknown, free, strict=True):
            if operation(part)[0] == "name" and any_sign and constant is None:
                constant = sign, part
                continue
            others = [factor for _, factor in factors_of(part) if not self._is_free(factor)]
            plain = all(not set(names_of(one)) & set(self.parameters) for one in others)
            if any_sign and plain:
                self._slope(part)
            elif any_sign and all(self._bare_power(one) for one in others):
                self._bent_slope(part, others)
            else:
                self.settle(part, np.abs(target) * self.draws.uniform())
        if constant is not None:
            sign, part = constant
            known = (s * self.at_anchor(p) for s, p in unknown if p is not part)
            self.settle(part, sign * (target - sum(known)))

    def _is_free(self, factor) -> bool:
        return operation(factor)[0] == "name" and self.parameters.get(factor.name) is False

    def _slope(self, part) -> None:
        """Factors of any sign of a summand, whose regressor has no parameters."""
        bare = [factor.name for _, factor in factors_of(part) if self._is_free(factor)]
        for name in bare:
            self.put(name, np.ones(self.draws.count))
        size = self.spread_of(part)
        self.put(bare[0], self.draws.normal() * 0.3 / size)

    def _bare_power(self, factor) -> bool:
        """Whether a factor has no parameter, or is a power of variables by one of any sign."""
        kind, parts = operation(factor)
        if not set(names_of(factor)) & set(self.parameters):
            return True
        return kind == "**" and self._varies(parts[0]) and self._is_free(parts[1])

    def _bent_slope(self, part, powers: Sequence) -> None:
        """A factor of any sign of powers: of any size against the values that these have.

        Powers may rise or fall, whatever a sign before their exponents suggests.
        """
        for power in powers:
            self.settle(power, None)
        for name in {name for one in powers for name in names_of(one)} & set(self.parameters):
            falls = self.draws.uniform() < 0.5
            self.put(name, np.where(falls, -self.values[name], self.values[name]))
        bare = [factor.name for _, factor in factors_of(part) if self._is_free(factor)]
        for name in bare:
            self.put(name, np.ones(self.draws.count))
        given = {name: value[:, None] for name, value in self.values.items()}
        with np.errstate(all="ignore"):
            value = Evaluator(part, ()).value({**given, **self.data})
            size = np.std(np.broadcast_to(value, (self.draws.count, *self._runs)), axis=-1)
        size = np.where(np.isfinite(size) & (size > 0), size, 1.0)
        sign = np.where(self.draws.uniform() < 0.5, -1.0, 1.0)
        self.put(bare[0], sign * BENT * self._natural() / size)

    def spread_of(self, part) -> float:
        """Standard deviation over the runs of a part whose parameters are those of one start."""
        one = {name: value[0] for name, value in self.values.items()}
        with np.errstate(all="ignore"):
            value = Evaluator(part, ()).value({**one, **self.data})
        value = np.broadcast_to(value, self._runs)
        value = value[np.isfinite(value)]
        return float(np.std(value)) or 1.0 if len(value) else 1.0

    def _product(self, tree, target: np.ndarray | None) -> None:
        """All factors are of the size of 1, but a parameter by itself, which takes the rest."""
        factors = list(factors_of(tree))
        bare = [one for one in factors if operation(one[1])[0] == "name" and not self.known(one[1])]
        taker = bare[-1] if bare else None
        if taker is None and target is not None:
            open_ones = [one for one in factors if not self.known(one[1])]
            plain = [one for one in open_ones if operation(one[1])[0] != "**"]
            taker = (plain or open_ones)[-1]
        for one in factors:
            if one is not taker:
                self.settle(one[1], None)
        if taker is None:
            return
        power, part = taker
        target = self._natural() if target is None else target
        with np.errstate(all="ignore"):
            others = [self._size_of(f) ** p for p, f in factors if f is not part]
            rest = target / np.prod(others, axis=0) if others else target
            self.settle(part, rest if power > 0 else 1.0 / rest)

    def _size_of(self, factor) -> np.ndarray:
        """A factor at each start's own run, (b,); its usual size where it vanishes there.

        A logarithm vanishes where its argument is 1, and what it is multiplied by is then open.
        """
        value = self.at_anchor(factor)
        if set(names_of(factor)) & set(self.parameters):
            return np.where(np.abs(value) < NOTHING, 1.0, value)
        if (value != 0).all():
            return value
        with np.errstate(all="ignore"):
            size = np.abs(np.broadcast_to(Evaluator(factor, ()).value(self.data), self._runs))
        size = size[np.isfinite(size)]
        return np.where(value == 0, float(np.mean(size)) or 1.0 if len(size) else 1.0, value)

    def _power(self, base, exponent, target: np.ndarray | None) -> None:
        """The usual exponents; the base takes the target, if it can."""
        if not self.known(exponent):
            size = LEAST * (MOST / LEAST) ** self.draws.uniform()
            plain, sign = exponent, 1.0
            while operation(plain)[0] == "neg":
                plain, sign = operation(plain)[1][0], -sign
            if not self.known(base) and operation(base)[0] in ("+", "-"):
                sign = np.where(np.arange(self.draws.count) % TURNED == TURNED - 1, -sign, sign)
            self.settle(exponent, sign * size)
        if self.known(base):
            return
        if target is None:
            self.settle(base, None)
            return
        with np.errstate(all="ignore"):
            log = np.log(np.abs(target)) / self.at_anchor(exponent)
        self.settle(base, np.exp(np.clip(log, -LARGEST / 4, LARGEST / 4)))

    def _choice(self, parts: Sequence, target: np.ndarray | None) -> None:
        """Both branches are of the target's size; the sides that are compared are alike."""
        condition, *branches = parts
        left, right = operation(condition)[1]
        for side, other in ((left, right), (right, left)):
            if not self.known(side):
                self.settle(side, self._near(other) if self.known(other) else None)
        for branch in branches:
            self.settle(branch, target)

    def _varies(self, part) -> bool:
        """Whether the values of a part are those of variables alone."""
        return bool(names_of(part)) and not set(names_of(part)) & set(self.parameters)

    def _corner(self, parts: Sequence) -> None:
        """What is compared with variables has their value at the start's run."""
        variable = next(part for part in parts if self._varies(part))
        for part in parts:
            if not self.known(part):
                self.settle(part, self._near(variable))

    def _near(self, part) -> np.ndarray:
        """About the value of a known part at each start's own run: no run lies on it."""
        return self.at_anchor(part) * (1.0 + APART * (self.draws.uniform() - 0.5))

    def _function(self, kind: str, parts: Sequence, target: np.ndarray | None) -> None:
        """What a function is applied to is where the function has its target."""
        if kind in INVERSES and target is not None:
            with np.errstate(all="ignore"):
                target = INVERSES[kind](target)
            target = np.clip(np.nan_to_num(target), -1e30, 1e30)
        elif kind in INVERSES:
            target = self._of_any_sign() if kind in SIGNED else self._natural()
        for part in parts:
            self.settle(part, target)


INVERSES = {
    "exp": lambda y: np.clip(np.log(np.abs(y) + 1e-300), -LARGEST, LARGEST),
    "log": lambda y: np.exp(np.clip(y, -LARGEST, LARGEST)),
    "log2": lambda y: np.exp2(np.clip(y, -LARGEST, LARGEST)),
    "log10": lambda y: 10.0 ** np.clip(y, -LARGEST / 2, LARGEST / 2),
    "sqrt": lambda y: y**2,
    "tanh": lambda y: np.arctanh(np.clip(y, -0.95, 0.95)),
    "sigmoid": lambda y: np.log(np.clip(y, 0.02, 0.98) / (1 - np.clip(y, 0.02, 0.98))),
    "softplus": lambda y: np.log(np.expm1(np.clip(np.abs(y), 1e-6, LARGEST))),
}
SIGNED = ("exp", "tanh", "sigmoid", "softplus")  # what they are applied to has any sign


def summands_of(tree, sign: float = 1.0) -> Iterator[tuple[float, object]]:
    """The summands of a part, each with its sign: the part itself where it is not a sum."""
    kind, parts = operation(tree)
    if kind in ("+", "-"):
        yield from summands_of(parts[0], sign)
        yield from summands_of(parts[1], sign if kind == "+" else -sign)
    elif kind == "neg":
        yield from summands_of(parts[0], -sign)
    else:
        yield sign, tree


def factors_of(tree, power: float = 1.0) -> Iterator[tuple[float, object]]:
    """The factors of a part, each with 1 or -1 as its power: the part itself if not a product."""
    kind, parts = operation(tree)
    if kind in ("*", "/"):
        yield from factors_of(parts[0], power)
        yield from factors_of(parts[1], power if kind == "*" else -power)
    elif kind == "neg":
        yield from factors_of(parts[0], power)
    else:
        yield power, tree
