"""The local learning coefficient of a trained model, by Langevin dynamics around its weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import product
from typing import TYPE_CHECKING, Any

import pandas as pd

from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.core.seeds import generator
from isoloss.observables._observable import TrainedModel
from isoloss.posterior.settings import Settings

if TYPE_CHECKING:
    from isoloss.posterior.potential import Potential

TITLE = "Local learning coefficient"
ABOUT = (
    "How fast the volume of weights with almost the trained loss shrinks: half the number of"
    " parameters where the loss is curved in every direction, less where it is degenerate."
    " Estimated by chains of Langevin dynamics around the trained weights, with its uncertainty"
    " and signs of whether to believe it (tables `llc`, `llc_chain`, `llc_trace`)."
)
FORMULA = (
    "λ = n β (E[L(w)] - L(w*)), E over exp(-n β L(w) - γ/2 ‖w - w*‖²) around w*; n β = n / ln n"
)
SOURCE = (
    "Lau et al. 2023, arXiv:2308.12108, equation 12; SGLD: Welling and Teh 2011; names and"
    " meaning of settings: devinterp 2.0.1"
)
READS = "data"
TABLES = ("llc", "llc_chain", "llc_trace")
QUANTITIES = {
    "llc": {"title": "Local learning coefficient", "unit": "1"},
    "llc_se": {"title": "Standard error of the local learning coefficient", "unit": "1"},
}
COLUMNS = {
    "llc_mean": {
        "table": "llc",
        "column": "llc_mean",
        "rows": {"setting": 0},
        "status": "llc_status",
        "about": "local learning coefficient (setting 0 of its observation)",
    },
    "llc_se": {
        "table": "llc",
        "column": "llc_se",
        "rows": {"setting": 0},
        "status": "llc_status",
        "about": "standard error of llc_mean",
    },
    "llc_status": {
        "table": "llc",
        "column": "status",
        "rows": {"setting": 0},
        "about": "ok, warn or failed",
    },
}
OPTIONS = {
    "lr": {
        "type": ["number", "array"],
        "items": {"type": "number", "minimum": 0, "maximum": 1000},
        "minItems": 1,
        "maxItems": 100,
        "minimum": 0,
        "maximum": 1000,
        "default": 1e-4,
        "description": "Step size of the sampler, or several: of lr, n_beta and localization"
        " every combination is a setting, numbered from 0, the last one fastest.",
    },
    "n_beta": {
        "type": ["number", "array", "null"],
        "items": {"type": "number", "minimum": 0, "maximum": 1e15},
        "minItems": 1,
        "maxItems": 100,
        "minimum": 0,
        "maximum": 1e15,
        "default": None,
        "description": "n times the inverse temperature, or several; n / ln n if null, n the"
        " items that the run draws its batches from, seen or not (n_items of the table llc).",
    },
    "localization": {
        "type": ["number", "array"],
        "items": {"type": "number", "minimum": 0, "maximum": 1e15},
        "minItems": 1,
        "maxItems": 100,
        "minimum": 0,
        "maximum": 1e15,
        "default": 100.0,
        "description": "Strength γ of the pull to the trained weights, or several.",
    },
    "num_chains": {
        "type": "integer",
        "minimum": 1,
        "maximum": 10_000,
        "default": 4,
        "unit": "chains",
        "description": "Chains, each with noise and batches of its own.",
    },
    "num_draws": {
        "type": "integer",
        "minimum": 1,
        "maximum": 100_000_000,
        "default": 200,
        "unit": "draws",
        "description": "Draws of a chain.",
    },
    "num_burnin_steps": {
        "type": "integer",
        "minimum": 0,
        "maximum": 100_000_000,
        "default": 0,
        "unit": "steps",
        "description": "Steps of a chain before the first that counts.",
    },
    "num_steps_bw_draws": {
        "type": "integer",
        "minimum": 1,
        "maximum": 1_000_000,
        "default": 1,
        "unit": "steps",
        "description": "Steps from one draw to the next.",
    },
    "batch_size": {
        "type": "integer",
        "minimum": 1,
        "maximum": 1_000_000,
        "default": 32,
        "unit": "items",
        "description": "Training items of a batch.",
    },
    "gradient_accumulation_steps": {
        "type": "integer",
        "minimum": 1,
        "maximum": 1_000_000,
        "default": 1,
        "unit": "batches",
        "description": "Batches whose gradients a step averages.",
    },
    "noise_level": {
        "type": "number",
        "minimum": 0,
        "maximum": 1e6,
        "default": 1.0,
        "description": "Standard deviation of the noise; only 1 samples the posterior.",
    },
    "llc_weight_decay": {
        "type": "number",
        "minimum": 0,
        "maximum": 1e15,
        "default": 0.0,
        "description": "Strength of the pull to weights of zero.",
    },
    "bounding_box_size": {
        "type": ["number", "null"],
        "minimum": 0,
        "maximum": 1e15,
        "default": None,
        "description": "Largest distance of a weight from its trained value; null for none.",
    },
    "sampling_method": {
        "type": "string",
        "enum": ["sgmcmc_sgld", "rmsprop_sgld"],
        "default": "sgmcmc_sgld",
        "description": "sgmcmc_sgld has one step size for all weights; rmsprop_sgld divides it by"
        " the root mean square of a weight's gradients.",
    },
    "rmsprop_alpha": {
        "type": "number",
        "minimum": 0,
        "exclusiveMaximum": 1,
        "default": 0.99,
        "description": "Decay of the mean of squared gradients in rmsprop_sgld.",
    },
    "rmsprop_eps": {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 1e6,
        "default": 0.1,
        "description": "Added to their root in rmsprop_sgld.",
    },
    "init_noise": {
        "type": ["number", "null"],
        "minimum": 0,
        "maximum": 1e6,
        "default": None,
        "description": "Standard deviation of noise added to the weights before the first step;"
        " null for none.",
    },
    "shuffle": {
        "type": "boolean",
        "default": True,
        "description": "Whether items come in another order every epoch.",
    },
    "match_batches": {
        "type": "boolean",
        "default": False,
        "description": "Whether all chains see the same batches.",
    },
    "init_loss": {
        "type": "string",
        "enum": ["paired", "batches"],
        "default": "paired",
        "description": "What llc_mean compares with: the loss of the trained weights on the"
        " batches that the chains saw (paired), or on num_init_loss_batches of its own (batches).",
    },
    "num_init_loss_batches": {
        "type": "integer",
        "minimum": 1,
        "maximum": 100_000_000,
        "default": 32,
        "unit": "batches",
        "description": "Batches of the initial loss that is not paired.",
    },
    "parameters": {
        "type": "array",
        "items": {"type": "string", "minLength": 1},
        "default": [],
        "description": "Names of the tensors that are sampled, or patterns such as"
        " blocks.0.*; the others stay as trained. Empty: all.",
    },
    "seed": {
        "type": "integer",
        "minimum": 0,
        "maximum": 4_294_967_295,
        "default": 0,
        "description": "Seed of the chains, beside the study's and the content of the weights.",
    },
}
MOST_STEPS = 100_000_000  # of all chains and settings of a run; each is a row of llc_trace
VARIED = ("lr", "n_beta", "localization")  # of which several values make settings


def problems(**options: Any) -> Iterator[Problem]:
    """What is wrong with the options together; places are their names."""
    try:
        several = settings_of(options, n_items=2)
    except IsolossError as error:
        yield from error.problems
        return
    steps = sum(one.num_chains * one.num_steps for one in several)
    if steps > MOST_STEPS:
        reason = f"{steps:.3g} steps of chains, where a run has {MOST_STEPS:.3g} at most"
        yield Problem("num_draws", reason, "take fewer draws, chains or settings")


def observe(trained: TrainedModel, **options: Any) -> dict[str, pd.DataFrame]:
    """Estimate the local learning coefficient of one model, for every setting.

    Args:
        trained: the model and its task.
        options: those of OPTIONS.

    Returns:
        `observations` (part: the setting; without settings of which all chains failed), `llc`,
        `llc_chain` and `llc_trace`; see tables.yaml.

    Raises:
        IsolossError: no parameter has a name that was given.
    """
    from isoloss.observables._task_potential import TaskPotential

    options = {**{key: spec["default"] for key, spec in OPTIONS.items()}, **options}
    several = settings_of(options, len(trained.task.drawn()))
    n_gradients = sum(one.num_steps * one.gradient_accumulation_steps for one in several)
    potential = TaskPotential(
        trained.task, trained.module, lambda count: trained.progress(count / n_gradients)
    )
    masks = masks_of(list(potential.names), options["parameters"])
    drawn = generator(trained.seed, "chains", str(options["seed"]))
    init_seed = int(drawn.integers(2**31))
    each = [_tables(potential, replace(one, init_seed=init_seed), masks) for one in several]
    made = {
        name: pd.concat(
            [rows[name].assign(setting=number) for number, rows in enumerate(each)],
            ignore_index=True,
        )
        for name in TABLES
    }
    made["llc"]["seed"] = options["seed"]
    return {"observations": _observations(made["llc"]), **made}


def _tables(
    potential: Potential, settings: Settings, masks: Mapping[str, None] | None
) -> dict[str, pd.DataFrame]:
    """The rows of every table of TABLES for one setting."""
    from isoloss.posterior import health
    from isoloss.posterior.sampler import sample

    samples = sample(potential, settings, masks=masks)
    return {
        "llc": pd.DataFrame([health.summary(samples)]),
        "llc_chain": health.chain_rows(samples),
        "llc_trace": health.trace_rows(samples),
    }


def _observations(llc: pd.DataFrame) -> pd.DataFrame:
    """The rows of `observations`: a part a setting, unless all of its chains failed."""
    rows = [
        (f"setting {row.setting}", quantity, value)
        for row in llc[llc["status"] != "failed"].itertuples()
        for quantity, value in (("llc", row.llc_mean), ("llc_se", row.llc_se))
    ]
    return pd.DataFrame(rows, columns=["part", "quantity", "value"]).astype({"value": float})


def settings_of(options: Mapping[str, Any], n_items: int) -> list[Settings]:
    """The settings that options spell out, in their order.

    Args:
        options: those of OPTIONS.
        n_items: the items that batches of the run are drawn from, n.

    Raises:
        IsolossError: a setting is out of range.

    Example:
        >>> several = settings_of({"lr": [1e-4, 1e-3], "n_beta": None, "localization": 1}, 1000)
        >>> [(one.lr, round(one.n_beta)) for one in several]
        [(0.0001, 145), (0.001, 145)]
    """
    tempered = n_items / math.log(n_items) if n_items > 1 else math.nan
    if n_items < 2 and options["n_beta"] is None:
        reason = "there is 1 training item, of which n / ln n is not defined"
        raise IsolossError(Problem("n_beta", reason, "give n_beta"))
    given = {key: tempered if options[key] is None else options[key] for key in VARIED}
    values = [value if isinstance(value, list) else [value] for value in given.values()]
    fixed = {k: v for k, v in options.items() if k not in (*VARIED, "parameters", "seed")}
    return [
        Settings(**dict(zip(VARIED, combination, strict=True)), **fixed)
        for combination in product(*values)
    ]


def masks_of(names: Sequence[str], patterns: Sequence[str]) -> dict[str, None] | None:
    """The parameters that patterns name, as masks of the sampler; None where there is no pattern.

    Raises:
        IsolossError: a pattern names none.

    Example:
        >>> masks_of(["layers.0.weight", "layers.0.bias"], ["*.bias"])
        {'layers.0.bias': None}
    """
    wrong = [
        Problem("parameters", f"no trained tensor is called {pattern!r}", nearest(pattern, names))
        for pattern in patterns
        if not any(fnmatchcase(name, pattern) for name in names)
    ]
    if wrong:
        raise IsolossError(*wrong)
    named = [name for name in names if any(fnmatchcase(name, p) for p in patterns)]
    return dict.fromkeys(named) if patterns else None
