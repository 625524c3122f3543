"""The sampler of devinterp 2.0.1: its order of random draws, its semantics and its results.

A chain is a copy of the model in train() mode. Before it begins, the global generators of Python,
NumPy and torch are seeded with `init_seed` plus its number; what stood in them comes back at the
end. `docs/llc.md` says where the results of this sampler are to be distrusted.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from isoloss.core.escape import visible
from isoloss.core.problems import Problem
from isoloss.posterior.compat_update import NORMS, PRODUCTS, Dynamics, Update
from isoloss.posterior.datatree import xarray
from isoloss.posterior.items import observed
from isoloss.posterior.masks import Masks, checked_masks
from isoloss.posterior.settings import Settings, SettingsError, refuse_unknown
from isoloss.posterior.tokens import LossFn, NonFiniteLogitsError, sequences, token_losses

if TYPE_CHECKING:
    import xarray as xr

METHODS = {"sgmcmc_sgld": (), "rmsprop_sgld": ("alpha", "eps", "add_grad_correction")}
_SIZES = {"lr", "n_beta", "localization", "noise_level", "llc_weight_decay"}
_SIZES |= {"bounding_box_size", "init_noise"}
BUFFER = 50  # draws that devinterp writes at a time; it is in the metadata


@dataclass(frozen=True)
class Config:
    """The settings of devinterp's `sample`, by its names and with its defaults.

    Raises:
        SettingsError: a value is of another kind or too small; see `Settings`.
    """

    lr: float
    n_beta: float
    batch_size: int = 32
    num_chains: int = 4
    num_draws: int = 200
    num_burnin_steps: int = 0
    num_steps_bw_draws: int = 1
    gradient_accumulation_steps: int = 1
    num_init_loss_batches: int = 32
    init_seed: int = 100
    localization: float = 0.0
    noise_level: float = 1.0
    llc_weight_decay: float = 0.0
    bounding_box_size: float | None = None
    sampling_method: str = "sgmcmc_sgld"
    sampling_method_kwargs: dict[str, Any] = field(default_factory=dict)
    init_noise: float | None = None
    save_metrics: bool = False
    shuffle: bool = True
    match_sampling_input_ids_across_chains: bool = True

    def __post_init__(self):
        shared = {name: getattr(self, name) for name in _SHARED}
        Settings(**shared)
        for name, value in shared.items():
            if value is not None and name in _SIZES:
                object.__setattr__(self, name, float(value))

    @property
    def num_steps(self) -> int:
        """Steps of a chain."""
        return self.num_draws * self.num_steps_bw_draws + self.num_burnin_steps

    def data_seed(self, chain: int) -> int:
        """The seed of the order of a chain's batches."""
        return self.init_seed + (0 if self.match_sampling_input_ids_across_chains else chain)

    def dynamics(self) -> Dynamics:
        """The constants of an update."""
        options = self.sampling_method_kwargs
        rmsprop = {}
        if self.sampling_method == "rmsprop_sgld":
            rmsprop = {"alpha": options.get("alpha", 0.99), "eps": options.get("eps", 0.1)}
        plain = (self.lr, self.n_beta, self.localization, self.noise_level, self.llc_weight_decay)
        return Dynamics(*plain, self.bounding_box_size, **rmsprop)

    def metadata(self) -> dict[str, Any]:
        """All settings as devinterp keeps them with the samples, with those that are constant."""
        constant = {"epoch_mode": "cycle", "scheduler_type": "constant", "scheduler_kwargs": None}
        return asdict(self) | constant | {"cores": 1, "online": False}


def method_options(
    method: str, options: Mapping[str, Any] | None, **named: float | None
) -> dict[str, Any]:
    """The constants of a sampling method: `sampling_method_kwargs` and the arguments `rmsprop_*`.

    Raises:
        SettingsError: the method does not take `rmsprop_*`, or a value is given twice.
        TypeError: the method does not take what is in `sampling_method_kwargs`.
        NotImplementedError: the gradient correction is asked for; devinterp has none either.

    Example:
        >>> method_options("rmsprop_sgld", {"alpha": 0.9}, eps=0.2)
        {'alpha': 0.9, 'eps': 0.2}
    """
    options = dict(options or {})
    for name, value in named.items():
        if value is None:
            continue
        place = f"rmsprop_{name}"
        if method != "rmsprop_sgld":
            reason = f"sampling_method is {visible(repr(method))}"
            raise SettingsError(Problem(place, reason, "it is for rmsprop_sgld only"))
        if name in options:
            reason = f"sampling_method_kwargs[{name!r}] is the same value"
            raise SettingsError(Problem(place, reason, "give one of the two"))
        options[name] = value
    for name in options:
        if name not in METHODS.get(method, options):
            reason = f"{method} does not take {visible(repr(name))}"
            raise TypeError(str(Problem("sampling_method_kwargs", reason, "leave it out")))
    if options.get("add_grad_correction"):
        reason = "the gradient correction of RMSprop is not implemented"
        raise NotImplementedError(str(Problem("add_grad_correction", reason, "leave it out")))
    return options


_SHARED = {f.name for f in fields(Config)} & {f.name for f in fields(Settings)}


@dataclass(frozen=True)
class Observable:
    """Token sequences whose losses are recorded at each draw, in batches.

    Attributes:
        name: of the variables `loss_{name}` and `input_ids_{name}`.
        tokens: (sequences, tokens).
        batches: how many batches they are evaluated in; it is in the metadata.
    """

    name: str
    tokens: Tensor
    batches: int


@dataclass
class Sampling:
    """What all chains share, and the arrays that they write their results to.

    Attributes:
        model: a copy of the user's, in train() mode; chains copy it.
        dataset: items with `input_ids`.
        masks: what moves, in the order in which noise is drawn.
        config: the settings.
        loss: (model, input_ids) to losses (batch, tokens - 1).
        observables: what is recorded at draws.
        length: tokens of a sequence.
    """

    model: nn.Module
    dataset: Any
    masks: Masks
    config: Config
    loss: LossFn
    observables: list[Observable]
    length: int

    @cached_property
    def dims(self) -> dict[str, dict[str, int]]:
        """Name of a variable to its dimensions and their lengths."""
        config, positions = self.config, {"token_pos": self.length - 1}
        chain, tokens = {"chain": config.num_chains}, {"token": self.length}
        steps = chain | {"step": config.num_steps}
        draws = chain | {"draw": config.num_draws}
        within = {"batch_sampling": config.gradient_accumulation_steps * config.batch_size}
        dims = {
            "init_loss": chain | positions,
            "sampling_loss": draws | {"batch": config.batch_size} | positions,
            "sampling_loss_micro": steps | within | positions,
            "sampling_input_ids_micro": steps | within | tokens,
        }
        for observable in self.observables:
            batch = {f"batch_{observable.name}": len(observable.tokens)}
            dims[f"loss_{observable.name}"] = draws | batch | positions
            dims[f"input_ids_{observable.name}"] = batch | tokens
        if config.save_metrics:
            dims |= {f"metrics_{name}": steps for name in (*NORMS, *PRODUCTS)}
        return dims

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """Name of a variable to its values: losses are NaN, tokens 0 until they are written."""
        arrays = {}
        for name, dims in self.dims.items():
            shape = tuple(dims.values())
            is_tokens = "input_ids" in name
            arrays[name] = (
                np.zeros(shape, np.int64) if is_tokens else np.full(shape, np.nan, np.float32)
            )
        return arrays

    def batches(self, seed: int, needed: int) -> Iterator[Tensor]:
        """Batches of token sequences: the first epoch's, in its order, over and over."""
        size, config = self.config.batch_size, self.config
        count = len(self.dataset)
        if count < size:
            reason = f"has {count} sequences, fewer than a batch of {size}"
            raise SettingsError(Problem("dataset", reason, "take a smaller batch_size"))
        order = torch.arange(count)
        if config.shuffle:
            generator = torch.Generator().manual_seed(seed)
            # a DataLoader draws the seed of its workers first
            torch.empty((), dtype=torch.int64).random_(generator=generator)
            order = torch.randperm(count, generator=generator)
        used = min(count // size, needed)
        tokens = sequences(self.dataset, order[: used * size].tolist())
        device = next(self.model.parameters()).device
        return islice(cycle(tokens.to(device).split(size)), needed)


def sample(
    model: nn.Module,
    dataset: Any,
    observables: Mapping[str, Any],
    *,
    lr: float,
    n_beta: float,
    param_masks: Masks | None = None,
    batches_per_draw: int = 3,
    obs_seed: int = 1337,
    rmsprop_eps: float | None = None,
    rmsprop_alpha: float | None = None,
    device: str | torch.device | None = None,
    output_path: Any = None,
    loss_fn: LossFn | None = None,
    **settings: Any,
) -> xr.DataTree:
    """Sample as devinterp 2.0.1 does, and keep every loss; `compute_llc` makes the LLC of them.

    Args:
        model: gives logits of token sequences, unless there is a `loss_fn`. It stays as it is.
        dataset: items with `input_ids`; see `isoloss.posterior.tokens.sequences`.
        observables: name to a dataset, or to a dataset and its batches a draw: the losses of a
            seeded choice of its sequences are recorded at each draw.
        lr: step size.
        n_beta: inverse temperature times the number of items.
        param_masks: name of a parameter to what of it moves (0 or 1 a weight, None for all); the
            others are frozen. None: all parameters move.
        batches_per_draw: of observables that do not say.
        obs_seed: seed of the choice of sequences.
        rmsprop_eps: added to the root of the mean squared gradient, for rmsprop_sgld; .1 if None.
        rmsprop_alpha: weight of the past in that mean; .99 if None.
        device: None for a GPU where there is one, else the processor.
        output_path: not used, which a warning says: nothing is kept at a path or read from it.
        loss_fn: (model, input_ids) to losses (batch, tokens - 1); cross-entropy if None.
        settings: the fields of `Config`.

    Returns:
        `init_loss` (chain, token_pos), `sampling_loss` (chain, draw, batch, token_pos),
        `sampling_loss_micro` (chain, step, batch_sampling, token_pos), all in nats, float32;
        `sampling_input_ids_micro`; `loss_{name}`, `input_ids_{name}` of observables;
        `metrics_{name}` (chain, step) with save_metrics. After a chain's failure its losses are
        NaN, which a warning says.

    Raises:
        SettingsError: a setting, a mask or the data cannot be sampled with.
        NonFiniteLogitsError: the model gives NaN before the first step.
        TypeError: there is no setting of that name.

    Example:
        >>> model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 5))
        >>> data = [{"input_ids": [i % 5, (i + 1) % 5, (i + 2) % 5]} for i in range(64)]
        >>> samples = sample(model, data, {}, lr=1e-4, n_beta=10.0, num_draws=3, batch_size=8)
        >>> samples["sampling_loss_micro"].sizes
        Frozen({'chain': 4, 'step': 3, 'batch_sampling': 8, 'token_pos': 2})
    """
    warn_of_path(output_path)
    refuse_unknown("sample", settings, [f.name for f in fields(Config)])
    config = Config(lr, n_beta, **settings)
    given, named = config.sampling_method_kwargs, {"eps": rmsprop_eps, "alpha": rmsprop_alpha}
    options = method_options(config.sampling_method, given, **named)
    config = replace(config, sampling_method_kwargs=options)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    length = sequences(dataset, [0]).shape[1]
    if length < 2:
        reason = f"its sequences have length {length}"
        raise SettingsError(Problem("dataset", reason, "the loss of a next token needs 2 or more"))
    masks = checked_masks(param_masks, model)
    chosen = [
        Observable(one.name, one.tokens().to(device), one.batches)
        for one in observed(observables, batches_per_draw, obs_seed, config.batch_size)
    ]
    with _global_generators():
        copy = deepcopy(model).to(device).train()
        loss = loss_fn or token_losses
        sampling = Sampling(copy, dataset, masks, config, loss, chosen, length)
        for chain in range(config.num_chains):
            sampling.arrays["init_loss"][chain] = _init_loss(sampling, chain)
        for chain in range(config.num_chains):
            _run(sampling, chain)
    return _tree(sampling)


def warn_of_path(output_path: Any) -> None:
    """Warn that nothing is written to a path, before the work begins."""
    if output_path is not None:
        text = f"output_path {visible(repr(str(output_path)))} is not used: nothing is written to"
        remedy = "save what isoloss.posterior.compat.sample returns, with its method to_zarr"
        warnings.warn(f"{text} it, and no result is read from it; {remedy}", stacklevel=4)


@contextmanager
def _global_generators() -> Iterator[None]:
    """Let the global generators be seeded; their states come back at the end."""
    python, legacy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)


def _seed(seed: int) -> None:
    np.random.seed(seed)
    torch.manual_seed(seed)
    random.seed(seed)


@torch.no_grad()
def _init_loss(sampling: Sampling, chain: int) -> np.ndarray:
    """The loss before sampling (positions), with initial noise on all parameters if there is any.

    Raises:
        SettingsError: losses have another shape than (batch, tokens - 1).
    """
    config, model = sampling.config, sampling.model
    _seed(config.init_seed + chain)
    parameters = list(model.parameters())
    trained = [parameter.detach().clone() for parameter in parameters]
    if config.init_noise:
        for parameter in parameters:
            parameter.add_(torch.randn_like(parameter) * config.init_noise)
    count = config.gradient_accumulation_steps * config.num_init_loss_batches
    total: Tensor | float = 0.0
    for tokens in sampling.batches(config.data_seed(chain), count):
        losses = sampling.loss(model, tokens)
        shape = (config.batch_size, sampling.length - 1)
        if tuple(losses.shape) != shape:
            reason, remedy = f"gives losses of shape {tuple(losses.shape)}", f"give {shape}"
            raise SettingsError(Problem("loss_fn", reason, f"{remedy}, a loss for each next token"))
        total += losses.float() / count
    for parameter, values in zip(parameters, trained, strict=True):
        parameter.copy_(values)
    return total.mean(dim=0).cpu().numpy()


def _run(sampling: Sampling, chain: int) -> None:
    """Run a chain to its end or its failure, and write down its losses."""
    config, arrays = sampling.config, sampling.arrays
    model = deepcopy(sampling.model)
    _seed(config.init_seed + chain)
    update = Update(model, sampling.masks, config.dynamics(), config.save_metrics)
    if config.init_noise:
        update.disturb(config.init_noise)
    needed = config.num_steps * config.gradient_accumulation_steps
    feed = sampling.batches(config.data_seed(chain), needed)
    for step in range(config.num_steps):
        try:
            loss = _learn(sampling, model, feed, (chain, step))
            if loss is None:
                raise NonFiniteLogitsError("the loss is NaN or infinite")
            update.step()
            for name, value in update.metrics.items():
                arrays[f"metrics_{name}"][chain, step] = value
            draw, since = divmod(step - config.num_burnin_steps, config.num_steps_bw_draws)
            if draw >= 0 and since == 0:
                arrays["sampling_loss"][chain, draw] = loss.cpu().numpy()
                _observe(sampling, model, (chain, draw))
        except NonFiniteLogitsError as error:
            text = f"chain {chain} failed at step {step} of {config.num_steps}: {error}"
            warnings.warn(f"{text}; its later losses are NaN", stacklevel=3)
            return


def _learn(
    sampling: Sampling, model: nn.Module, feed: Iterator[Tensor], at: tuple[int, int]
) -> Tensor | None:
    """The gradient of a step's mean loss, and that loss (batch, positions).

    The step's losses are written down at `at` (chain, step) once all its batches have one; if one
    of them is not finite the result is None.
    """
    parts = sampling.config.gradient_accumulation_steps
    total, losses, tokens = torch.zeros(()), [], []
    for batch in islice(feed, parts):
        loss = sampling.loss(model, batch)
        losses.append(loss.detach().float())
        tokens.append(batch)
        (loss.float().mean() / parts).backward()
        total = total.to(loss.device) + losses[-1] / parts
    sampling.arrays["sampling_loss_micro"][at] = torch.cat(losses).cpu().numpy()
    sampling.arrays["sampling_input_ids_micro"][at] = torch.cat(tokens).cpu().numpy()
    return total if torch.isfinite(total).all() else None


@torch.no_grad()
def _observe(sampling: Sampling, model: nn.Module, at: tuple[int, int]) -> None:
    """Write down the losses of the observables at a draw, `at` (chain, draw)."""
    size = sampling.config.batch_size
    for observable in sampling.observables:
        parts = observable.tokens.split(size)
        losses = torch.cat([sampling.loss(model, tokens).float() for tokens in parts])
        sampling.arrays[f"loss_{observable.name}"][at] = losses.cpu().numpy()


def _tree(sampling: Sampling) -> xr.DataTree:
    """All arrays and settings as one group without coordinates."""
    xr, config = xarray(), sampling.config
    for observable in sampling.observables:
        sampling.arrays[f"input_ids_{observable.name}"][:] = observable.tokens.cpu().numpy()
    described = {
        "sampler": config.metadata(),
        "observables": [
            {
                "type": "ObserveDifferentDataset",
                "obs_id": observable.name,
                "batches_per_draw": observable.batches,
            }
            for observable in sampling.observables
        ],
        "chain_buffer_size": min(BUFFER, config.num_draws),
        "shared_observable_dims": ["token", "token_pos"],
        "tokenizer_context_length": sampling.length,
    }
    attrs: dict[str, Any] = {"metadata": {"config": described}, "completed": 1}
    if config.save_metrics:
        parameters = dict(sampling.model.named_parameters())
        attrs["metrics_numel"] = sum(
            parameters[name].numel() if mask is None else int(mask.count_nonzero())
            for name, mask in sampling.masks.items()
        )
    variables = {
        name: (tuple(sampling.dims[name]), values) for name, values in sampling.arrays.items()
    }
    return xr.DataTree(xr.Dataset(variables, attrs=attrs))
