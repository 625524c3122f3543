"""The multilayer perceptron: its sizes, and its own backward pass beside autograd's."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from isoloss.core import registry
from isoloss.models._layers import Layers
from isoloss.models._model import flops_per_example
from isoloss.models.mlp import Model, sizes
from isoloss.trainers._optimizers import flatten

SHAPES = {"inputs": 784, "classes": 10}
OF_THE_SEED = {**registry.defaults("model", "mlp"), **SHAPES}


def hidden_configs(targets) -> list[tuple[int, int]]:
    """Hidden widths by `generate_hidden_configs` of the published experiment."""
    configs = []
    for target in targets:
        a, b, c = 0.5, 789, -target
        first = max(1, round((-b + np.sqrt(b**2 - 4 * a * c)) / (2 * a)))
        config = (first, max(1, round(first / 2)))
        if config not in configs:
            configs.append(config)
    return configs


def test_the_inverse_rule_gives_the_published_widths_in_their_order():
    targets = np.logspace(np.log10(800), np.log10(35000), 25)
    widths = [sizes(target, OF_THE_SEED, "inverse")["width"] for target in targets]
    models = [Model(**{**OF_THE_SEED, "width": width}) for width in dict.fromkeys(widths)]
    pairs = [tuple(model.widths()[1:-1]) for model in models]
    assert len(pairs) == 19
    assert pairs == hidden_configs(targets)
    assert (pairs[0], pairs[-1]) == ((1, 1), (43, 22))


@given(st.floats(1, 1e7))
def test_the_inverse_rule_is_the_published_formula_at_any_target(target):
    ((first, _),) = hidden_configs([target])
    assert sizes(target, OF_THE_SEED, "inverse") == {"width": first}


@given(
    st.integers(1, 300), st.integers(1, 5), st.floats(0.1, 1), st.integers(1, 50), st.integers(2, 9)
)
def test_the_width_of_a_models_own_n_is_its_width(width, depth, taper, inputs, classes):
    given = {"depth": depth, "taper": taper, "inputs": inputs, "classes": classes}
    n_params = sum(Model(width=width, **given).count().values())
    assert sizes(n_params, given) == {"width": width}
    assert sizes(n_params + 0.4, given) == {"width": width}


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_the_inverse_rule_ends_near_the_target_at_any_depth(depth):
    given = {**OF_THE_SEED, "depth": depth}
    model = Model(**{**given, **sizes(1e6, given, "inverse")})
    assert sum(model.count().values()) == pytest.approx(1e6, rel=0.01)


def test_a_layer_is_multiplied_thrice_and_the_first_twice():
    model = Model(width=6, depth=2, taper=0.5, inputs=20, classes=4)
    assert model.widths() == [20, 6, 3, 4]
    assert model.count() == {"matrix": 120 + 18 + 12, "bias": 13}
    assert model.flops_by_layer() == {
        "layers.0": 4.0 * 126,
        "layers.1": 4.0 * 21 + 2 * 18,
        "layers.2": 4.0 * 16 + 2 * 12,
    }
    assert flops_per_example(model) == 4 * 163 + 2 * 30


def test_first_weights_are_drawn_as_torch_draws_those_of_linear_layers():
    layers = Layers([400, 300, 10], np.random.default_rng(0))
    torch.manual_seed(0)
    for drawn, (fan_in, fan_out) in zip(layers, pairwise([400, 300, 10]), strict=True):
        default = torch.nn.Linear(fan_in, fan_out)
        pairs = zip(drawn.state_dict().values(), default.state_dict().values(), strict=True)
        for ours, theirs in pairs:
            assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
            assert ours.abs().max() <= fan_in**-0.5
            spread = 4 / math.sqrt(ours.numel())  # four standard errors, and more
            assert float(ours.std()) == pytest.approx(float(theirs.std()), rel=2 * spread)
            assert abs(ours.mean()) < spread * fan_in**-0.5


def autograd(model, inputs, targets) -> tuple[torch.Tensor, list[torch.Tensor]]:
    loss = functional.cross_entropy(model(inputs), targets)
    return loss.detach(), list(torch.autograd.grad(loss, list(model.parameters())))


widths = st.lists(st.integers(1, 40), min_size=1, max_size=5)


@settings(deadline=None)
@given(widths, st.integers(2, 12), st.integers(1, 70), st.integers(0, 2**32), st.booleans())
def test_loss_and_gradient_are_those_of_autograd(hidden, classes, batch, seed, flat):
    rng = np.random.default_rng(seed)
    layers = Layers([*hidden, classes], rng)
    if flat:
        flatten(list(layers.parameters()))
    for _ in range(2):  # the second batch of a size writes where the first did
        inputs = torch.from_numpy(rng.random((batch, hidden[0]), dtype=np.float32))
        targets = torch.from_numpy(rng.integers(0, classes, batch))
        loss, gradient = autograd(layers, inputs, targets)
        layers.zero_grad(set_to_none=not flat)
        assert float(layers.learn(inputs, targets, 0.25)) == pytest.approx(float(loss), rel=1e-5)
        for parameter, expected in zip(layers.parameters(), gradient, strict=True):
            torch.testing.assert_close(parameter.grad, 0.25 * expected, rtol=1e-4, atol=1e-6)


def test_gradients_of_parts_add_up_bit_for_bit_the_same_twice():
    def gradient() -> torch.Tensor:
        rng = np.random.default_rng(1)
        model = Model(width=43, **{k: v for k, v in OF_THE_SEED.items() if k != "width"}).build(rng)
        flat = flatten(list(model.parameters()))
        for size in (128, 16, 128):
            inputs = torch.from_numpy(rng.random((size, 784), dtype=np.float32))
            model.learn(inputs, torch.from_numpy(rng.integers(0, 10, size)), 1 / 3)
        return flat.grad

    assert torch.equal(gradient(), gradient())
    assert gradient().abs().max() > 0


def test_a_loss_that_is_not_finite_is_said_to_be_so():
    layers = Layers([3, 4, 2], np.random.default_rng(0))
    inputs = torch.tensor([[float("nan"), 0.0, 1.0]])
    loss = layers.learn(inputs, torch.tensor([1]))
    assert torch.isnan(loss)
    assert all(torch.isnan(p.grad).any() for p in layers.parameters())


def test_parameters_are_called_by_their_layer():
    model = Model(**{**OF_THE_SEED, "width": 8}).build(np.random.default_rng(0))
    names = [f"layers.{i}.{part}" for i in range(3) for part in ("weight", "bias")]
    assert list(model.state_dict()) == names
