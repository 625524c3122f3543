"""The potential of a module: any module, its losses on items, and its own pass where it has one."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from isoloss.core.problems import IsolossError
from isoloss.models import mlp, transformer, vit_head
from isoloss.posterior.model_potential import ModelPotential
from isoloss.posterior.perceptrons import widths_of
from isoloss.posterior.sampler import BLOCK, sample
from isoloss.posterior.settings import Settings

N = 40  # items


class Tokens(nn.Module):
    """A language model as others write theirs: (batch, positions, vocabulary), perhaps wrapped."""

    def __init__(self, wrap=lambda odds: odds):
        super().__init__()
        self.embed, self.out, self.wrap = nn.Embedding(11, 6), nn.Linear(6, 11), wrap

    def forward(self, tokens):
        return self.wrap(self.out(torch.cumsum(self.embed(tokens), 1)))


class Tied(nn.Module):
    """A weight that is used twice, a frozen one, and a buffer."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3)
        self.second.weight = self.first.weight
        self.last.bias.requires_grad_(False)
        self.register_buffer("scale", torch.tensor(0.7))

    def forward(self, x):
        return self.last(torch.tanh(self.second(torch.tanh(self.first(x)))) * self.scale)


class Encoding(nn.Module):
    """A module of a user whose method `encode` is trained with the rest."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(5, 5), nn.Linear(5, 3)

    def encode(self, x):
        return torch.tanh(self.first(x))

    def forward(self, x):
        return self.head(self.encode(x))


def frozen(card) -> nn.Module:
    module = built(card)
    list(module.parameters())[1].requires_grad_(False)
    return module


def sequential() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.ReLU(), nn.Linear(7, 3))


def normed() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))


def random(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(3))


def whole(below: int, *shape: int) -> torch.Tensor:
    return torch.randint(0, below, shape, generator=torch.Generator().manual_seed(4))


def squares(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (outputs - targets) ** 2


def built(size) -> nn.Module:
    rng = np.random.default_rng(0)
    module = size.build(rng)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += torch.from_numpy(rng.normal(0, 0.2, parameter.shape))
    return module


TOKENS = whole(11, N, 8)
PERCEPTRONS = {  # layers of torch.nn.Sequential, shape of an input, the widths that are seen
    "flattened": ([nn.Flatten(), nn.Linear(12, 7), nn.ReLU(), nn.Linear(7, 3)], (3, 4), [12, 7, 3]),
    "dropout": ([nn.Linear(5, 4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 3)], (5,), [5, 4, 3]),
    "linear": ([nn.Linear(5, 3)], (5,), [5, 3]),
    "tanh": ([nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)], (5,), None),
    "no bias": ([nn.Linear(5, 4, bias=False), nn.ReLU(), nn.Linear(4, 3)], (5,), None),
    "ends in ReLU": ([nn.Linear(5, 3), nn.ReLU()], (5,), None),
    "a position": ([nn.Linear(5, 3), nn.Flatten()], (1, 5), None),
    "nothing": ([nn.Flatten()], (5,), None),
}
HEAD = vit_head.Model(9, 2, 0.5, height=8, encoder_seed=3, inputs=64, classes=3)
CASES = {
    "images": lambda: (sequential(), random(N, 3, 4), whole(3, N), None),
    "tied": lambda: (Tied(), random(N, 5), whole(3, N), None),
    "norm and dropout": lambda: (normed(), random(N, 5), whole(3, N), None),
    "tokens": lambda: (Tokens(), TOKENS[:, :-1], TOKENS[:, 1:], None),
    "one position more": lambda: (Tokens(), TOKENS, TOKENS[:, 1:], None),
    "logits": lambda: (
        Tokens(lambda odds: SimpleNamespace(logits=odds)),
        TOKENS[:, :-1],
        TOKENS[:, 1:],
        None,
    ),
    "tuple": lambda: (Tokens(lambda odds: (odds, 1)), TOKENS[:, :-1], TOKENS[:, 1:], None),
    "squares": lambda: (nn.Linear(5, 2), random(N, 5).double(), random(N, 2).double(), squares),
    "own mlp": lambda: (built(mlp.Model(7, 2, 0.5, 12, 3)), random(N, 12), whole(3, N), None),
    "encoder": lambda: (built(HEAD), random(N, 64), whole(3, N), None),
    "trained encoder": lambda: (Encoding(), random(N, 5), whole(3, N), None),
    "own mlp, frozen bias": lambda: (
        frozen(mlp.Model(7, 2, 0.5, 12, 3)),
        random(N, 12),
        whole(3, N),
        None,
    ),
    "own transformer": lambda: (
        built(transformer.Model(8, 2, 4, context=7, vocabulary=11)),
        TOKENS[:, :-1],
        TOKENS[:, 1:],
        None,
    ),
}


def by_hand(module, inputs, targets, loss_fn, items):
    """Losses of items and the gradient of their mean, by autograd on the module itself."""
    x, y = inputs[items], targets[items]
    outputs = module(x.float() if x.is_floating_point() else x)
    if loss_fn is None:
        odds = getattr(outputs, "logits", outputs[0] if isinstance(outputs, tuple) else outputs)
        odds = odds[:, : y.shape[1]] if odds.dim() == 3 else odds
        odds = odds.reshape(-1, odds.shape[-1])
        losses = functional.cross_entropy(odds, y.reshape(-1), reduction="none").view(y.shape)
    else:
        losses = loss_fn(outputs, y.to(torch.float32))
    losses = losses.reshape(len(items), -1).mean(1)
    parameters = [p for p in module.parameters() if p.requires_grad]
    gradient = torch.autograd.grad(losses.mean(), parameters)
    return losses.detach(), torch.cat([g.reshape(-1) for g in gradient])


@pytest.mark.parametrize("case", CASES)
def test_losses_and_gradients_of_each_chain_are_those_of_the_module(case):
    module, inputs, targets, loss_fn = CASES[case]()
    potential = ModelPotential(module, inputs, targets, loss_fn)
    assert potential.n_items == N and potential.start.dtype == torch.float32
    named = {n: p for n, p in module.named_parameters() if p.requires_grad}
    for name, part in potential.names.items():
        assert torch.equal(potential.start[part], named[name].detach().reshape(-1))
    weights = potential.start * torch.tensor([[1.0], [0.5], [2.0]])
    gradient, items = torch.full_like(weights, torch.nan), whole(N, 3, 6)
    losses = potential.learn(weights, gradient, items)
    assert losses.shape == (3, 6)
    torch.testing.assert_close(potential.losses(weights, items), losses)
    module.eval()
    before = potential.start.clone()
    for row, of_chain, its_items, its_losses in zip(weights, gradient, items, losses, strict=True):
        with torch.no_grad():
            for name, part in potential.names.items():
                named[name].copy_(row[part].view_as(named[name]))
        expected = by_hand(module, inputs, targets, loss_fn, its_items)
        torch.testing.assert_close(its_losses, expected[0], rtol=1e-5, atol=1e-6)
        assert (of_chain - expected[1]).abs().max() < 1e-5 * expected[1].abs().max()
    assert torch.equal(potential.start, before)  # the module's weights are its own


@pytest.mark.parametrize("case", CASES)
def test_a_chain_depends_on_no_other_and_not_on_their_number(case):
    potential = ModelPotential(*CASES[case]())
    weights = potential.start * torch.tensor([[1.0], [0.5], [2.0]])
    gradient, items = torch.empty_like(weights), whole(N, 3, 6)
    losses = potential.learn(weights, gradient, items).clone()
    one = torch.empty_like(weights[:1])
    assert torch.equal(potential.learn(weights[:1].clone(), one, items[:1]), losses[:1])
    assert torch.equal(one, gradient[:1])
    weights[1] = torch.nan
    again = torch.empty_like(gradient)
    with_nan = potential.learn(weights, again, items)
    assert with_nan[1].isnan().all()
    assert torch.equal(with_nan[[0, 2]], losses[[0, 2]])
    assert torch.equal(again[[0, 2]], gradient[[0, 2]])


def test_in_train_mode_dropout_draws_and_neither_module_nor_global_state_is_touched():
    module, *data = CASES["norm and dropout"]()
    state = {name: value.clone() for name, value in module.state_dict().items()}
    before = torch.get_rng_state()
    evaluated = ModelPotential(module, *data)
    items = whole(N, 1, 6).expand(2, 6)

    def learned(count: int) -> list[torch.Tensor]:
        trained = ModelPotential(module, *data, mode="train")
        weights = trained.start.expand(count, -1)
        gradient = torch.empty(weights.shape)
        return [trained.learn(weights, gradient, items[:count]).clone() for _ in range(2)]

    two, one = learned(2), learned(1)
    assert torch.equal(two[0][:1], one[0]) and torch.equal(two[1][:1], one[1])
    assert not torch.equal(two[0][0], two[0][1]) and not torch.equal(two[0], two[1])
    weights = evaluated.start.expand(2, -1)
    assert torch.equal(*evaluated.losses(weights, items))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    assert all(p.grad is None for p in module.parameters())


LINEAR = nn.Linear(5, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((LINEAR, random(4, 5), whole(3, 3)), "4 inputs and 3 targets"),
        ((LINEAR, random(0, 5), whole(3, 0)), "0 inputs and 0 targets"),
        ((LINEAR, random(4, 5), whole(3, 4) - 100), "a target is -100; leave it out"),
        (
            (nn.Linear(5, 3).bfloat16(), random(4, 5), whole(3, 4)),
            r"parameters are torch.bfloat16; .*model.float\(\)",
        ),
        ((LINEAR, random(4, 5), random(4)), "targets are torch.float32.*or a loss_fn"),
        ((nn.Flatten(), random(4, 5), whole(3, 4)), "no parameter needs a gradient"),
        (
            (nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 3).double()), random(4, 5), whole(3, 4)),
            r"parameters are torch.float32, torch.float64; .*model.float\(\)",
        ),
        ((LINEAR, random(4, 5), whole(3, 4), None, "test"), "'test'; give 'eval' or 'train'"),
    ],
)
def test_what_cannot_be_sampled_is_refused(arguments, message):
    with pytest.raises(IsolossError, match=message):
        ModelPotential(*arguments)


def test_in_train_mode_chains_draw_by_the_seed_and_not_by_how_many_they_are():
    case = CASES["norm and dropout"]()

    def losses_of(chains: int, seed: int = 0) -> np.ndarray:
        potential = ModelPotential(*case, mode="train", seed=seed)
        settings = Settings(lr=1e-4, n_beta=20.0, num_chains=chains, num_draws=BLOCK + 2)
        return sample(potential, settings).losses

    two = losses_of(2)
    assert np.array_equal(losses_of(3)[:2], two)
    assert not np.array_equal(losses_of(2, seed=1), two)


def test_losses_that_are_not_of_items_are_refused():
    data = nn.Linear(5, 3), random(N, 5), random(N, 3)
    mean = ModelPotential(*data, functional.mse_loss)
    with pytest.raises(IsolossError, match=r"losses \(\) for 6 items.*reduction='none'"):
        mean.losses(mean.start[None], whole(N, 1, 6))
    odd = ModelPotential(Tokens(), TOKENS[:, :-1], TOKENS[:, 0])
    with pytest.raises(IsolossError, match=r"log-odds \(6, 7, 11\) for targets \(6,\)"):
        odd.losses(odd.start[None], whole(N, 1, 6))


@pytest.mark.parametrize(("layers", "shape", "widths"), PERCEPTRONS.values(), ids=PERCEPTRONS)
def test_a_sequence_of_linear_layers_and_relu_is_a_perceptron(layers, shape, widths):
    module = nn.Sequential(*layers).eval()
    assert widths_of(module, shape) == widths
    assert widths_of(module.train(), shape) is None
    if widths:
        module.eval()[-1].register_forward_hook(lambda *_: None)
        assert widths_of(module, shape) is None


def test_perceptrons_whose_layers_share_a_weight_or_have_a_frozen_one_are_not_taken_for_others():
    for spoil in (
        lambda module: setattr(module[2], "weight", module[0].weight),
        lambda module: module[0].bias.requires_grad_(False),
    ):
        module = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)).eval()
        assert widths_of(module, (4,)) == [4, 4, 4]
        spoil(module)
        assert widths_of(module, (4,)) is None


def test_a_model_that_has_taken_steps_of_training_is_sampled_as_before():
    module, *data = CASES["own transformer"]()
    items = whole(N, 1, 6)
    before = ModelPotential(module, *data)
    losses = before.losses(before.start[None], items)
    module.learn(data[0][:4], data[1][:4].reshape(-1))
    after = ModelPotential(module, *data)
    assert torch.equal(after.losses(after.start[None], items), losses)


@pytest.mark.parametrize("case", ["images", "tied", "own mlp", "own transformer"])
def test_a_chain_of_the_sampler_is_the_same_alone_and_among_others(case):
    potential = ModelPotential(*CASES[case]())
    given = {"lr": 1e-4, "n_beta": 20.0, "num_draws": 12, "batch_size": 5, "localization": 10.0}
    given["gradient_accumulation_steps"] = 2
    three = sample(potential, Settings(**given, num_chains=3))
    alone = sample(potential, Settings(**given, num_chains=1))
    assert np.isfinite(three.losses).all()
    assert np.array_equal(three.losses[:1], alone.losses)
    assert np.array_equal(three.paired[:1], alone.paired)
    assert not np.allclose(three.losses, three.paired, atol=1e-6)
    still = sample(potential, Settings(**{**given, "lr": 0.0}))
    np.testing.assert_allclose(still.losses, still.paired, rtol=1e-6)
