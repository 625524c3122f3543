"""The local learning coefficient of a model and its task, without a study around it."""

from __future__ import annotations

import math
from dataclasses import MISSING, fields

import numpy as np
import pandas as pd
import pytest
import torch
from small_tasks import made_up

from isoloss.core import registry
from isoloss.core.problems import IsolossError
from isoloss.observables import llc
from isoloss.observables._observable import TrainedModel
from isoloss.posterior.settings import Settings

FEW = {"n_beta": 20.0, "num_draws": 8, "num_chains": 2, "batch_size": 4}


def trained(name: str, n_items: int = 12, seed: int = 3, tell=lambda share: None) -> TrainedModel:
    """A model that has its first weights, with a task of so many items."""
    task, model = made_up(name, n_items)
    weights = {key: value.detach().numpy() for key, value in model.state_dict().items()}
    return TrainedModel(model, task, weights, seed, tell)


@pytest.mark.parametrize("name", registry.names("model"))
def test_chains_that_do_not_move_have_the_losses_of_the_model_on_its_items(name):
    model = trained(name)
    made = llc.observe(model, **{**FEW, "lr": 0.0, "batch_size": 12})
    (row,) = made["llc"].to_dict("records")
    assert abs(row["llc_mean"]) < 1e-4
    assert row["distance"] == 0
    assert row["n_items"] == 12
    every = float(model.task.learn(model.module, np.arange(12)))
    np.testing.assert_allclose(made["llc_trace"]["loss"], every, rtol=1e-5)
    np.testing.assert_allclose(made["llc_trace"]["init_loss"], every, rtol=1e-5)
    sampled = sum(p.numel() for p in model.module.parameters() if p.requires_grad)
    assert row["n_sampled"] == sampled


def test_settings_are_every_combination_in_order_and_by_default_the_samplers():
    options = registry.defaults("observable", "llc")
    of_card = {"parameters", "seed"}
    given_by_card = {"lr", "n_beta", "localization", "init_seed"}
    known = {field.name: field.default for field in fields(Settings)}
    assert set(options) - of_card == set(known) - {"init_seed"}
    for name, default in known.items():
        if name not in given_by_card:
            assert default is not MISSING and options[name] == default, name
    several = {**options, "lr": [1e-3, 1e-4], "n_beta": [5, 7], "localization": [1, 0]}
    seen = [(s.lr, s.n_beta, s.localization) for s in llc.settings_of(several, 100)]
    expected = [(lr, n_beta, pull) for lr in (1e-3, 1e-4) for n_beta in (5, 7) for pull in (1, 0)]
    assert seen == expected
    (one,) = llc.settings_of(options, 100)
    assert one.n_beta == 100 / math.log(100)
    with pytest.raises(IsolossError, match="give n_beta"):
        llc.settings_of(options, 1)


def test_only_parameters_that_are_named_are_sampled():
    some = llc.observe(trained("mlp"), **FEW, parameters=["*.bias", "layers.0.weight"])
    shapes = {n: p.numel() for n, p in trained("mlp").module.named_parameters()}
    biases = sum(size for name, size in shapes.items() if name.endswith("bias"))
    assert some["llc"]["n_sampled"].item() == biases + shapes["layers.0.weight"]
    head = llc.observe(trained("vit_head"), **FEW, parameters=["head.0.*"])
    assert head["llc"]["n_sampled"].item() == 64 * 4 + 4
    with pytest.raises(IsolossError, match=r"no trained tensor .*'layers.0.wight'.*did you mean"):
        llc.observe(trained("mlp"), **FEW, parameters=["layers.0.wight"])


def test_settings_that_diverge_are_rows_without_values_beside_those_that_do_not():
    made = llc.observe(trained("mlp"), **FEW, lr=[1000.0, 1e-4])
    failed, fine = made["llc"].to_dict("records")
    assert failed["status"] == "failed" and "2 of 2 chains failed" in failed["status_reason"]
    assert math.isnan(failed["llc_mean"]) and math.isnan(failed["llc_paired"])
    assert fine["chains_ok"] == 2 and math.isfinite(fine["llc_mean"])
    assert set(made["observations"]["part"]) == {"setting 1"}
    alone = llc.observe(trained("mlp"), **FEW, lr=1e-4)["llc"].iloc[0]
    assert alone["llc_mean"] == fine["llc_mean"]


def test_a_coefficient_is_that_of_weights_data_and_seeds_and_of_nothing_before_it():
    first = llc.observe(trained("transformer"), **FEW)
    used = trained("transformer")
    used.task.learn(used.module, np.arange(3))
    torch.manual_seed(5)
    torch.randn(3)
    state = torch.get_rng_state()
    pd.testing.assert_frame_equal(llc.observe(used, **FEW)["llc_trace"], first["llc_trace"])
    assert torch.equal(torch.get_rng_state(), state)
    others = [
        llc.observe(trained("transformer", seed=4), **FEW),
        llc.observe(trained("transformer"), **FEW, seed=1),
        llc.observe(trained("transformer", n_items=11), **FEW),
    ]
    for other in others:
        assert other["llc"]["llc_mean"].item() != first["llc"]["llc_mean"].item()


def test_the_share_of_the_work_that_is_done_rises_to_all_of_it():
    shares: list[float] = []
    llc.observe(trained("mlp", tell=shares.append), **FEW, lr=[1e-4, 1e-3])
    assert shares == sorted(shares)
    assert len(shares) == 16 and shares[-1] == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"lr": math.nan}, "lr: nan"),
        ({"localization": [0.0, math.nan]}, "localization: nan"),
        ({"num_draws": 10**8, "num_chains": 10**4}, "num_draws: 1e+12 steps"),
    ],
)
def test_what_a_schema_cannot_say_of_options_is_a_problem(options, words):
    given = {**registry.defaults("observable", "llc"), **options}
    assert any(words in str(problem) for problem in llc.problems(**given))
