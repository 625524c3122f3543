"""Fit one form to many parts of a table at once: every group, every hold-out, several starts.

The law is that of the form as it would be typed, and the engine (`isoloss.fit`) fits it: its
objective, its projection of linear parameters, its descents. Here is what a search does otherwise:
starts are drawn where a form's parameters may lie, fewer of them are descended from, and no descent
goes on to its last digits, of which a ranking needs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from isoloss.discovery.forms import OFFSETS, SPARE, Form, Parameter
from isoloss.discovery.scaled import Blocks
from isoloss.fit.descent import Affine, Descents, Ends, FitProblem, minimise_all
from isoloss.fit.objectives import AUTO, Objective
from isoloss.fit.optimize import promising
from isoloss.formulas import Evaluator, read_formula
from isoloss.laws._formula import formula_law
from isoloss.laws._law import Data, Term

POOL, KEEP = 96, 3  # starts that are looked at, and descended from, of every fit
FEW, MORE = 30, 6  # runs of a group, up to which so many are descended from
WIDER = ((30.0, 12), (3.0, 12), (1.0, 16))  # times the objective's delta, and steps on each
SHARED = 1  # of these stages, after which fits of one form share where they ended
FLOORS = (0.0, 0.6, 0.9)  # of the least response, at which exponentials begin
TOPS = (1.02, 1.2, 2.0)  # times the largest response, at which logistic functions end
LIGHT = 1e-9  # ridge of a regression, of its own diagonal
LEAST = 1e-9  # what a parameter above 0 begins at, at least


class FormOnBlocks:
    """A form on the runs of a table.

    Args:
        form: the form.
        blocks: the runs.
        positive: whether the response is above 0 throughout, and an offset not below.

    Attributes:
        law: of the form; its coordinates are those of all fits.
        objective: what is minimised, the same as of the law when it is typed.
    """

    def __init__(self, form: Form, blocks: Blocks, positive: bool):
        self.form, self.blocks = form, blocks
        floors = OFFSETS if positive else ()
        signed = [name for name in form.linear if name not in floors]
        self.law = formula_law(form.text, form.variables, any_sign=signed)
        self.objective = Objective(AUTO).chosen(positive)
        own = {parameter.name: parameter for parameter in form.parameters}
        self.parameters = [own[term.name] for term in self.law.terms]

    @cached_property
    def affine(self) -> Affine:
        """The coordinates of the law, and where they may lie."""
        sides = [_bounds(p, term) for p, term in zip(self.parameters, self.law.terms, strict=True)]
        low, high = np.array(sides).T
        count = len(sides)
        names = tuple(term.name for term in self.law.terms)
        return Affine(np.eye(count), np.zeros(count), low, high, names)

    @cached_property
    def problems(self) -> list[FitProblem]:
        """The fit of every group."""
        problems = []
        for real, response, data in self._groups():
            law_on_runs = self.law.on(data)
            loss = response[real]
            objective = self.objective.of_values(loss)
            problems.append(FitProblem(law_on_runs, loss, objective, self.affine))
        return problems

    def _groups(self):
        """Of every group where it has runs, its responses, and the variables of its runs."""
        blocks, names = self.blocks, self.law.variables
        for g, (real, response) in enumerate(zip(blocks.real, blocks.response, strict=True)):
            yield real, response, {name: blocks.data[name][g][real] for name in names}

    def predicted(self, theta: np.ndarray, data: Data | None = None) -> np.ndarray:
        """The response.

        Args:
            theta: (..., p); of all groups at the runs of the table (..., g, p).
            data: variables in the table's scale, (n,) each; those of the runs if None.

        Returns:
            (..., n), of the runs of the table (..., g, n).
        """
        return self.law.loss(theta, self.blocks.data if data is None else data)

    def slopes(self, theta: np.ndarray) -> np.ndarray:
        """Derivatives of all responses by the coordinates, (g, n, p), at theta (g, p)."""
        return self.law.gradient(theta, self.blocks.data)


def _bounds(parameter: Parameter, term: Term) -> tuple[float, float]:
    """Bounds of a coordinate of the law; linear parameters have none."""
    if parameter.role == "linear":
        return -np.inf, np.inf
    ends = [_coordinate(parameter, term, np.array(end)) for end in (parameter.low, parameter.high)]
    return float(ends[0]), float(ends[1])


def _coordinate(parameter: Parameter, term: Term, place: np.ndarray) -> np.ndarray:
    """The law's coordinate of where a parameter is searched, which of a scale is a logarithm."""
    if parameter.role == "scale":
        return place if term.log else np.exp(place)
    return np.log(np.maximum(place, LEAST)) if term.log else place


def starts_of(model: FormOnBlocks, count: int, seed: int) -> np.ndarray:
    """Starts drawn over where the parameters may lie, (s, p); linear ones are then projected.

    Exponents log-uniform, one in five of the other sign where their bounds allow it.
    """
    curved = [parameter.name for parameter in model.form.curved]
    generator = np.random.default_rng([seed, len(curved)])
    draws = dict(zip(curved, generator.random((len(curved), count)), strict=True))
    signs = dict(zip(curved, generator.random((len(curved), count)) < 0.2, strict=True))
    starts = np.zeros((count if curved else 1, len(model.parameters)))
    for i, (parameter, term) in enumerate(zip(model.parameters, model.law.terms, strict=True)):
        if parameter.role == "linear":
            continue
        (low, high), share = parameter.near, draws[parameter.name]
        if parameter.role == "exponent" and low > 0:
            place = np.exp(np.log(low) + share * np.log(high / low))
            if parameter.low < 0:
                place = np.where(signs[parameter.name], -0.5 * place, place)
        else:
            place = low + share * (high - low)
        starts[:, i] = _coordinate(parameter, term, place)
    return starts


def _best_starts(
    model: FormOnBlocks, weight: np.ndarray, pool: np.ndarray, keep: int
) -> list[list[np.ndarray]]:
    """Where the descents of every fit begin, by group and hold-out, (k, p) each."""
    if model.form.exponent:
        regressed = _regressed(model, weight)
        return [list(regressed[:, g]) for g in range(weight.shape[1])]
    begins = []
    for g, problem in enumerate(model.problems):
        problem.law_on_runs.descents = keep
        own = weight[:, g][:, model.blocks.real[g]]
        begins.append([promising(problem, problem.project(pool, w), w) for w in own])
    return begins


def _regressed(model: FormOnBlocks, weight: np.ndarray) -> np.ndarray:
    """Starts of a form whose exponent is a polynomial, (h, g, k, p).

    The polynomial is fitted to logarithms above several floors, or to logits between several ends.
    """
    form, blocks, terms = model.form, model.blocks, model.law.terms
    inner = [p.name for p in form.parameters if p.name in read_formula(form.exponent).names]
    zeros = {name: np.zeros((1, 1)) for name in inner}
    _, basis = Evaluator(read_formula(form.exponent).tree, inner).gradient({**zeros, **blocks.data})
    basis = np.broadcast_to(basis, (*blocks.response.shape, len(inner)))
    used = weight > 0
    least = np.where(used, blocks.response, np.inf).min(axis=-1)
    most = np.where(used, blocks.response, -np.inf).max(axis=-1)
    outer = next((p.name for p in form.parameters if p.name not in inner), "")
    places = [[term.name for term in terms].index(name) for name in inner]
    starts = []
    for end, target, certainty in _straightened(form, blocks.response, least, most, outer):
        start = np.zeros((*least.shape, len(terms)))
        start[..., places] = _least_squares(basis, target, weight * certainty)
        for i, term in enumerate(terms):
            if term.name == outer:
                start[..., i] = np.log(np.maximum(end, LEAST)) if term.log else end
        starts.append(np.clip(start, model.affine.low, model.affine.high))
    return np.stack(starts, axis=-2)


def _straightened(
    form: Form, response: np.ndarray, least: np.ndarray, most: np.ndarray, outer: str
):
    """Of several ends (h, g): what the polynomial is fitted to, and how certain it is (h, g, n).

    Args:
        form: an exponential or a logistic function of the polynomial.
        response: (g, n).
        least: of the responses that are fitted, (h, g).
        most: the same, the largest.
        outer: the parameter beside the polynomial, a floor or a top; empty for none.
    """
    if form.family == "logistic":
        nothing, one = np.zeros_like(least), np.ones_like(least)
        ends = [(nothing, one, one)]
        if outer in OFFSETS:
            ends = [(share * least, one, share * least) for share in FLOORS]
        elif outer:
            ends = [(nothing, times * most, times * most) for times in TOPS]
        for floor, top, end in ends:
            share = (response - floor[..., None]) / (top - floor)[..., None]
            share = np.clip(share, 0.01, 0.99)
            yield end, np.log(share / (1 - share)), (share * (1 - share)) ** 2
        return
    width = most - least
    for share in FLOORS if outer else (0.0,):
        floor = share * least if (least > 0).all() else least - (1.05 - share) * width
        floor = floor if outer else np.zeros_like(least)
        above = np.maximum(response - floor[..., None], SPARE * width[..., None] + 1e-300)
        yield floor, np.log(above), (above / above.max(axis=-1, keepdims=True)) ** 2


def _least_squares(basis: np.ndarray, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Coefficients (h, g, k) of regressors (g, n, k) for targets and weights (h, g, n)."""
    across = np.swapaxes(basis * weight[..., None], -1, -2)
    normal, right = across @ basis, (across @ target[..., None])[..., 0]
    diagonal = np.einsum("...ii->...i", normal)
    size = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled = normal / size[..., None, :] / size[..., :, None]
    ridge = np.where(diagonal > 0, LIGHT, 1.0)[..., None] * np.eye(basis.shape[-1])
    return np.linalg.solve(scaled + ridge, (right / size)[..., None])[..., 0] / size


def fit(
    model: FormOnBlocks, weight: np.ndarray, seed: int, count: int = POOL, keep: int | None = None
) -> np.ndarray:
    """The best end of several starts of every fit.

    Args:
        model: the form on the runs.
        weight: of the runs in every fit, by hold-out and group, (h, g, n).
        seed: of the starts.
        count: starts that are looked at.
        keep: of them descended from in every fit; six of few runs and three of more if None.

    Returns:
        The law's coordinates, (h, g, p).
    """
    if keep is None:
        keep = MORE if weight.shape[-1] <= FEW else KEEP
    pool = starts_of(model, count, seed)
    begins = _best_starts(model, weight, pool, keep)
    which = [np.repeat(np.arange(len(own)), list(map(len, own))) for own in begins]
    weights = [
        weight[:, g][:, real][rows]
        for g, (real, rows) in enumerate(zip(model.blocks.real, which, strict=True))
    ]
    points = [np.concatenate(own) for own in begins]
    for at, (wider, steps) in enumerate(WIDER):
        asked = _descents(model.problems, points, weights, wider, steps)
        ends = minimise_all(asked)
        points = [own.free for own in ends]
        if at == SHARED and model.form.curved:
            points = _shared(model, ends, which, weight)
    pairs = zip(ends, which, strict=True)
    return np.stack([own.free[_firsts(own, rows)] for own, rows in pairs], axis=1)


def _firsts(ends: Ends, which: np.ndarray) -> np.ndarray:
    """Where the lowest end of every hold-out is, (h,), of ends whose hold-outs are given, (k,)."""
    order = np.lexsort((ends.objective, which))
    return order[np.searchsorted(which[order], np.arange(which.max() + 1))]


def _shared(
    model: FormOnBlocks, ends: Sequence[Ends], which: Sequence[np.ndarray], weight: np.ndarray
) -> list[np.ndarray]:
    """The points of every group from which descents go on, the worst of each fit replaced.

    In its place comes the best of what other fits ended in: those of the same group without other
    runs, and those of all runs of the other groups. A basin that one of them reaches is so known to
    all.
    """
    lowest = [own.free[_firsts(own, rows)] for own, rows in zip(ends, which, strict=True)]
    whole = np.stack([own[-1] for own in lowest])
    points = []
    for g, (problem, own, rows) in enumerate(zip(model.problems, ends, which, strict=True)):
        free = own.free.copy()
        worst = np.lexsort((-own.objective, rows))
        worst = worst[np.searchsorted(rows[worst], np.arange(len(weight)))]
        others = np.delete(whole, g, axis=0)
        problem.law_on_runs.descents = 1
        for h, w in enumerate(weight[:, g][:, model.blocks.real[g]]):
            pool = np.concatenate([np.delete(lowest[g], h, axis=0), others])
            if len(pool) and (rows == h).sum() > 1:
                free[worst[h]] = promising(problem, problem.project(pool, w), w)[0]
        points.append(free)
    return points


def _descents(
    problems: Sequence[FitProblem], points: Sequence[np.ndarray], weights, wider: float, steps: int
) -> list[Descents]:
    """Descents of all groups on an objective with so many times its delta."""
    asked = []
    for problem, begin, weight in zip(problems, points, weights, strict=True):
        objective = replace(problem.objective, delta=wider * problem.objective.delta)
        asked.append(Descents(problem.with_objective(objective), begin, weight, None, steps))
    return asked
