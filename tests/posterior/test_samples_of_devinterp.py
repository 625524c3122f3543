"""The compat engine draws the samples of devinterp 2.0.1, whatever the settings.

Where the losses before the first step have the bits of devinterp's, this machine computes as the
one of the record did (torch build and instructions of the processor), and everything has to have
them; elsewhere all has to agree to 1e-4, for chains are not chaotic over so few steps.
"""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import llc_samples
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from isoloss.posterior.compat import sample
from isoloss.posterior.datatree import compute_llc
from isoloss.posterior.settings import SettingsError

RECORD = Path(__file__).with_name("samples_of_devinterp.json")
BASE = {"lr": 1e-3, "n_beta": 20.0, "num_chains": 2, "num_draws": 5, "batch_size": 8}
BASE |= {"num_init_loss_batches": 3}
PULLED = {"localization": 5.0, "llc_weight_decay": 0.3, "save_metrics": True}
RMSPROP = {"sampling_method": "rmsprop_sgld"}
SETTINGS = {
    "plain": {},
    "metrics": PULLED,
    "rmsprop": RMSPROP,
    "rmsprop with masks, box and metrics": RMSPROP
    | PULLED
    | {"rmsprop_eps": 0.03, "rmsprop_alpha": 0.9, "bounding_box_size": 0.05, "masks": True},
    "rmsprop without correction": RMSPROP
    | {"sampling_method_kwargs": {"eps": 0.2, "add_grad_correction": False}},
    "masks and initial noise": {"init_noise": 0.1, "masks": True},
    "unmatched, initial noise": {
        "init_noise": 0.1,
        "match_sampling_input_ids_across_chains": False,
    },
    "unmatched, in order": {"shuffle": False, "match_sampling_input_ids_across_chains": False},
    "accumulation": {
        "gradient_accumulation_steps": 3,
        "num_steps_bw_draws": 2,
        "num_burnin_steps": 4,
    },
    "noise": {"noise_level": 0.5, "init_seed": 7},
    "dropout": {"dropout": 0.5},
    "more draws than a buffer of devinterp has": {"num_draws": 60},
    "divergence": {"lr": 1e9, "n_beta": 1e6, "localization": 1.0, "num_draws": 12},
    "divergence of a loss of the user": {"lr": 1e3, "num_draws": 12, "squares": True}
    | {"gradient_accumulation_steps": 2, "save_metrics": True},
}


@pytest.fixture(autouse=True)
def one_thread():
    """As the samples were made: sums over several threads have other bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Small(nn.Module):
    """A model of seven symbols that has 229 parameters."""

    def __init__(self, dropout: float = 0.0):
        super().__init__()
        self.e, self.l, self.o = nn.Embedding(7, 6), nn.Linear(6, 10), nn.Linear(10, 7)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens):
        hidden = torch.tanh(self.l(self.e(tokens))).cumsum(1)
        return self.o(self.dropout(hidden / torch.arange(1, tokens.shape[1] + 1)[:, None]))


def small(dropout: float = 0.0) -> Small:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Small(dropout)


def sequences(count: int, seed: int) -> list[dict[str, torch.Tensor]]:
    tokens = np.random.default_rng(seed).integers(0, 7, (count, 6))
    return [{"input_ids": torch.tensor(sequence)} for sequence in tokens]


def masks() -> dict[str, torch.Tensor | None]:
    rng = torch.Generator().manual_seed(3)
    drawn = torch.rand(7, 10, generator=rng) > 0.4
    return {"o.weight": drawn, "l.bias": None, "e.weight": torch.ones(7, 6, dtype=torch.bool)}


def squares(model, tokens):
    targets = functional.one_hot(tokens[:, 1:], 7).float()
    return (model(tokens)[:, :-1] - targets).pow(2).sum(-1)


def drawn(sampler, settings):
    """The samples of a sampler with some settings."""
    settings = {**BASE, **settings}
    settings["param_masks"] = masks() if settings.pop("masks", False) else None
    settings["loss_fn"] = squares if settings.pop("squares", False) else None
    model = small(settings.pop("dropout", 0.0))
    observables = {"a b": sequences(40, 2), "2x": (sequences(33, 3), 2)}
    return sampler(model, sequences(50, 1), observables, **settings)


def record_of(samples) -> dict[str, list]:
    """Each variable: its dimensions, type, the exact sum of what is finite, and how much is not."""
    record = {}
    for name in sorted(samples.data_vars):
        values = samples[name].values
        finite = np.isfinite(values)
        total = math.fsum(values[finite].tolist()).hex()
        dims = [f"{dim} {length}" for dim, length in samples[name].sizes.items()]
        record[name] = [dims, str(values.dtype), total, int((~finite).sum())]
    return record


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.filterwarnings("ignore:chain [01] failed")
def test_samples_agree_with_those_of_devinterp(name):
    expected = json.loads(RECORD.read_text(encoding="utf-8"))[name]
    record = record_of(drawn(sample, SETTINGS[name]))
    same_machine = record["init_loss"] == expected["init_loss"]
    if same_machine:
        assert record == expected
    assert record.keys() == expected.keys()
    for variable, (dims, dtype, total, missing) in expected.items():
        assert record[variable][:2] == [dims, dtype]
        if "divergence" not in name:  # rounding grows without limit there
            assert float.fromhex(record[variable][2]) == pytest.approx(
                float.fromhex(total), rel=1e-4, abs=1e-4
            )
            assert record[variable][3] == missing == 0


@pytest.mark.parametrize("name", ["a_default", "b_burnin_accum", "d_mask_box"])
def test_samples_of_a_trained_transformer_agree_with_those_of_devinterp(name, reference_data):
    folder = llc_samples.folder_of(reference_data)
    fixture = llc_samples.read(folder, name)
    model, data = llc_samples.transformer(folder)
    param_masks = None
    if name == "d_mask_box":
        rng = torch.Generator().manual_seed(5)
        param_masks = {"blocks.0.qkv.weight": torch.rand(48, 16, generator=rng) > 0.5}
        param_masks |= {"lnf.weight": None, "head.weight": None}
    samples = sample(model, data, {}, param_masks=param_masks, **fixture.settings)
    assert np.array_equal(samples["sampling_input_ids_micro"], fixture.arrays["ids"])
    same_machine = np.array_equal(samples["init_loss"], fixture.arrays["init_loss"])
    for variable in ("init_loss", "sampling_loss_micro"):
        values, expected = samples[variable].values, fixture.arrays[variable]
        assert values.dtype == expected.dtype
        if same_machine:
            assert np.array_equal(values, expected)
        np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-4)
    llc = float(compute_llc(samples)["llc_mean"])
    assert llc == pytest.approx(float(fixture.arrays["out_llc_mean"]), abs=1e-3)


def test_settings_and_masks_are_kept_with_the_samples():
    samples = drawn(sample, PULLED | {"masks": True})
    sampler = samples.attrs["metadata"]["config"]["sampler"]
    assert (sampler["n_beta"], sampler["epoch_mode"], sampler["cores"]) == (20.0, "cycle", 1)
    assert samples.attrs["metrics_numel"] == int(masks()["o.weight"].sum()) + 10 + 42
    assert samples.attrs["completed"] == 1


def test_sampling_leaves_the_model_and_the_global_generators_as_they_were():
    model = small(0.5).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    states = (random.getstate(), torch.get_rng_state(), np.random.get_state()[1].copy())
    sample(model, sequences(20, 1), {}, **BASE, init_noise=0.1)
    assert not model.training
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert random.getstate() == states[0] and torch.equal(torch.get_rng_state(), states[1])
    assert np.array_equal(np.random.get_state()[1], states[2])


def test_a_chain_that_fails_is_named_with_its_step_and_the_others_go_on():
    calls = []

    def loss_fn(model, tokens):
        calls.append(0)
        losses = squares(model, tokens)
        return losses * math.nan if len(calls) == 3 + 3 + 2 + 1 else losses

    with pytest.warns(UserWarning, match="chain 0 failed at step 2 of 5"):
        samples = sample(small(), sequences(50, 1), {}, loss_fn=loss_fn, **BASE)
    missing = np.isnan(samples["sampling_loss_micro"]).any(["batch_sampling", "token_pos"])
    assert missing.values.tolist() == [[False, False, True, True, True], [False] * 5]
    with pytest.warns(UserWarning, match=r"chain 0 \(its step 2\)"):
        strict = compute_llc(samples, strict=True)
    assert strict["llc_mean"] == strict["llc_per_chain"][1]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"rmsprop_eps": 0.1}, ValueError, "rmsprop_eps: sampling_method is 'sgmcmc_sgld'"),
        (
            RMSPROP | {"rmsprop_eps": 0.1, "sampling_method_kwargs": {"eps": 0.1}},
            ValueError,
            "give one of the two",
        ),
        (
            RMSPROP | {"sampling_method_kwargs": {"add_grad_correction": True}},
            NotImplementedError,
            "gradient correction",
        ),
        ({"sampling_method_kwargs": {"alpha": 0.9}}, TypeError, "does not take 'alpha'"),
        ({"sampling_method": "sgnht"}, ValueError, "'sgnht' is not known"),
        ({"lr": -1.0, "num_chains": 0}, ValueError, "(?s)lr: .*num_chains"),
        ({"param_masks": {"o.bias": torch.ones(3)}}, ValueError, r"has shape \(3,\)"),
        ({"param_masks": {"o.bia": None}}, ValueError, "did you mean 'o.bias'"),
        ({"param_masks": {}}, ValueError, "names no parameter"),
        ({"batch_size": 51}, ValueError, "has 50 sequences, fewer than a batch of 51"),
        ({"loss_fn": lambda m, t: squares(m, t).mean(1)}, ValueError, r"give \(8, 5\)"),
        ({"nothing": 1}, TypeError, "nothing"),
    ],
)
def test_what_cannot_be_sampled_with_is_refused(settings, error, message):
    with pytest.raises(error, match=message):
        sample(small(), sequences(50, 1), {}, **{**BASE, **settings})


def test_sequences_of_one_token_are_refused():
    with pytest.raises(ValueError, match="have length 1"):
        sample(small(), [{"input_ids": [1]}], {}, **BASE)


@pytest.mark.parametrize(
    ("observables", "message"),
    [
        ({"a": (sequences(9, 1), 2)}, "has 9 items, fewer than 2 batches of 8"),
        ({"a": (sequences(9, 1), 0)}, "in 0 batches"),
        ({"a b": (sequences(9, 1), 1), "a_b": (sequences(9, 1), 1)}, "the variable loss_a_b"),
    ],
)
def test_observables_that_cannot_be_recorded_are_refused(observables, message):
    with pytest.raises(SettingsError, match=message):
        sample(small(), sequences(50, 1), observables, **BASE)
