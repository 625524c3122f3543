"""The class `Simulator`: seeding, fitting and scaling under a law that is known."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from isoloss.chinchilla._fitting import CARD, LEAST, known, starts_of
from isoloss.chinchilla._formula import predict
from isoloss.chinchilla._logger import get_logger
from isoloss.chinchilla._validator import SimulationArgs
from isoloss.chinchilla.core import Chinchilla
from isoloss.chinchilla.database import Database
from isoloss.simulate.noise import Draw
from isoloss.simulate.simulation import Simulation, simulate_studies

Noise = Iterator[float] | tuple[Callable[..., float], tuple] | None
HOFFMANN = {  # of arXiv:2203.15556, appendix D.2
    "E": 1.69337368,
    "A": 406.401018,
    "B": 410.722827,
    "alpha": 0.33917084,
    "beta": 0.2849083,
}
WORSE = (random.expovariate, (10,))  # noise that only makes losses worse, 0.1 in the mean
ROUND = 1e-3  # of replicates: width of corners of a penalty, over the loss; exact ones take long


class Simulator(Chinchilla):
    """A project of hypothetical training runs, whose losses are those of a law that is known.

    It has all that its `Chinchilla` has, and runs of its own that are kept in memory.

    Args:
        cc: the project whose seed regime, grid, `loss_fn` and so on are tried.

    Attributes:
        cc: the same.
        database: the simulated runs, after a simulation.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> grid = dict(E=[1.5], A=[400], B=[400], alpha=[0.3], beta=[0.3])
        >>> ranges = dict(C=(1e15, 1e16), N_to_D=(10, 100))
        >>> with TemporaryDirectory() as folder:
        ...     cc = Chinchilla(folder, grid, ranges, log_level=50)
        ...     simulator = Simulator(cc)
        ...     simulator(num_seeding_steps=5, num_scaling_steps=0)
        >>> len(simulator.database.df)
        5
    """

    def __init__(self, cc: Chinchilla) -> None:
        self.cc = cc
        self.log_level = cc.logger.getEffectiveLevel()
        self.logger = get_logger(self.log_level, name="chinchilla.simulator")
        self._fitted = None

    def __getattr__(self, name: str) -> Any:
        """What the simulator has not itself is that of its `Chinchilla`."""
        if name == "cc":  # not made yet, as where it is copied
            raise AttributeError(name)
        return getattr(self.cc, name)

    @property
    def visualizer(self) -> Any:
        """The figures of the project."""
        return self.cc.visualizer

    def __call__(
        self,
        num_seeding_steps: int = 100,
        num_scaling_steps: int = 1,
        scaling_factor: float | None = None,
        target_params: dict[str, float] = HOFFMANN,
        noise_generator: Noise = WORSE,
    ) -> None:
        """Draw seeding runs, and fit and scale as often as asked, under a hypothetical law.

        Args:
            num_seeding_steps: seeding runs, at least 3 if a step of scaling follows.
            num_scaling_steps: steps of fit and scale.
            scaling_factor: by which each multiplies the compute; that of the project if None.
            target_params: E, A, B, alpha and beta of the law.
            noise_generator: gives what is added to each loss: an iterator, or a function and its
                arguments; None for nothing.

        Raises:
            TypeError: `noise_generator` is a pair, and not of a function and a sequence.
            pydantic.ValidationError: an argument is not what it must be.
        """
        if isinstance(noise_generator, tuple | list):
            noise_generator = _endless(noise_generator)
        factor = scaling_factor or self.scaling_factor
        SimulationArgs(
            num_seeding_steps=num_seeding_steps,
            num_scaling_steps=num_scaling_steps,
            scaling_factor=factor,
            target_params=target_params,
            noise_generator=noise_generator,
        )
        self.num_seeding_steps, self.num_scaling_steps = num_seeding_steps, num_scaling_steps
        self.scaling_factor, self.target_params = factor, target_params
        self.noise_generator = noise_generator
        self.database = Database(log_level=self.log_level)
        self.logger.info("[b]Starting a simulation[/]")
        seeding = track(
            range(num_seeding_steps),
            description="Simulating seeding runs",
            console=Console(stderr=True),
            disable=self.log_level <= 10 or self.log_level > 30,
        )
        for _ in seeding:
            self._simulated_run()
        for _ in range(num_scaling_steps):
            self._simulated_run()
        if not num_scaling_steps:
            self.plot(simulation=True)

    def _simulated_run(self) -> None:
        """Add the next run to the database, with the loss of the law and its noise."""
        (N, D), _ = self.step(simulation=True)
        loss = predict(N, D, self.target_params)
        if self.noise_generator is not None:
            loss += next(self.noise_generator)
        self.append(N=N, D=D, C=6 * N * D, loss=loss)

    def replicates(
        self,
        n: int = 1000,
        *,
        num_seeding_steps: int | None = None,
        target_params: Mapping[str, float] = HOFFMANN,
        noise: Mapping[str, Any] | Draw | None = None,
        budgets: Sequence[float] | None = None,
        bootstrap: int = 100,
        seed: int = 0,
        workers: int | None = None,
    ) -> Simulation:
        """How well seeding runs of this project recover a law, over many simulated projects.

        Each replicate draws seeding runs as `seed` does, gives them the losses of the law with
        noise, and fits them as `fit` does: from `param_grid`, by `loss_fn` and `weight_fn`. To be
        fast, corners of a penalty are round within a thousandth of the loss, and E is above 0.

        Args:
            n: how many replicates.
            num_seeding_steps: runs of each; those of the project if None, or 100.
            target_params: E, A, B, alpha and beta of the law.
            noise: as of `isoloss.simulate_studies`: a kind with its settings, or a function of
                (generator, N, D, loss); if None exponential, 0.1 in the mean.
            budgets: FLOP whose best division is compared too; if None the greatest C of the seed
                regime times the project's `scaling_factor`, or times 10.
            bootstrap: replicates of each fit, for its intervals.
            seed: of all draws.
            workers: processes; as many as there are cores if None.

        Returns:
            Tables `recovery` (bias, standard deviation and coverage of each parameter, and of N, D,
            loss and the exponent of the best division) and `trials`.

        Raises:
            ValueError: the project has no `seed_ranges`.
            isoloss.core.problems.IsolossError: an argument is not what it must be.
        """
        if self.regime is None:
            raise ValueError("simulating needs `seed_ranges`: give them to `Chinchilla`")
        count = num_seeding_steps or self.num_seeding_steps or 100
        greatest = self.regime.C[1] * (self.scaling_factor or 10)

        def seeding(rng: np.random.Generator) -> np.ndarray:
            return np.array([self.cc.seed(rng)[0] for _ in range(count)], dtype=float).T

        return simulate_studies(
            {"card": CARD, "values": dict(target_params)},
            seeding,
            {"kind": "exponential", "mean": 0.1} if noise is None else noise,
            {"chinchilla": {**self._estimator(), "bootstrap": bootstrap}},
            replicates=n,
            budgets=[greatest] if budgets is None else budgets,
            seed=seed,
            workers=workers,
        )

    def _estimator(self) -> dict[str, Any]:
        """The project's fit as an estimator of simulated studies."""
        objective = known(self.loss_fn) or {"of_losses": self.loss_fn}
        return {
            "card": CARD,
            "objective": {**objective, "smooth": ROUND},
            "starts": self._starts(),
            "weights": self.weight_fn,
        }

    def _starts(self) -> np.ndarray:
        """The starts of the project's grid, and the law's own, with the logarithm of E."""
        starts = starts_of(self.param_grid)
        starts[:, 0] = np.log(np.maximum(starts[:, 0], LEAST))
        return starts


def _endless(pair: Sequence[Any]) -> Iterator[float]:
    """What a function gives of its arguments, again and again.

    Raises:
        TypeError: it is not a function and a sequence.
    """
    function, arguments = pair
    if not (callable(function) and isinstance(arguments, tuple | list)):
        raise TypeError("a pair as `noise_generator` must be a function and its arguments")
    return (function(*arguments) for _ in itertools.repeat(None))
