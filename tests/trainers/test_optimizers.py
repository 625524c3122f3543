"""Optimisers over one vector: the same steps as torch takes over single parameters."""

import copy

import pytest
import torch
from torch.nn import functional

from isoloss.core import registry
from isoloss.trainers._optimizers import Optimizer

SETTINGS = {**registry.defaults("trainer", "builtin"), "weight_decay": 0.1}
OPTIMIZERS = registry.options("trainer", "builtin")["optimizer"]["enum"]
MATRICES, OTHERS = ["2.weight"], ["0.weight", "0.bias", "2.bias", "4.weight", "4.bias"]


@pytest.fixture
def network():
    """Three layers, of which the first and the last are at the edges."""
    torch.manual_seed(0)
    layers = [torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 12), torch.nn.Tanh()]
    module = torch.nn.Sequential(*layers, torch.nn.Linear(12, 3))
    module.edges = ["0.weight", "4.weight"]
    return module


def of_torch(name, module):
    """Torch's own optimisers over the parameters of a module, one by one."""
    named = dict(module.named_parameters())
    moments = {"betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1}
    momentum = {"momentum": 0.95, "nesterov": True, "weight_decay": 0.1}
    if name == "muon":
        matrices, others = ([named[key] for key in keys] for keys in (MATRICES, OTHERS))
        muon = torch.optim.Muon(matrices, **momentum, adjust_lr_fn="match_rms_adamw")
        return [muon, torch.optim.AdamW(others, **moments)]
    makers = {
        "adamw": lambda: torch.optim.AdamW(named.values(), **moments),
        "adam": lambda: torch.optim.Adam(named.values(), **moments),
        "sgd": lambda: torch.optim.SGD(named.values(), **momentum),
    }
    return [makers[name]()]


def learn(module, step):
    """Leave a gradient in a module's parameters."""
    draw = torch.Generator().manual_seed(step)
    inputs = torch.randn(16, 6, generator=draw)
    functional.cross_entropy(module(inputs), inputs[:, :3].argmax(1)).backward()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_are_those_of_torch_over_single_parameters(name, network):
    reference = copy.deepcopy(network)
    optimizer, parts = Optimizer(network, SETTINGS | {"optimizer": name}), of_torch(name, reference)
    first = copy.deepcopy(network.state_dict())
    for step in range(5):
        rate = 0.01 * (step + 1)
        optimizer.flat.grad.zero_()
        reference.zero_grad()
        for module in (network, reference):
            learn(module, step)
        optimizer.step(rate)
        for part in parts:
            part.param_groups[0]["lr"] = rate
            part.step()
    for key, value in reference.state_dict().items():
        torch.testing.assert_close(network.state_dict()[key], value, rtol=1e-4, atol=1e-5)
        assert not torch.equal(value, first[key])


def test_muon_changes_hidden_matrices_by_orthogonal_ones_of_the_size_of_adamws(network):
    before = network.state_dict()["2.weight"].clone()
    optimizer = Optimizer(network, SETTINGS | {"optimizer": "muon", "weight_decay": 0.0})
    left, _, right = torch.linalg.svd(torch.randn(12, 8), full_matrices=False)
    network[2].weight.grad.copy_(left @ torch.diag(torch.logspace(-1, 0, 8)) @ right)
    optimizer.step(0.01)
    change = (before - network.state_dict()["2.weight"]) / 0.01
    sizes = torch.diag(left.T @ change @ right.T) / (0.2 * 12**0.5)
    # the iteration brings singular values near 1, not to it
    assert 0.6 < sizes.min() <= sizes.max() < 1.3
    assert float(change.square().mean().sqrt()) == pytest.approx(0.2, rel=0.2)


def test_a_module_of_hidden_matrices_only_is_trained_by_muon_alone():
    module = torch.nn.Linear(4, 3, bias=False)
    optimizer = Optimizer(module, SETTINGS | {"optimizer": "muon"})
    before = module.weight.detach().clone()
    functional.cross_entropy(module(torch.eye(4)), torch.tensor([0, 1, 2, 0])).backward()
    optimizer.step(0.1)
    assert not torch.equal(module.weight, before)
    assert list(optimizer.state()) == ["momentum 0"]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_parameters_and_gradients_are_views_of_one_vector(name, network):
    optimizer = Optimizer(network, SETTINGS | {"optimizer": name})
    assert optimizer.flat.numel() == sum(p.numel() for p in network.parameters())
    optimizer.flat.data.fill_(2.0)
    optimizer.flat.grad.fill_(3.0)
    assert all((p == 2).all() and (p.grad == 3).all() for p in network.parameters())


@pytest.mark.parametrize(("name", "of_torch"), [("adamw", "AdamW"), ("adam", "Adam")])
def test_the_fused_step_is_bitwise_that_of_torch(name, of_torch, network):
    settings = SETTINGS | {"optimizer": name, "beta2": 0.999, "epsilon": 1e-6}
    optimizer = Optimizer(network, settings)
    vector = torch.nn.Parameter(optimizer.flat.detach().clone())
    moments = {"betas": (0.9, 0.999), "eps": 1e-6, "weight_decay": 0.1}
    reference = getattr(torch.optim, of_torch)([vector], **moments, fused=True)
    for step in range(20):
        optimizer.flat.grad.zero_()
        learn(network, step)
        vector.grad = optimizer.flat.grad.clone()
        reference.param_groups[0]["lr"] = 0.01 / (step + 1)
        reference.step()
        optimizer.step(0.01 / (step + 1))
        assert torch.equal(optimizer.flat, vector)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimiser_goes_on_from_its_state_bit_for_bit(name, network):
    settings = SETTINGS | {"optimizer": name}
    whole, begun = Optimizer(network, settings), copy.deepcopy(network)
    other = Optimizer(begun, settings)

    def steps(optimizer, module, numbers):
        for step in numbers:
            optimizer.flat.grad.zero_()
            learn(module, step)
            optimizer.step(0.01)

    steps(whole, network, range(6))
    steps(other, begun, range(3))
    rest = copy.deepcopy(begun)
    last = Optimizer(rest, settings)
    for tensor, saved in zip(last.state().values(), other.state().values(), strict=True):
        tensor.copy_(saved)
    steps(last, rest, range(3, 6))
    assert torch.equal(whole.flat, last.flat)
