"""The local learning coefficient (LLC) of a model in one call."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from isoloss.core.escape import listed, visible
from isoloss.core.problems import Problem, nearest
from isoloss.posterior import compat, datatree, items
from isoloss.posterior.health import chain_rows, summary
from isoloss.posterior.masks import Masks, checked_masks
from isoloss.posterior.model_potential import ModelPotential
from isoloss.posterior.sampler import Samples, sample
from isoloss.posterior.settings import Settings, SettingsError, refuse_unknown
from isoloss.posterior.tokens import cross_entropies, logits_of

if TYPE_CHECKING:
    import xarray as xr

ENGINES = ("fast", "compat")
# columns of the table `llc` that the fast engine returns beside the variables of devinterp
FURTHER = ("llc_se", "llc_paired", "llc_unpaired", "llc_with_burnin", "init_loss_se")
FURTHER += (
    "split_rhat",
    "ess",
    "share_below",
    "drift",
    "batch_heat",
    "distance",
    "chains_ok",
    "chains_failed",
)
FURTHER += ("n_items", "n_sampled", "status", "status_reason")
LossFn = Callable[[Any, Tensor], Tensor]


def llc(
    model: nn.Module,
    dataset: Any,
    observables: Mapping[str, Any] | None = None,
    *,
    lr: float,
    n_beta: float,
    param_masks: Mapping[str, Tensor | None] | None = None,
    loss_fn: LossFn | None = None,
    engine: str = "fast",
    **kwargs: Any,
) -> xr.Dataset:
    """Sample around a model's weights, and compute its local learning coefficient (LLC).

    The LLC is n_beta times how far the mean loss of the samples is above that of the weights
    (Lau et al. 2023, arXiv:2308.12108). `docs/llc.md` says how to choose the settings, and how
    to read the result.

    Args:
        model: the trained module, which stays as it is.
        dataset: a Dataset of Hugging Face with token sequences `input_ids`, or a list of dicts with
            them; a pair (inputs, targets) of tensors or arrays; or a torch Dataset of such pairs.
        observables: name to a dataset of the same kind, or to a dataset and its batches a draw:
            the losses of a seeded choice of its items are recorded at each draw.
        lr: step size.
        n_beta: inverse temperature times the number of items; n / ln n is common.
        param_masks: name of a parameter to what of it is sampled (0 or 1 a weight, None for all of
            it); other parameters are frozen. None: all are sampled.
        loss_fn: for token sequences (model, input_ids) to losses (batch, tokens - 1), else
            (outputs, targets) to losses (batch,) or (batch, ...), in nats. Cross-entropy if None.
        engine: `fast`: eval mode, an initial loss over the very batches that chains see, failed
            chains left out. `compat`: the draws, semantics and bits of devinterp 2.0.1.
        kwargs: for `fast` the fields of `isoloss.posterior.settings.Settings`, `mode` (`eval` or
            `train`), `batches_per_draw` (3) and `obs_seed` (1337) of observables, and the names of
            devinterp where they differ; for `compat` those of `isoloss.posterior.compat.sample`.

    Returns:
        `llc_mean`, `llc_std`, `llc_per_chain`, `llc_scalar`, `loss_trace`, `init_loss` as
        `compute_llc` returns them. From `fast` also `init_loss_trace` (chain, step), the loss of
        the trained weights over each step's items; `llc_se`, `split_rhat`, `ess`, `share_below`,
        `drift`, `batch_heat`, `distance`, `chains_ok`, `chains_failed`, `status` (ok, warn, failed)
        and `status_reason` (docs/tables.md, table `llc`); and of observables `loss_{name}` (chain,
        draw, batch_{name}), means over positions. The settings are its attributes.

    Raises:
        SettingsError: settings, masks or data cannot be sampled with.
        IsolossError: model and data do not fit.
        TypeError: there is no argument of that name.

    Example:
        >>> import isoloss, torch
        >>> rng = torch.Generator().manual_seed(0)
        >>> inputs = torch.randn(500, 4, generator=rng)
        >>> targets = torch.randn(500, 1, generator=rng)
        >>> model = torch.nn.Linear(4, 1, bias=False)
        >>> best = torch.linalg.lstsq(inputs, targets).solution.T
        >>> model.weight.data = best
        >>> result = isoloss.llc(
        ...     model, (inputs, targets), loss_fn=lambda y, t: (y - t) ** 2 / 2,
        ...     lr=5e-4, n_beta=100, num_draws=1000, num_burnin_steps=100,
        ... )
        >>> round(float(result["llc_mean"])), str(result["status"].values)  # 4 weights: 4/2
        (2, 'ok')
    """
    if engine not in ENGINES:
        reason = f"there is no engine {visible(repr(engine))}"
        raise SettingsError(Problem("engine", reason, nearest(engine, ENGINES)))
    if not isinstance(model, nn.Module):
        reason = f"is of type {type(model).__name__}"
        raise SettingsError(Problem("model", reason, "give a torch.nn.Module"))
    observables = {} if observables is None else observables
    kwargs |= {"lr": lr, "n_beta": n_beta}
    if engine == "compat":
        items.tokens_of(items.read(dataset, [0]), "dataset")
        given = {"param_masks": param_masks, "loss_fn": loss_fn, **kwargs}
        with torch.inference_mode(False):  # gradients are needed, whatever mode a caller is in
            return datatree.compute_llc(compat.sample(model, dataset, observables, **given))
    compat.warn_of_path(kwargs.pop("output_path", None))
    mode = kwargs.pop("mode", "eval")
    batches, seed = kwargs.pop("batches_per_draw", 3), kwargs.pop("obs_seed", 1337)
    settings = settings_of(kwargs)
    masks = _trained_masks(param_masks, model)

    def losses_on(data: items.Items) -> ModelPotential:
        return potential_of(model, data, loss_fn, mode, settings.init_seed)

    def watch(draw: int, weights: Tensor) -> None:
        for one in watched:
            one.look(draw, weights)

    with torch.inference_mode(False):
        potential = losses_on(items.read(dataset))
        potential.check("dataset")
        watched = [
            _Watched(one.name, losses_on(one.items()), settings)
            for one in items.observed(observables, batches, seed, settings.batch_size)
        ]
        samples = sample(potential, settings, masks=masks, watch=watch)
    return _dataset(samples, watched)


def _trained_masks(masks: Masks | None, model: nn.Module) -> Masks | None:
    """The masks of a user, none of which is of a frozen parameter."""
    checked = checked_masks(masks, model)
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    problems = [
        Problem(
            f"param_masks[{visible(repr(name))}]",
            "the parameter needs no gradient, so it is not sampled",
            "call requires_grad_() on it, or leave it out",
        )
        for name in masks or ()
        if name in frozen
    ]
    if problems:
        raise SettingsError(*problems)
    return None if masks is None else checked


def settings_of(given: Mapping[str, Any]) -> Settings:
    """The settings of the fast engine, from arguments by its names or those of devinterp.

    Raises:
        SettingsError: a value is not allowed, given twice, or only for the compat engine.
        TypeError: there is no argument of that name.

    Example:
        >>> given = {"lr": 1e-4, "n_beta": 10, "match_sampling_input_ids_across_chains": True}
        >>> settings_of(given).match_batches
        True
    """
    given = dict(given)
    problems = []
    for name, remedy in _REFUSED.items():
        value = given.pop(name, None)
        if value and str(value) != "cpu":
            reason = f"the fast engine does not take {visible(repr(value))}"
            problems.append(Problem(name, reason, remedy))
    matched = "match_sampling_input_ids_across_chains"
    if matched in given and "match_batches" in given:
        problems.append(Problem(matched, "match_batches is the same", "give one of the two"))
    if problems:
        raise SettingsError(*problems)
    method = given.get("sampling_method", "sgmcmc_sgld")
    named = {name: given.pop(f"rmsprop_{name}", None) for name in ("eps", "alpha")}
    options = compat.method_options(method, given.pop("sampling_method_kwargs", None), **named)
    given |= {f"rmsprop_{n}": options[n] for n in named if n in options}
    if matched in given:
        given["match_batches"] = given.pop(matched)
    refuse_unknown("llc", given, [field.name for field in fields(Settings)])
    return Settings(**given)


_REFUSED = {
    "device": "leave it out: it runs on the processor; engine='compat' takes a device",
    "save_metrics": "engine='compat' keeps them",
}


def potential_of(
    model: nn.Module, data: items.Items, loss_fn: LossFn | None, mode: str, seed: int = 0
) -> ModelPotential:
    """The losses of a model on items, by the names of its parameters.

    Token sequences are given to the model whole, and each token but the first has a loss.
    """
    elsewhere = {str(p.device) for p in model.parameters()} - {"cpu"}
    if elsewhere:
        remedy = "move it: model.cpu(); engine='compat' takes a device"
        raise SettingsError(Problem("model", f"is on {', '.join(sorted(elsewhere))}", remedy))
    if data.targets is not None:
        return ModelPotential(model, data.inputs, data.targets, loss_fn, mode, seed)
    tokens = data.inputs
    if tokens.shape[1] < 2:
        reason = f"its sequences have length {tokens.shape[1]}"
        raise SettingsError(Problem("dataset", reason, "the loss of a next token needs 2 or more"))
    if loss_fn is None and getattr(model, "layout", None) == "transformer":  # has no last position
        return ModelPotential(model, tokens[:, :-1], tokens[:, 1:], mode=mode)
    of_sequences = _OfSequences(model, loss_fn or _token_losses)
    potential = ModelPotential(of_sequences, tokens, tokens, _first, mode, seed)
    names = {name.removeprefix("model."): part for name, part in potential.names.items()}
    potential.names = names
    return potential


class _OfSequences(nn.Module):
    """A model that returns its losses of token sequences."""

    def __init__(self, model: nn.Module, loss_fn: LossFn) -> None:
        super().__init__()
        self.model, self.loss_fn = model, loss_fn

    def forward(self, tokens: Tensor) -> Tensor:
        """The losses (batch, tokens - 1)."""
        return self.loss_fn(self.model, tokens)


def _token_losses(model: nn.Module, tokens: Tensor) -> Tensor:
    return cross_entropies(logits_of(model, tokens), tokens)


def _first(losses: Tensor, tokens: Tensor) -> Tensor:
    return losses


class _Watched:
    """The losses of items at each draw.

    Attributes:
        losses: nats, float32 (chains, draws, items); NaN until they are computed.
    """

    def __init__(self, name: str, potential: ModelPotential, settings: Settings) -> None:
        potential.check(f"observables[{name!r}]")
        self.name, self._potential = name, potential
        shape = (settings.num_chains, settings.num_draws, potential.n_items)
        self.losses = np.full(shape, np.nan, dtype=np.float32)
        self._parts = torch.arange(potential.n_items).split(settings.batch_size)

    def look(self, draw: int, weights: Tensor) -> None:
        """Compute the losses at a draw."""
        for part in self._parts:
            numbers = part.expand(len(weights), -1)
            losses = self._potential.losses(weights, numbers)
            self.losses[:, draw, part.numpy()] = losses.numpy()


def _dataset(samples: Samples, watched: list[_Watched]) -> xr.Dataset:
    """The LLC and health of samples, by the names, dimensions and types of devinterp."""
    row, settings = summary(samples), samples.settings
    failed = np.flatnonzero(samples.failed_at >= 0)
    if len(failed):
        names = listed([f"chain {chain} (at step {samples.failed_at[chain]})" for chain in failed])
        text = f"{len(failed)} of {settings.num_chains} chains failed, with a loss that is NaN"
        warnings.warn(f"{text} or infinite: {names}; they are left out", stacklevel=3)
    draws = list(settings.draws)
    variables: dict[str, Any] = {name: np.float32(row[name]) for name in ("llc_mean", "llc_std")}
    per_chain = chain_rows(samples)["llc"].to_numpy(np.float32)
    variables |= {"llc_per_chain": ("chain", per_chain), "llc_scalar": row["llc_scalar"]}
    steps = ("chain", "step")
    variables["loss_trace"] = (steps, samples.losses.astype(np.float32))
    variables["init_loss"] = row["init_loss"]
    variables["init_loss_trace"] = (steps, samples.paired.astype(np.float32))
    variables |= {name: row[name] for name in FURTHER}
    for one in watched:
        for chain in failed:
            one.losses[chain, np.array(draws) >= samples.failed_at[chain]] = np.nan
        variables[f"loss_{one.name}"] = (("chain", "draw", f"batch_{one.name}"), one.losses)
    attrs = {name: value for name, value in asdict(settings).items() if value is not None}
    return datatree.xarray().Dataset(variables, attrs={"engine": "fast", **attrs})
