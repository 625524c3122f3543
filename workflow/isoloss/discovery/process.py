"""A Gaussian process of what the best law of a search leaves, offered where hold-outs show its use.

The residuals are those of ln(response), or of the response where it is not above 0 throughout, and
the process is one of the logarithms of the law's variables (Matern 5/2, a length for every one).
Lengths, size and noise have the greatest marginal likelihood (Rasmussen and Williams 2006, section
5.4); groups share them, and each has a process of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from isoloss.discovery import fitting
from isoloss.discovery.holdouts import Holdout
from isoloss.discovery.search import CEILING, EXACT, ROUNDED
from isoloss.laws._mixture import Curvature, descend, roots
from isoloss.laws._process import inverses, matern

if TYPE_CHECKING:
    from isoloss.discovery.discovery import Work
    from isoloss.discovery.typed import Typed

FOLDS = 5  # random parts of the settings, each held out in turn
SOME = 400  # runs at most of the only group that a process has; of many groups, at the same cost
FADE = 0.02  # of the range of a variable, within which a process ends that fades
LENGTHS = (0.03, 0.5)  # of the range of a variable: beyond the runs the process ends soon
AWAY = 1e3  # ranges of a variable, further than any process reaches
SIZES, NOISES = (1e-3, 5.0), (1e-3, 2.0)  # of the residuals' root mean square
FIRST = tuple((length, *sizes) for length in (0.08, 0.2, 0.5) for sizes in ((0.8, 0.2), (0.4, 0.8)))
TOGETHER = 1 << 17  # numbers of covariances that are looked at together
LOOKS, TOLERANCE, STEP = 40, 1e-5, 1.5  # of a descent, and of a coordinate in one step
ERRORS = 2.0  # standard errors by which a process must lower the error of the random parts
GAIN = 0.05  # share of it at least
EDGE = 0.02  # share by which the error at the largest values may be higher with a process


@dataclass(frozen=True)
class Axes:
    """Where the runs lie for a process: logarithms of sizes, other variables as they are.

    Attributes:
        names: the law's variables.
        low, width: least value and range on the axis of each, (k,).
        sizes: whether each has a logarithmic axis.
    """

    names: tuple[str, ...]
    low: np.ndarray
    width: np.ndarray
    sizes: tuple[bool, ...]

    @classmethod
    def of(cls, variables: dict[str, np.ndarray], sizes: frozenset[str]) -> Axes:
        """The axes on which the runs reach from 0 to 1."""
        names, logs = tuple(variables), tuple(name in sizes for name in variables)
        every = cls(names, np.zeros(len(names)), np.ones(len(names)), logs).places(variables)
        return cls(names, every.min(axis=0), np.ptp(every, axis=0), logs)

    def places(self, data: dict[str, np.ndarray]) -> np.ndarray:
        """Values of the variables (n,) each as places (n, k), far away where there is no logarithm.

        Places are at most so far from the runs that no process reaches there.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            columns = [
                np.log(data[name]) if size else data[name]
                for name, size in zip(self.names, self.sizes, strict=True)
            ]
        places = (np.stack(columns, axis=-1) - self.low) / self.width
        return np.clip(np.nan_to_num(places, nan=-AWAY), -AWAY, AWAY)


@dataclass(frozen=True, eq=False)
class Process:
    """A fitted process: what is added to a law's ln(response), or to its response.

    Attributes:
        axes: of the places.
        relative: whether it is one of ln(response).
        lengths: of every axis, shares of the range of its runs, (k,).
        size, noise: standard deviations of the process and of what is left, in its unit.
        places: of the runs, (g, m, k).
        pull: of each, (g, m): the inverse covariance times the residuals; 0 where there is no run.
        low, high: least and largest places of the runs, (g, k).
        fades: whether it ends right beyond these.
    """

    axes: Axes
    relative: bool
    lengths: np.ndarray
    size: float
    noise: float
    places: np.ndarray
    pull: np.ndarray
    low: np.ndarray
    high: np.ndarray
    fades: bool = False

    def applied(self, law: np.ndarray, number: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Predictions of the law with the process, (n,).

        Args:
            law: its predictions, (n,).
            number: of the group of each, (n,).
            places: of each, (n, k).
        """
        shift = np.empty(len(law))
        for g in np.unique(number):
            here = number == g
            own = places[here]
            shift[here] = self.size**2 * self._kernel(own, self.places[g]) @ self.pull[g]
            if self.fades:
                beyond = np.maximum(0.0, np.maximum(self.low[g] - own, own - self.high[g]))
                shift[here] *= np.exp(-((beyond / FADE) ** 2).sum(axis=1))
        return law * np.exp(shift) if self.relative else law + shift

    def _kernel(self, here: np.ndarray, there: np.ndarray) -> np.ndarray:
        apart = (here[:, None] - there[None]) / self.lengths
        return matern((apart**2).sum(axis=-1), 1.0)


@dataclass(frozen=True, eq=False)
class ResidualProcess:
    """What a process of the best law's residuals is worth, and the process where it helps.

    Attributes:
        inside: error of random fifths of the settings held out, of the law and with the process:
            geometric means of the mean absolute errors.
        edge: the same of the largest values held out, on which the laws are ranked.
        process: fitted to all runs; None where it does not help.
    """

    inside: tuple[float, float]
    edge: tuple[float, float]
    process: Process | None

    @property
    def offered(self) -> bool:
        """Whether predictions use it: it lowers the error inside, and does not raise it outside."""
        return self.process is not None

    def __str__(self) -> str:
        (inside, inside_with), (edge, edge_with) = self.inside, self.edge
        errors = (
            f"from {inside:.3g} to {inside_with:.3g} (random fifths of the settings), "
            f"from {edge:.3g} to {edge_with:.3g} (largest values)"
        )
        if self.process is None:
            harms = inside_with < (1 - GAIN) * inside and edge_with > (1 + EDGE) * edge
            reason = "harms at the largest values" if harms else "does not help by more than chance"
            return (
                f"a process of what the law leaves {reason} and is not offered:\n"
                f"  it would bring the error held out {errors}"
            )
        ends = "right beyond" if self.process.fades else "far from"
        return (
            f"a process of what the law leaves brings the error held out\n  {errors};\n"
            f"  {described(self.process)};\n"
            f"  in Python `predict` of the answer uses it; {ends} the runs it is the law alone"
        )

    def record(self) -> dict[str, Any]:
        """As plain values; errors that are not finite are None."""
        errors = {"inside": self.inside, "edge": self.edge}
        record: dict[str, Any] = {
            name: dict(zip(("law", "with_process"), map(_number, pair), strict=True))
            for name, pair in errors.items()
        }
        record["offered"] = self.offered
        if self.process is not None:
            own = self.process
            lengths = dict(
                zip(own.axes.names, map(float, own.lengths * own.axes.width), strict=True)
            )
            record |= {
                "ends_beyond_runs": own.fades,
                "relative": own.relative,
                "size": own.size,
                "noise": own.noise,
            }
            record |= {
                "lengths": lengths,
                "logarithmic": dict(zip(own.axes.names, own.axes.sizes, strict=True)),
            }
        return record


def _number(error: float) -> float | None:
    return float(error) if np.isfinite(error) else None


def described(process: Process) -> str:
    """Size, noise and lengths in words."""
    axes = process.axes
    unit = "{:.2g} %" if process.relative else "{:.2g}"
    times = 100 if process.relative else 1
    size, noise = (unit.format(times * x) for x in (process.size, process.noise))
    lengths = [
        f"a factor of {np.exp(length):.3g} in {name}" if is_size else f"{length:.3g} in {name}"
        for name, is_size, length in zip(
            axes.names, axes.sizes, process.lengths * axes.width, strict=True
        )
    ]
    return f"its size is {size} beside noise of {noise}, its lengths are {', '.join(lengths)}"


def judged(work: Work, law: Typed) -> ResidualProcess:
    """The process of a law's residuals, judged by what it misses of runs that are held out.

    In every hold-out the law and the process are fitted to the other runs. A process that helps
    among the runs and harms beyond them is tried once more as one that ends there.
    """
    runs = Runs.of(work, law)
    made = runs.predicted()
    processes = runs.processes(made, ~runs.out)
    first = runs.compared(made, processes)
    chosen, fades = first, False
    if first.helps and not first.harmless:
        faded = runs.compared(made, [replace(one, fades=True) for one in processes])
        if faded.helps and faded.harmless:
            chosen, fades = faded, True
    if not (chosen.helps and chosen.harmless):
        return ResidualProcess(first.inside, first.edge, None)
    return ResidualProcess(chosen.inside, chosen.edge, replace(runs.whole(law), fades=fades))


@dataclass(frozen=True)
class Compared:
    """Errors of a law without and with a process, and what follows from them.

    Attributes:
        inside, edge: as of `ResidualProcess`.
        helps: whether the error inside is lower by more than chance.
        harmless: whether the error at the edge is hardly higher.
    """

    inside: tuple[float, float]
    edge: tuple[float, float]
    helps: bool
    harmless: bool


def folds_of(variables: dict[str, np.ndarray], group: np.ndarray, seed: int) -> list[Holdout]:
    """Random parts of the settings of every group, each to be held out; a setting's runs together.

    Args:
        variables: (n,) each.
        group: number of the group of every run, (n,).
        seed: of the draw.
    """
    generator = np.random.default_rng([seed, len(group)])
    part = np.empty(len(group), dtype=int)
    settings = np.stack(list(variables.values()), axis=1)
    for g in range(group.max() + 1):
        distinct, number = np.unique(settings[group == g], axis=0, return_inverse=True)
        part[group == g] = (generator.permutation(len(distinct)) % FOLDS)[number.ravel()]
    return [Holdout(f"fifth {i + 1}", part == i) for i in range(FOLDS)]


@dataclass(frozen=True, eq=False)
class Runs:
    """The runs on which a process is judged, by group, (g, n) as in `Blocks`.

    Attributes:
        work: the search.
        model: the law's form on the runs.
        out: what is held out, largest values first, then random parts, bool (h, g, n).
        edges: hold-outs of largest values.
        rows: positions in the table, (g, n).
        axes: of the places.
        places: (g, n, k).
        some: of each group the runs that a process has, (g, m).
    """

    work: Work
    model: fitting.FormOnBlocks
    out: np.ndarray
    edges: int
    rows: np.ndarray
    axes: Axes
    places: np.ndarray
    some: np.ndarray

    @classmethod
    def of(cls, work: Work, law: Typed) -> Runs:
        """The runs of a search on which its best laws were compared."""
        table, rows = work.table, work.rows_compared
        folds = folds_of(table.variables, table.group, work.seed)
        edge = replace(work, held=(*work.held, *folds)).edge(rows)
        edges = len(work.edge(rows).out) - 1
        blocks = edge.blocks
        names = law.fit.law.variables
        axes = Axes.of({name: table.variables[name] for name in names}, work.columns.sizes)
        where = rows[np.maximum(blocks.rows, 0)]
        places = axes.places({name: table.variables[name][where] for name in names})
        drawn = np.random.default_rng([work.seed, edges]).random(where.shape)
        most = int(SOME / len(where) ** (1 / 3))
        some = np.argsort(np.where(blocks.real, drawn, 2.0), axis=1)[:, :most]
        model = edge.model(law.found.form)
        return cls(work, model, edge.out[:-1], edges, where, axes, places, some)

    @property
    def response(self) -> np.ndarray:
        """Of the runs, (g, n)."""
        return self.model.blocks.response

    def predicted(self) -> np.ndarray:
        """What the law predicts where it is fitted without each hold-out, (h, g, n)."""
        weight = (self.model.blocks.real & ~self.out).astype(float)
        return self.model.predicted(fitting.fit(self.model, weight, self.work.seed))

    def corrected(self, made: np.ndarray, processes: Sequence[Process]) -> np.ndarray:
        """These predictions with a process of each, (h, g, n)."""
        number = np.repeat(np.arange(len(self.rows)), self.rows.shape[1])
        places = self.places.reshape(len(number), -1)
        each = [
            process.applied(own.ravel(), number, places).reshape(own.shape)
            for process, own in zip(processes, made, strict=True)
        ]
        return np.stack(each)

    def compared(self, made: np.ndarray, processes: Sequence[Process]) -> Compared:
        """What the law misses of the runs held out without and with its processes."""
        y, out = self.work.table.y, self.out
        spread = float(np.abs(y - np.median(y)).mean())
        missed = [abs(one - self.response) for one in (made, self.corrected(made, processes))]
        errors = [[own[i][out[i]] for i in range(len(out))] for own in missed]
        gain = np.concatenate(errors[0][self.edges :]) - np.concatenate(errors[1][self.edges :])
        edge, edge_with = (_error(own[: self.edges], spread) for own in errors)
        inside, inside_with = (_error(own[self.edges :], spread) for own in errors)
        lower = inside_with < (1 - GAIN) * inside and inside > EXACT * spread
        harmless = edge_with <= (1 + EDGE) * edge
        return Compared(
            (inside, inside_with), (edge, edge_with), lower and _certain(gain), harmless
        )

    def whole(self, law: Typed) -> Process:
        """The process of what the law leaves of all runs."""
        number = np.broadcast_to(np.arange(len(self.rows))[:, None], self.rows.shape)
        data = {name: self.work.table.variables[name][self.rows] for name in self.axes.names}
        made = law.at(number, data)[None]
        return self.processes(made, np.ones(made.shape, dtype=bool))[0]

    def processes(self, made: np.ndarray, used: np.ndarray) -> list[Process]:
        """The process of what is left of some runs by predictions (h, g, n), of each (h,)."""
        relative, response = self.work.table.positive, self.response
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            left = np.log(response / made) if relative else response - made
        left = np.take_along_axis(left, self.some[None], axis=2)
        known = np.take_along_axis(used & self.model.blocks.real, self.some[None], axis=2)
        known &= np.isfinite(left)
        left = np.where(known, left, 0.0)
        unit = np.sqrt((left**2).sum(axis=(1, 2)) / np.maximum(1, known.sum(axis=(1, 2))))
        unit = np.where(unit > 0, unit, 1.0)
        places = np.take_along_axis(self.places, self.some[..., None], axis=1)
        low, high = (
            f(np.where(known[..., None], places, e), axis=2)
            for f, e in ((np.min, np.inf), (np.max, -np.inf))
        )
        likelihood = Likelihood.of(places, left / unit[:, None, None], known)
        ends = likelihood.greatest()
        pull = likelihood.pulls(ends) / unit[:, None, None]
        lengths, (sizes, noises) = np.exp(ends[:, :-2]), np.exp(ends[:, -2:].T) * unit
        return [
            Process(self.axes, relative, length, float(size), float(noise), places, *own)
            for length, size, noise, *own in zip(
                lengths, sizes, noises, pull, low, high, strict=True
            )
        ]


@dataclass(frozen=True, eq=False)
class Likelihood:
    """The marginal likelihood of b processes of the same runs, by lengths, size and noise.

    The coordinates are logarithms of these, (b, k + 2).

    Attributes:
        squares: squared differences of the places on every axis, (g, k, m, m).
        target: residuals of root mean square 1; 0 where one is not known, (b, g, m).
        known: bool (b, g, m).
    """

    squares: np.ndarray
    target: np.ndarray
    known: np.ndarray

    @classmethod
    def of(cls, places: np.ndarray, target: np.ndarray, known: np.ndarray) -> Likelihood:
        """Of runs at places (g, m, k)."""
        axes = np.moveaxis(places, -1, 1)
        return cls((axes[..., :, None] - axes[..., None, :]) ** 2, target, known)

    def greatest(self) -> np.ndarray:
        """Where the likelihood of each is greatest, from the likeliest of a few starts."""
        count, axes = len(self.target), self.squares.shape[1]
        sides = np.log([*[LENGTHS] * axes, SIZES, NOISES]).T
        low, high = (np.tile(side, (count, 1)) for side in sides)
        starts = [np.log([*[length] * axes, size, noise]) for length, size, noise in FIRST]
        abreast = max(1, TOGETHER // self.squares.size)
        values = [
            [self.look(np.array([i]), start[None]).objective[0] for start in starts]
            for i in range(count)
        ]
        first = np.array(starts)[np.argmin(np.nan_to_num(values, nan=np.inf), axis=1)]
        return descend(self.look, first, low, high, TOLERANCE, LOOKS, STEP, abreast)

    def pulls(self, at: np.ndarray) -> np.ndarray:
        """Inverse covariances times the residuals, (b, g, m)."""
        rows = range(len(at))
        every = [self._inverse(np.array([i]), at[i : i + 1])[0] for i in rows]
        return np.stack([(every[i] @ self.target[i][..., None])[0, ..., 0] for i in rows])

    def look(self, rows: np.ndarray, at: np.ndarray) -> Curvature:
        """-2 ln(likelihood) of some at coordinates, its slopes and its expected curvature."""
        inverse, root, slopes = self._inverse(rows, at)
        target = self.target[rows]
        pull = (inverse @ target[..., None])[..., 0]
        objective = (target * pull).sum(axis=(1, 2))
        objective += 2 * np.log(np.diagonal(root, 0, 2, 3)).sum(axis=(1, 2))
        products = slopes @ inverse[:, :, None]
        moved = (slopes @ pull[:, :, None, :, None])[..., 0]
        traces = np.trace(products, axis1=3, axis2=4)
        gradient = (traces - (moved * pull[:, :, None]).sum(axis=-1)).sum(axis=1)
        flat = (*products.shape[:3], -1)
        turned = products.swapaxes(-1, -2).reshape(flat)
        curvature = products.reshape(flat) @ turned.swapaxes(-1, -2)
        return Curvature(objective, gradient, curvature.sum(axis=1))

    def _inverse(self, rows: np.ndarray, at: np.ndarray):
        """Of some the inverse covariances, their Cholesky roots, and slopes by the coordinates.

        (r, g, m, m) each; the slopes (r, g, k + 2, m, m). A run that is not known has a
        covariance of 1 with itself.
        """
        count, axes, m = len(rows), self.squares.shape[1], self.squares.shape[-1]
        lengths, (size, noise) = np.exp(at[:, :-2]), np.exp(2 * at[:, -2:].T)
        known = self.known[rows].astype(float)
        both = size[:, None, None, None] * known[..., :, None] * known[..., None, :]
        scaled = self.squares / lengths[:, None, :, None, None] ** 2
        total = scaled.sum(axis=2)
        away = np.sqrt(5 * total)
        covariance, own = both * matern(total, 1.0), np.arange(m)
        slopes = np.zeros((*known.shape[:2], axes + 2, m, m))
        by_length = both * (5 / 3) * (1 + away) * np.exp(-away)
        slopes[:, :, :axes] = by_length[:, :, None] * scaled
        slopes[:, :, axes] = 2 * covariance
        slopes[:, :, axes + 1, own, own] = 2 * noise[:, None, None] * known
        covariance[..., own, own] += noise[:, None, None] * known + (1 - known)
        flat = covariance.reshape(-1, m, m)
        root = roots(flat)
        shape = (count, -1, m, m)
        return inverses(flat, root).reshape(shape), root.reshape(shape), slopes


def _certain(gain: np.ndarray) -> bool:
    """Whether gains (n,) are above 0 by so many standard errors."""
    if len(gain) < 2 or not np.isfinite(gain).all():
        return False
    return bool(gain.mean() > ERRORS * gain.std(ddof=1) / np.sqrt(len(gain)))


def _error(missed: list[np.ndarray], spread: float) -> float:
    """Geometric mean over hold-outs of the mean absolute error, as `Fitted.error`."""
    errors = np.array([own.mean() for own in missed])
    if not np.isfinite(errors).all():
        return float("inf")
    return float(np.exp(np.log(np.clip(errors, ROUNDED * spread, CEILING * spread)).mean()))
