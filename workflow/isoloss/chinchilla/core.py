"""The class `Chinchilla`: draw seeding runs, fit the law, divide a larger budget."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from rich.markup import escape as markup

from isoloss.chinchilla import _formula
from isoloss.chinchilla._config import read_config
from isoloss.chinchilla._formula import PARAMS, OfParams
from isoloss.chinchilla._logger import get_logger
from isoloss.chinchilla._metrics import asymmetric_mae
from isoloss.chinchilla._utils import AttrDict, is_between, ordinal, search_model_config
from isoloss.chinchilla._validator import ModelSearchConfig, ParamGrid, SeedRanges
from isoloss.chinchilla.database import Database
from isoloss.chinchilla.visualizer import Visualizer
from isoloss.core import escape

if TYPE_CHECKING:
    from isoloss.chinchilla._fitting import Fitted
    from isoloss.fitted import Fit

DTYPE = np.double  # of the numbers that a fit and `weight_fn` are given
TRIALS = 2**10  # of a draw from the seed regime
Allocation = tuple[tuple[float, float], dict[str, Any] | None]


class Chinchilla:
    """A project of training runs that looks for the law of its losses, L = E + A/N^α + B/D^β.

    Draw runs from a seed regime (`seed`), train and `append` them, `fit` the law, and `scale` the
    compute; `step` does the first or the last two by the number of runs that there are.

    Args:
        project_dir: folder of the runs and figures; it is created if it does not exist.
        param_grid: values from which a fit starts, of E or e, A or a, B or b, alpha and beta; a
            lower-case letter is a logarithm.
        seed_ranges: least and greatest C (FLOP) and N_to_D (samples per parameter) of seeding runs.
        model_search_config: `hyperparam_grid` and `size_estimator` of the models that there are.
        loss_fn: takes observed and predicted losses, returns a penalty of each run.
        weight_fn: takes C, (n,), returns the weight of each run.
        num_seeding_steps: seeding runs of `step` before it scales.
        scaling_factor: by which `scale` multiplies the greatest compute so far.
        log_level: messages below it are not printed.

    Attributes:
        E, A, B, alpha, beta: the law, after `fit`; they can be set too.
        database: the runs, `database.df`.
        seed_ranges: C, N_to_D, and the N and D that follow from them, by attribute or key; only of
            a project that was given them.

    Raises:
        ValueError: no folder is named, or `df.csv` in it cannot be read.
        pydantic.ValidationError: a grid, range or configuration is not what it must be.
        TypeError: `loss_fn` or `weight_fn` cannot be called.
        FileExistsError: `project_dir` is a file.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> grid = dict(E=[1.5], A=[400], B=[400], alpha=[0.3], beta=[0.3])
        >>> ranges = dict(C=(1e15, 1e16), N_to_D=(10, 100))
        >>> with TemporaryDirectory() as folder:
        ...     cc = Chinchilla(folder, grid, ranges, log_level=40)
        ...     (N, D), config = cc.seed()
        >>> bool(1e15 <= 6 * N * D <= 1e16)
        True
    """

    E: float
    A: float
    B: float
    alpha: float
    beta: float

    algorithm = "BFGS"  # the package's name of its search; here every start is searched at once
    allocate_compute = allocate = OfParams(_formula.allocate)
    predict_loss = L = OfParams(_formula.predict)

    def __init__(
        self,
        project_dir: str | os.PathLike = "./",
        param_grid: dict[str, Any] | None = None,
        seed_ranges: dict[str, Any] | None = None,
        model_search_config: dict[str, Any] | None = None,
        loss_fn: Callable = asymmetric_mae,
        weight_fn: Callable | None = None,
        num_seeding_steps: int | None = None,
        scaling_factor: float | None = None,
        log_level: int | str = 20,
    ) -> None:
        if not project_dir:
            raise ValueError("`project_dir` is empty: name a directory; it is created if need be")
        self.logger = get_logger(log_level, name="chinchilla")
        self.param_grid = {} if param_grid is None else param_grid
        ParamGrid(**self.param_grid)
        if seed_ranges:
            self.seed_ranges = _regime(seed_ranges)
        self.model_search_config = model_search_config or None
        if model_search_config:
            ModelSearchConfig(**model_search_config)
        else:
            self.logger.warning(
                "`model_search_config` is not given: assign it before calling `seed`, or look for "
                "the model nearest to N yourself, and call `cc.adjust_D_to_N(N)` when scaling"
            )
        if not callable(loss_fn):
            raise TypeError("`loss_fn` must be callable")
        if weight_fn is not None and not callable(weight_fn):
            raise TypeError("`weight_fn` must be callable or None")
        self.loss_fn, self.weight_fn = loss_fn, weight_fn
        self.num_seeding_steps, self.scaling_factor = num_seeding_steps, scaling_factor
        self.project_dir = project_dir
        self._open_folder()
        self.database = Database(project_dir, log_level=log_level)
        self._fitted: Fitted | None = None

    def _open_folder(self) -> None:
        shown = markup(escape.visible(self.project_dir))
        if os.path.isfile(self.project_dir):
            raise FileExistsError(f"`project_dir` {escape.visible(self.project_dir)} is a file")
        verb = "Using" if os.path.isdir(self.project_dir) else "Creating"
        self.logger.info(f"{verb} the folder [u]{shown}[/]")
        os.makedirs(self.project_dir, exist_ok=True)

    def __getattr__(self, name: str) -> Any:
        """Say why an attribute is not there (yet)."""
        if name in PARAMS:
            raise AttributeError(f"{name} is not estimated yet: call `fit`")
        if name == "seed_ranges":
            raise AttributeError("`seed_ranges` were not given when this Chinchilla was made")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Give the class methods of a subclass the parameters of an instance, as ours have them."""
        super().__init_subclass__(**kwargs)
        for name in ("allocate_compute", "predict_loss"):
            if isinstance(method := vars(cls).get(name), classmethod):
                setattr(cls, name, OfParams(method.__get__(None, cls)))

    @classmethod
    def from_config(cls, config_path: str | os.PathLike, **kwargs: Any) -> Chinchilla:
        """A project by a file with the arguments of `Chinchilla`.

        Args:
            config_path: of a file in JSON (.json) or YAML (.yaml, .yml).
            kwargs: arguments that replace those of the file, such as functions.

        Raises:
            ValueError: it has another ending, or is not a mapping in that format.
            TypeError: it has a key that is not an argument.
        """
        return cls(**{**read_config(config_path, cls.__init__), **kwargs})

    @property
    def regime(self) -> AttrDict | None:
        """`seed_ranges`, or None where there are none."""
        try:
            return self.seed_ranges
        except AttributeError:
            return None

    @property
    def is_fitted(self) -> bool:
        """Whether E, A, B, alpha and beta are there."""
        try:
            return bool(self.get_params())
        except ValueError:
            return False

    @cached_property
    def visualizer(self) -> Visualizer:
        """The figures of this project."""
        return Visualizer(self.project_dir, log_level=self.logger.getEffectiveLevel())

    def append(self, **result: Any) -> None:
        """Add a run to the database: see `Database.append`."""
        self.database.append(**result)

    def plot(self, *args: Any, **kwargs: Any) -> None:
        """Draw runs and law: see `Visualizer.plot`."""
        self.visualizer.plot(self, *args, **kwargs)

    def simulate(self, *args: Any, **kwargs: Any) -> None:
        """Simulate seeding and scaling under a hypothetical law: see `Simulator.__call__`."""
        from isoloss.chinchilla.simulator import Simulator

        Simulator(self)(*args, **kwargs)

    def seed(self, generator: random.Random | np.random.Generator | None = None) -> Allocation:
        """Draw N and D from the seed regime, C and D/N log-uniform, with a model of about that N.

        Args:
            generator: of the draws; Python's global one if None.

        Returns:
            (N, D) and the model's configuration, None without `model_search_config`.

        Raises:
            ValueError: there are no `seed_ranges`, or no draw of 1024 has a model in them.
        """
        regime = self.regime
        if regime is None:
            raise ValueError("seeding needs `seed_ranges`: give them to `Chinchilla`")
        draw = random if generator is None else generator
        for _ in range(TRIALS):
            C = np.exp(draw.uniform(*np.log(regime.C)))
            ratio = np.exp(draw.uniform(*np.log(regime.N_to_D)))
            N = np.sqrt(C / (6 * ratio))
            D = N * ratio
            N, config = self._model(N)
            C = C if config is None else 6 * N * D
            if is_between(C, regime.C) and is_between(D / N, regime.N_to_D):
                break
        else:
            raise ValueError(
                f"could not find a valid configuration in {TRIALS} trials: widen `seed_ranges`, or "
                "give `hyperparam_grid` models of sizes within them"
            )
        self._log_run(self.logger.debug, C, N, D)
        return (N, D), config

    def _model(self, N: float) -> tuple[float, dict[str, Any] | None]:
        """The size and configuration of the model nearest to N; N itself and None if any is."""
        if self.model_search_config is None:
            return N, None
        search = {key: self.model_search_config[key] for key in ModelSearchConfig.model_fields}
        config, size = search_model_config(N, **search, use_cache=True)
        return size, config

    def _log_run(self, log: Callable, C: float, N: float, D: float) -> None:
        number = ordinal(len(self.database.df) + 1)
        log(f"{number} run:\t{C:.2e} FLOPs => {N:.2e} params * {D:.2e} samples")

    def fit(self, parallel: bool = True, simulation: bool = False) -> None:
        """Estimate E, A, B, alpha and beta from the runs of the database, and draw how well.

        Args:
            parallel: has no effect: all starts are searched together.
            simulation: the figure's name begins with `simulation--`.

        Raises:
            ValueError: there are fewer than 3 runs, one of them has no finite loss or no positive N
                and D, or no start leads to a finite objective.
            TypeError: `DTYPE` is less precise than 64 bits.

        Example:
            >>> from tempfile import TemporaryDirectory
            >>> from isoloss.chinchilla._metrics import log_huber
            >>> grid = dict(E=[1.5], a=[6], b=[6], alpha=[0.3], beta=[0.3])
            >>> with TemporaryDirectory() as folder:
            ...     cc = Chinchilla(folder, grid, loss_fn=log_huber, log_level=40)
            ...     for N in (1e7, 1e8, 1e9):
            ...         for D in (1e9, 1e10, 1e11):
            ...             cc.append(N=N, D=D, loss=1.7 + 400 / N**0.34 + 400 / D**0.28)
            ...     cc.fit()
            >>> {name: round(value, 4) for name, value in cc.params.items()}
            {'E': 1.7, 'A': 400.0, 'B': 400.0, 'alpha': 0.34, 'beta': 0.28}
            >>> N, D = cc.allocate_compute(1e21)
            >>> float(round(cc.predict_loss(N, D), 3))
            2.325
        """
        from isoloss.chinchilla._fitting import fitted

        df = self._checked_runs()
        if np.dtype(DTYPE).itemsize < 8:
            raise TypeError(f"a fit needs numbers of at least 64 bits, not {np.dtype(DTYPE)}")
        if self.weight_fn is not None:
            self.logger.warning("`weight_fn` is given C of the runs, and nothing else of them")
        self._fitted = fitted(df, self.param_grid, self.loss_fn, self.weight_fn)
        for name in PARAMS:
            setattr(self, name, self._fitted.params[name])
        predicted = self.predict_loss(df["N"].to_numpy(), df["D"].to_numpy())
        self.visualizer.optim(predicted, df["loss"].to_numpy(), simulation=simulation)
        self.logger.info(
            f"L(N, D) = {self.E:#.4g} + {self.A:#.4g} / N^{self.alpha:#.4g} + "
            f"{self.B:#.4g} / D^{self.beta:#.4g}"
        )

    def _checked_runs(self, at_least: int = 3) -> pd.DataFrame:
        """The runs, with N, D and the loss as floats.

        Args:
            at_least: so many runs must be there.

        Raises:
            ValueError: they are too few, or one is not what a law can be fitted to.
        """
        df = self.database.df.copy()
        if len(df) < at_least:
            raise ValueError(
                f"not enough training runs: there are {len(df)} runs in the database, and it takes "
                f"{at_least}"
            )
        for name in ("N", "D", "loss"):
            df[name] = df[name].astype(DTYPE)
            wrong = ~np.isfinite(df[name]) | ((df[name] <= 0) & (name != "loss"))
            if wrong.any():
                row = int(wrong.to_numpy().argmax())
                value = df[name].iloc[row]
                raise ValueError(f"{name} of run {row + 1} is {value}: correct or remove that run")
        return df

    @property
    def fit_result(self) -> Fit:
        """The fit as this library has it, with intervals and evidence (`isoloss.Fit`).

        Raises:
            ValueError: `fit` was not called.
        """
        if self._fitted is None:
            raise ValueError("there is no fit yet: call `fit`")
        return self._fitted.result()

    def scale(
        self,
        scaling_factor: float | None = None,
        C: float | None = None,
        simulation: bool = False,
    ) -> Allocation:
        """The best N and D for more compute, by the law, with a model of about that N.

        Args:
            scaling_factor: by which the greatest C of seed regime and runs is multiplied; that of
                the project if None.
            C: the compute in FLOP, in place of a factor.
            simulation: the figure's name begins with `simulation--`.

        Returns:
            (N, D) and the model's configuration, None without `model_search_config`.

        Raises:
            ValueError: the law is not estimated; neither a factor nor C is known, or both are
                given; a factor, without seed regime and runs.
        """
        self.get_params()  # there are some
        self._check_scale(scaling_factor, C)
        if C is None:
            C = self._greatest_compute() * (scaling_factor or self.scaling_factor)
        N, D = self.allocate_compute(C)
        N, config = self._model(N)
        if config is not None:
            D = self.adjust_D_to_N(N)
            C = 6 * N * D
            if len(self.database.df) and self.database.df["C"].max() >= C:
                self.logger.warning(
                    "The scaling process has saturated: a run before it took as much compute; "
                    "give `hyperparam_grid` larger models"
                )
        self._log_run(self.logger.info, C, N, D)
        self.plot(next_point={"C": float(C), "N": float(N), "D": float(D)}, simulation=simulation)
        return (N, D), config

    def _check_scale(self, scaling_factor: float | None, C: float | None) -> None:
        if not any([C, scaling_factor, self.scaling_factor]):
            raise ValueError("You must specify either `C` or `scaling_factor`, a positive number")
        if C and scaling_factor:
            raise ValueError("You cannot specify both `C` and `scaling_factor`")

    def _greatest_compute(self) -> float:
        """The greatest C in FLOP of the runs and the seed regime."""
        amounts = [] if self.regime is None else [self.regime.C[1]]
        if len(self.database.df):
            amounts.append(int(self.database.df["C"].max()))
        if not amounts:
            raise ValueError("there is neither a run nor `seed_ranges` to scale from: give `C`")
        return max(amounts)

    def step(
        self,
        num_seeding_steps: int | None = None,
        parallel: bool = True,
        simulation: bool = False,
        generator: random.Random | np.random.Generator | None = None,
        **scale_kwargs: Any,
    ) -> Allocation:
        """The next run: a draw while seeding runs are missing, then `fit` and `scale`.

        Args:
            num_seeding_steps: runs within the seed regime before compute is scaled; that of the
                project if None.
            parallel: of `fit`.
            simulation: of `fit` and `scale`.
            generator: of `seed`.
            scale_kwargs: `scaling_factor` or `C` of `scale`.

        Returns:
            (N, D) and the model's configuration, None without `model_search_config`.

        Raises:
            ValueError: as `seed`, `fit` and `scale`; `num_seeding_steps` is not known.
        """
        count = num_seeding_steps or self.num_seeding_steps
        if count is None:
            raise ValueError("give `num_seeding_steps` to `step` or to `Chinchilla`")
        df = self.database.df
        seeds = int(np.sum(is_between(df["C"].astype(float), self.seed_ranges.C)))
        if seeds < count:
            if not simulation:
                self.logger.info(f"{seeds} of {count} [i]seed[/] runs: drawing the next")
            # a subclass may have a `seed` without arguments
            return self.seed() if generator is None else self.seed(generator)
        self._check_scale(scale_kwargs.get("scaling_factor"), scale_kwargs.get("C"))
        if not simulation:
            self.logger.info(f"{seeds} [i]seed[/] runs: fitting the law to {len(df)} runs")
        self.fit(parallel=parallel, simulation=simulation)
        return self.scale(simulation=simulation, **scale_kwargs)

    def adjust_D_to_N(self, N: float) -> float:
        """The D with which N parameters are the best division of some compute.

        Args:
            N: number of parameters.

        Returns:
            D, number of samples.

        Raises:
            ValueError: N is not a positive number.
        """
        if not isinstance(N, int | float | np.integer | np.floating) or not N > 0:
            raise ValueError(f"N must be a positive number, not {N!r}")
        D = _formula.samples_for(N, {name: getattr(self, name) for name in PARAMS[1:]})
        self.logger.debug(f"D = {D:.1f} for N = {N}")
        return D

    def get_params(self) -> dict[str, float]:
        """E, A, B, alpha and beta by name.

        Raises:
            ValueError: they are not estimated.
        """
        try:
            return {name: float(getattr(self, name)) for name in PARAMS}
        except AttributeError:
            raise ValueError("the law is not estimated yet: call `fit`") from None

    @property
    def params(self) -> dict[str, float]:
        """E, A, B, alpha and beta by name: see `get_params`."""
        return self.get_params()

    def report(self, plot: bool = True) -> None:
        """Log the parameters and the mean penalty of the runs, and draw law and runs.

        Args:
            plot: draw them.

        Raises:
            ValueError: the law is not estimated.
        """
        lines = [f"    - {name}: {value}" for name, value in self.get_params().items()]
        self.logger.info("\n".join(["Estimated scaling law parameters:", *lines]))
        df = self.database.df
        if not len(df):
            return
        N, D, loss = (df[name].to_numpy(DTYPE) for name in ("N", "D", "loss"))
        penalties = self.loss_fn(loss, self.predict_loss(N, D))
        if self.weight_fn is not None:
            weights = self.weight_fn(df["C"].to_numpy(DTYPE))
            penalties = penalties * (weights / np.mean(weights))
        name = getattr(self.loss_fn, "__name__", "loss_fn")
        self.logger.info(f"Goodness of fit:\n    - `{markup(name)}`: {np.mean(penalties):.8f}")
        if plot:
            self.plot()

    def sweep_param_grid(
        self, plot: bool = True, img_name: str = "sweep_param_grid"
    ) -> tuple[np.ndarray, float]:
        """The point of `param_grid` with the least mean penalty of the runs, without a search.

        Args:
            plot: draw the least penalty by each parameter.
            img_name: of the figure, without `.png`.

        Returns:
            The point, (5,), each parameter divided by the range of its values (by 1 if there is
            one value), in the order of `param_grid`; and the mean penalty there.

        Raises:
            ValueError: there are no runs, or one is not what a law can be fitted to.
        """
        from isoloss.chinchilla._grid import GridSweep

        runs = self._checked_runs(at_least=1)
        sweep = GridSweep.of(runs, self.param_grid, self.loss_fn, self.weight_fn)
        if plot:
            self.visualizer.save(sweep.draw, img_name)
        return sweep.best


def _regime(seed_ranges: dict[str, Any]) -> AttrDict:
    """Ranges of C and D/N, and the N and D that follow from them."""
    checked = SeedRanges(**seed_ranges)
    (least, greatest), (few, many) = checked.C, checked.N_to_D
    return AttrDict(
        C=[least, greatest],
        N_to_D=seed_ranges["N_to_D"],
        N=[np.sqrt(least / (6 * many)), np.sqrt(greatest / (6 * few))],
        D=[np.sqrt(least * few / 6), np.sqrt(greatest * many / 6)],
    )
