"""isoloss.llc: any torch module and the data that it takes, by the fast engine or as devinterp."""

from __future__ import annotations

import copy
import importlib
import inspect
import math
import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import isoloss
from isoloss.core.problems import IsolossError
from isoloss.models import transformer
from isoloss.posterior import compat
from isoloss.posterior.items import read
from isoloss.posterior.sampler import sample
from isoloss.posterior.settings import Settings, SettingsError
from isoloss.posterior.tokens import token_losses
from isoloss.posterior.verbs import potential_of

OF_DEVINTERP = {
    "llc_mean": ((), "float32"),
    "llc_std": ((), "float32"),
    "llc_per_chain": (("chain",), "float32"),
    "llc_scalar": ((), "float64"),
    "loss_trace": (("chain", "step"), "float32"),
    "init_loss": ((), "float64"),
}
SHORT = {"lr": 1e-3, "n_beta": 20.0, "num_draws": 6, "num_chains": 2, "batch_size": 8}


class Small(nn.Module):
    """Gives log-odds of seven symbols."""

    def __init__(self):
        super().__init__()
        self.e, self.l, self.o = nn.Embedding(7, 6), nn.Linear(6, 10), nn.Linear(10, 7)

    def forward(self, tokens):
        hidden = torch.tanh(self.l(self.e(tokens))).cumsum(1)
        return self.o(hidden / torch.arange(1, tokens.shape[1] + 1)[:, None])


@pytest.fixture(scope="module")
def model() -> Small:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Small()


@pytest.fixture(scope="module")
def tokens() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 7, (50, 6))


def items_of(tokens: np.ndarray) -> list[dict]:
    return [{"input_ids": sequence.tolist()} for sequence in tokens]


def classifier() -> tuple[nn.Module, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(60, 3)).astype(np.float32)
    return nn.Linear(3, 4), (inputs, rng.integers(0, 4, 60))


@pytest.mark.parametrize("engine", ["fast", "compat"])
def test_the_result_has_the_variables_of_devinterp(engine, model, tokens):
    result = isoloss.llc(model, items_of(tokens), {}, engine=engine, **SHORT)
    for name, (dims, dtype) in OF_DEVINTERP.items():
        assert (result[name].dims, str(result[name].dtype)) == (dims, dtype)
    assert result["loss_trace"].shape == (2, 6)
    assert set(result) == set(OF_DEVINTERP) or engine == "fast"


def test_the_fast_engine_says_how_far_to_believe_it(model, tokens):
    result = isoloss.llc(model, items_of(tokens), num_burnin_steps=3, **SHORT)
    assert result["status"] == "warn" and "independent draws" in str(result["status_reason"].values)
    assert (int(result["chains_ok"]), int(result["n_items"])) == (2, 50)
    assert int(result["n_sampled"]) == sum(p.numel() for p in model.parameters())
    trace = result["loss_trace"] - result["init_loss_trace"]
    llc = 20 * float(trace.isel(step=slice(3, None)).mean())
    assert float(result["llc_mean"]) == pytest.approx(llc, rel=1e-3, abs=1e-5)
    assert result.attrs["engine"] == "fast" and result.attrs["num_burnin_steps"] == 3


def test_the_same_tokens_in_any_form_give_the_same_result(model, tokens):
    datasets = pytest.importorskip("datasets")
    plain = datasets.Dataset.from_dict({"input_ids": tokens.tolist()})
    results = [
        isoloss.llc(model, dataset, {}, **SHORT)
        for dataset in (items_of(tokens), plain, plain.with_format("torch"))
    ]
    assert results[0].identical(results[1]) and results[0].identical(results[2])


def test_pairs_in_any_form_give_the_same_result():
    module, (inputs, targets) = classifier()
    tensors = torch.tensor(inputs), torch.tensor(targets)
    forms = [(inputs, targets), tensors, torch.utils.data.TensorDataset(*tensors)]
    results = [isoloss.llc(module, form, **SHORT) for form in forms]
    assert results[0].identical(results[1]) and results[0].identical(results[2])


def test_a_loss_of_the_user_is_what_is_sampled(model, tokens):
    def squares(model, tokens):
        return model(tokens)[:, :-1].square().sum(-1)

    result = isoloss.llc(model, items_of(tokens), loss_fn=squares, **SHORT)
    with torch.no_grad():
        losses = squares(model, torch.tensor(tokens)).mean(1).numpy()
    assert losses.min() < result["loss_trace"][0, 0] < losses.max()


def test_a_model_of_a_study_is_sampled_as_any_module_is():
    module = transformer.Model(8, 1, 4, context=6, vocabulary=7).build(np.random.default_rng(0))
    data = items_of(np.random.default_rng(1).integers(0, 7, (40, 6)))
    batched = isoloss.llc(module, data, **SHORT)

    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = module

        def forward(self, tokens):
            return self.inner(tokens)

    plain = isoloss.llc(Wrapped(), data, **SHORT)
    np.testing.assert_allclose(plain["loss_trace"], batched["loss_trace"], atol=1e-5)
    settings = SHORT | {"num_init_loss_batches": 5}  # all 40 sequences
    kept = isoloss.llc(module, data, engine="compat", **settings)
    losses = token_losses(module, torch.tensor([item["input_ids"] for item in data]))
    assert float(kept["init_loss"]) == pytest.approx(losses.mean().item(), abs=1e-5)


def test_a_frozen_parameter_of_a_model_of_a_study_stays_as_it_is():
    module = transformer.Model(8, 1, 4, context=5, vocabulary=7).build(np.random.default_rng(0))
    data = items_of(np.random.default_rng(1).integers(0, 7, (40, 6)))
    masks = {name: None for name, _ in module.named_parameters() if name != "tokens"}
    masked = isoloss.llc(module, data, param_masks=masks, localization=9.0, **SHORT)
    module.tokens.requires_grad_(False)
    frozen = isoloss.llc(module, data, localization=9.0, **SHORT)
    assert frozen["n_sampled"] == masked["n_sampled"]
    np.testing.assert_allclose(frozen["loss_trace"], masked["loss_trace"], atol=1e-5)


@pytest.mark.parametrize("engine", ["fast", "compat"])
def test_a_caller_in_inference_mode_gets_the_same_result(engine, model, tokens):
    given = {**SHORT, "engine": engine}
    with torch.inference_mode():
        inside = isoloss.llc(model, items_of(tokens), **given)
    assert inside.identical(isoloss.llc(model, items_of(tokens), **given))


def test_masks_name_the_parameters_of_the_model(model, tokens):
    masks = {"o.weight": torch.arange(70).reshape(7, 10) % 2 == 0, "l.bias": None}
    result = isoloss.llc(model, items_of(tokens), param_masks=masks, **SHORT)
    assert int(result["n_sampled"]) == 35 + 10
    with pytest.raises(IsolossError, match=r"did you mean 'o\.bias'"):
        isoloss.llc(model, items_of(tokens), param_masks={"o.bia": None}, **SHORT)


@pytest.mark.parametrize("engine", ["fast", "compat"])
@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({"o.weight": np.ones((10, 7))}, r"param_masks\['o\.weight'\]: has shape \(10, 7\)"),
        (["o.weight"], "param_masks: is of type list; give a dict"),
        ({}, "param_masks: names no parameter"),
        ({"tied.weight": None}, "is the same tensor as 'o.weight'; give the mask by that name"),
    ],
)
def test_masks_that_do_not_fit_are_refused_by_both_engines(engine, masks, message, model, tokens):
    tied = copy.deepcopy(model)
    tied.tied = tied.o
    with pytest.raises(SettingsError, match=message):
        isoloss.llc(tied, items_of(tokens), param_masks=masks, engine=engine, **SHORT)


@pytest.mark.parametrize("engine", ["fast", "compat"])
def test_masks_may_be_arrays(engine, model, tokens):
    mask = np.arange(70).reshape(7, 10) % 2
    results = [
        isoloss.llc(model, items_of(tokens), param_masks={"o.weight": one}, engine=engine, **SHORT)
        for one in (mask, torch.from_numpy(mask))
    ]
    assert results[0].identical(results[1])


@pytest.mark.parametrize("engine", ["fast", "compat"])
def test_what_is_frozen_is_not_sampled(engine, model, tokens):
    frozen = copy.deepcopy(model)
    frozen.o.requires_grad_(False)
    if engine == "fast":
        with pytest.raises(SettingsError, match="needs no gradient, so it is not sampled"):
            isoloss.llc(frozen, items_of(tokens), param_masks={"o.weight": None}, **SHORT)
    with pytest.raises(SettingsError, match="no parameter needs a gradient"):
        isoloss.llc(frozen.requires_grad_(False), items_of(tokens), engine=engine, **SHORT)


def test_losses_of_observables_are_recorded_at_each_draw(model, tokens):
    other = items_of(np.random.default_rng(5).integers(0, 7, (30, 6)))
    data, observables = items_of(tokens), {"a b": (other, 2), "2x": items_of(tokens)}
    settings = SHORT | {"num_burnin_steps": 2, "num_steps_bw_draws": 2}
    result = isoloss.llc(model, data, observables, **settings)
    assert result["loss_a_b"].sizes == {"chain": 2, "draw": 6, "batch_a_b": 16}
    assert result["loss__2x"].sizes == {"chain": 2, "draw": 6, "batch__2x": 24}
    assert np.isfinite(result["loss_a_b"]).all()
    still = isoloss.llc(model, data, observables, **settings | {"lr": 0.0})
    kept = compat.sample(model, data, observables, **settings | {"lr": 0.0})
    expected = kept["loss_a_b"].mean("token_pos")
    np.testing.assert_allclose(still["loss_a_b"], expected, atol=1e-6)
    assert not np.allclose(result["loss_a_b"][:, -1], still["loss_a_b"][:, -1], atol=1e-4)


def test_observables_do_not_change_the_samples(model, tokens):
    data = items_of(tokens)
    alone = isoloss.llc(model, data, **SHORT)
    observed = isoloss.llc(model, data, {"a": (data, 1)}, **SHORT)
    assert observed[list(alone)].identical(alone)


def test_in_train_mode_too_a_chain_does_not_depend_on_how_many_there_are(model, tokens):
    noisy = nn.Sequential(copy.deepcopy(model), nn.Dropout(0.5))
    many, *fewer = [
        isoloss.llc(noisy, items_of(tokens), mode="train", **{**SHORT, "num_chains": chains})
        for chains in (5, 1, 2, 3)
    ]
    for result in fewer:
        of_many = many.isel(chain=slice(result.sizes["chain"]))
        assert result["loss_trace"].identical(of_many["loss_trace"])


def test_a_chain_that_fails_is_named_and_left_out(model, tokens):
    steps_of_chains = iter(range(4 * 20))

    def fails_once(model, tokens):
        losses = model(tokens)[:, :-1].square().sum(-1)
        learning = torch.is_grad_enabled()  # one chain after the other, step by step
        return losses * math.inf if learning and next(steps_of_chains) == 4 * 5 + 2 else losses

    data, settings = items_of(tokens), SHORT | {"num_draws": 20, "num_chains": 4}
    with pytest.warns(UserWarning, match=r"1 of 4 chains failed.*: chain 2 \(at step 5\)"):
        result = isoloss.llc(model, data, {"a": (data, 1)}, loss_fn=fails_once, **settings)
    assert np.isnan(result["llc_per_chain"]).values.tolist() == [False, False, True, False]
    assert np.isfinite(result["loss_a"][2, :, 0]).values.tolist() == [True] * 5 + [False] * 15
    assert np.isfinite(result["loss_a"][3]).all() and int(result["chains_failed"]) == 1
    kept = result["llc_per_chain"].values[[0, 1, 3]]
    assert float(result["llc_mean"]) == pytest.approx(kept.mean(), rel=1e-5)


def test_names_of_devinterp_are_taken_where_the_fast_engine_has_others(model, tokens):
    data = items_of(tokens)
    of_devinterp = {
        "sampling_method": "rmsprop_sgld",
        "sampling_method_kwargs": {"alpha": 0.9, "eps": 0.2},
        "match_sampling_input_ids_across_chains": True,
    }
    named = {"rmsprop_alpha": 0.9, "rmsprop_eps": 0.2, "match_batches": True}
    named["sampling_method"] = "rmsprop_sgld"
    first, second = (isoloss.llc(model, data, **SHORT, **s) for s in (of_devinterp, named))
    assert first.identical(second)


@pytest.mark.parametrize("engine", ["fast", "compat"])
def test_a_result_depends_on_the_model_and_never_on_a_path(engine, model, tokens, tmp_path):
    path, other = tmp_path / "samples.zarr", Small()
    for module in (model, other):
        with pytest.warns(UserWarning, match=r"samples\.zarr' is not used: nothing is written"):
            kept = isoloss.llc(
                module, items_of(tokens), {}, engine=engine, output_path=path, **SHORT
            )
        assert kept.identical(isoloss.llc(module, items_of(tokens), {}, engine=engine, **SHORT))
    assert not path.exists()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"engine": "fats"}, ValueError, "did you mean 'fast'"),
        ({"device": "cuda"}, ValueError, "it runs on the processor"),
        ({"save_metrics": True}, ValueError, "engine='compat' keeps them"),
        ({"rmsprop_eps": 0.1}, ValueError, "rmsprop_eps"),
        ({"num_chains": 0}, ValueError, "num_chains"),
        ({"param_masks": {"l.wieght": None}}, ValueError, "did you mean 'l.weight'"),
        ({"mode": "test"}, ValueError, "give 'eval' or 'train'"),
        ({"num_chain": 3}, TypeError, "did you mean 'num_chains'"),
        (
            {"match_batches": True, "match_sampling_input_ids_across_chains": True},
            ValueError,
            "give one of the two",
        ),
    ],
)
def test_arguments_that_are_not_taken_are_named(arguments, error, message, model, tokens):
    with pytest.raises(error, match=message):
        isoloss.llc(model, items_of(tokens), {}, **{**SHORT, **arguments})


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ([], "has no items"),
        ([{"input_ids": [1]}] * 9, "have length 1"),
        ([1, 2, 3], "items are of type int"),
        ((np.zeros((3, 2)), np.zeros(4)), "3 inputs and 4 targets"),
        (None, "dataset: is of type NoneType, without a length"),
        (DataLoader([(0, 0)]), "dataset: is a DataLoader, .*loader.dataset"),
        ({"input_ids": [[0, 1]]}, "dataset: is one mapping with 'input_ids'; give a list"),
        (
            [{"input_ids": [0, 1]}] * 3 + [{"input_ids": [0]}],
            r"dataset: input_ids: have shape \(2,\) in item 0 and \(1,\) in item 3; cut or pad",
        ),
        ([{"input_ids": [0, 1]}, {"ids": [0, 1]}], "dataset: item 1 has no 'input_ids'"),
        ([(np.zeros(3), 0), (np.zeros(2), 0)], r"dataset: inputs: have shape .* in item 1"),
        ([("a", 0)] * 3, "dataset: inputs: are of type str; give tensors"),
    ],
)
def test_data_that_is_not_understood_is_refused(dataset, message, model):
    with pytest.raises(ValueError, match=message):
        isoloss.llc(model, dataset, {}, **SHORT)


CLASSES = np.arange(60) % 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": lambda inputs: inputs}, "model: is of type function"),
        ({"model": nn.Linear(4, 4)}, r"dataset: .* inputs of shape \(3,\) and targets of shape"),
        ({"targets": CLASSES + (CLASSES > 2)}, r"dataset: the losses of items \[0, 0, 3\]"),
        ({"targets": -CLASSES}, "dataset: a target is -3; leave it out"),
        ({"loss_fn": lambda y, t: None}, "so that they fit together"),
        (
            {"loss_fn": lambda y, t: torch.zeros(len(t))},
            "loss_fn: the losses do not depend on a parameter",
        ),
        ({"loss_fn": lambda y, t: (y[:, :1] - t) ** 2}, r"loss_fn: losses \(2, 2\) for 2 items"),
        ({"observables": {"a": ((np.zeros((9, 2)), CLASSES[:9]), 1)}}, r"observables\['a'\]: the"),
    ],
)
def test_a_model_that_does_not_fit_its_data_is_refused_before_sampling(arguments, message):
    module, (inputs, _) = classifier()
    given = {"model": module, "dataset": (inputs, arguments.pop("targets", CLASSES)), **arguments}
    with pytest.raises(IsolossError, match=message):
        isoloss.llc(**given, **SHORT)


def test_observables_are_named_in_a_dict(model, tokens):
    data = items_of(tokens)
    with pytest.raises(ValueError, match="observables: is of type list; give a dict"):
        isoloss.llc(model, data, [data], **SHORT)
    for observables, message in (
        ({"a": None}, r"observables\['a'\]: is of type NoneType"),
        ({"trace": data}, r"observables\['trace'\]: its variable would be loss_trace"),
        ({"a": (data, 1.5)}, r"in 1\.5 batches; give a whole number"),
    ):
        with pytest.raises(ValueError, match=message):
            isoloss.llc(model, data, observables, **SHORT)
    assert "loss__3" in isoloss.llc(model, data, {3: data}, **SHORT)


def test_two_items_that_are_pairs_are_not_taken_for_inputs_and_targets():
    module, (inputs, targets) = classifier()
    results = [
        isoloss.llc(module, data, {}, **SHORT)
        for data in (
            (inputs[:2], targets[:2]),
            list(zip(torch.from_numpy(inputs[:2]), targets[:2], strict=True)),
        )
    ]
    assert results[0].identical(results[1])


def test_the_compat_engine_takes_token_sequences_only():
    module, data = classifier()
    with pytest.raises(ValueError, match="has inputs and targets"):
        isoloss.llc(module, data, {}, engine="compat", **SHORT)


# The two engines, given the same noise and batches


class Injected:
    """The noise and batches of the compat engine, for the hooks of the fast one."""

    def __init__(self, model: nn.Module, masks: dict | None, seed: int, n_items: int):
        shapes = {name: p.shape for name, p in model.named_parameters()}
        self.shapes = {name: shapes[name] for name in masks or shapes}
        self.seed, self.n_items = seed, n_items
        self.generators: dict[int, torch.Generator] = {}
        self.names = potential_of(model, read(([[0, 0]], [[0, 0]])), None, "eval").names

    def noise(self, step: int, out: torch.Tensor) -> None:
        out.zero_()
        for chain, row in enumerate(out):
            new = torch.Generator().manual_seed(self.seed + chain)
            rng = self.generators.setdefault(chain, new)
            for name, shape in self.shapes.items():
                row[self.names[name]] = torch.normal(0.0, 1.0, shape, generator=rng).flatten()

    def orders(self, chain: int):
        rng = torch.Generator().manual_seed(self.seed)
        torch.empty((), dtype=torch.int64).random_(generator=rng)
        order = torch.randperm(self.n_items, generator=rng)
        while True:
            yield from order[: self.n_items // 8 * 8].split(8)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"localization": 5.0, "llc_weight_decay": 0.3, "bounding_box_size": 0.05},
        {"sampling_method": "rmsprop_sgld", "localization": 3.0, "masked": True},
        {"gradient_accumulation_steps": 2, "num_burnin_steps": 4, "masked": True},
    ],
    ids=["plain", "pulls and box", "rmsprop with masks", "accumulation with masks"],
)
def test_with_the_same_noise_and_batches_both_engines_have_the_same_losses(settings, model, tokens):
    settings = {**SHORT, "num_draws": 24, **settings}
    rng = torch.Generator().manual_seed(3)
    masks = {"e.weight": torch.rand(7, 6, generator=rng) > 0.4, "o.weight": None}
    masks = masks if settings.pop("masked", False) else None
    data = items_of(tokens)
    samples = compat.sample(model, data, {}, param_masks=masks, **settings)
    injected = Injected(model, masks, 100, len(tokens))
    potential = potential_of(model, read(data), None, "eval")
    hooks = {"noise": injected.noise, "orders": injected.orders}
    fast = sample(potential, Settings(**settings), masks=masks, **hooks)
    losses = samples["sampling_loss_micro"].mean(["batch_sampling", "token_pos"])
    np.testing.assert_allclose(fast.losses, losses, atol=1e-5)
    assert np.ptp(fast.losses, axis=1).min() > 1e-3


# The page for users of devinterp


def test_the_page_for_users_of_devinterp_names_variables_and_arguments_that_there_are():
    page = (Path(__file__).parents[2] / "docs" / "llc-from-devinterp.md").read_text(
        encoding="utf-8"
    )
    arguments = {f.name for settings in (compat.Config, Settings) for f in fields(settings)}
    for function in (isoloss.llc, compat.sample):
        arguments |= set(inspect.signature(function).parameters)
    table = page.split("## Arguments")[1].split("## Results")[0]
    named = [name for row in re.findall(r"^\| (`.+?) \|", table, re.M) for name in row.split(", ")]
    assert len(named) == 14 and {name.strip("`") for name in named} <= arguments
    homes = re.findall(r"`(isoloss\.[\w.]+)`", page.split("## Names")[1].split("## Arguments")[0])
    assert len(homes) == 6
    for home in homes:
        module, _, name = home.rpartition(".")
        assert callable(getattr(importlib.import_module(module), name))
