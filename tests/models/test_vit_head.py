"""A head on a frozen encoder: what is trained and stored, and features computed once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from images_in_memory import labelled, task_of

from isoloss.core import registry
from isoloss.core.seeds import generator
from isoloss.models._layers import Layers
from isoloss.models.vit_head import Model, sizes

SHAPES = {"inputs": 784, "classes": 10}
GIVEN = {**registry.defaults("model", "vit_head"), **SHAPES}


def built(seed: int = 0, **changes):
    return Model(**{**GIVEN, **changes}).build(generator(seed, "init", "x"))


def test_what_is_trained_and_stored_is_the_head_alone():
    module, model = built(), Model(**GIVEN)
    names = [f"head.{i}.{part}" for i in range(3) for part in ("weight", "bias")]
    assert list(module.state_dict()) == names == [name for name, _ in module.named_parameters()]
    assert [tuple(p.shape) for p in module.parameters()][::2] == [(32, 64), (16, 32), (10, 16)]
    count = model.count()
    assert count["matrix"] + count["bias"] == sum(p.numel() for p in module.parameters())
    assert list(model.flops_by_layer()) == ["head.0", "head.1", "head.2"]


@pytest.mark.parametrize(("height", "inputs"), [(28, 784), (28, 28 * 30), (7, 7 * 9), (1, 3)])
def test_the_encoder_is_drawn_from_as_many_numbers_as_are_counted_frozen(height, inputs):
    module = built(height=height, inputs=inputs)
    count = Model(**{**GIVEN, "height": height, "inputs": inputs}).count()
    assert sum(weight.numel() for weight in module.encode.buffers()) == count["frozen"]
    assert module(torch.rand(3, inputs)).shape == (3, 10)


def test_the_encoder_is_the_same_for_all_runs_unless_its_own_seed_differs():
    images = torch.rand(4, 784)
    one, other, third = built(0), built(1, width=5), built(0, encoder_seed=1)
    assert torch.equal(one.encode(images), other.encode(images))
    assert not torch.allclose(one.encode(images), third.encode(images))


def test_features_tell_patches_and_their_places_apart():
    encode = built().encode
    images = torch.zeros(3, 28, 28)
    images[1, :4, :4], images[2, 24:, 24:] = 1.0, 1.0
    features = encode(images.view(3, -1))
    for one, two in ((0, 1), (0, 2), (1, 2)):
        assert (features[one] - features[two]).abs().max() > 1e-3
    torch.testing.assert_close(encode(images[1:2].view(1, -1)), features[1:2])


class EveryStep(torch.nn.Module):
    """The same model without `encode`: a task gives it images in every step."""

    def __init__(self, model):
        super().__init__()
        self.model, self.head = model, model.head

    def forward(self, images):
        return self.head(self.model.encode(images))


def test_features_computed_once_train_as_those_computed_in_every_step():
    dataset = labelled(90, 30, size=28)
    losses = []
    for wrap in (lambda model: model, EveryStep):
        task, model = task_of(dataset, inputs=784), built()
        wrapped = wrap(model)
        optimizer = torch.optim.SGD(model.parameters(), 0.02)
        order, curve = task.batches(16, generator(0, "order", "x")), []
        for _ in range(40):
            optimizer.zero_grad()
            curve.append(float(task.learn(wrapped, next(order))))
            optimizer.step()
        losses.append([*curve, task.evaluate(wrapped)[0]])
    np.testing.assert_allclose(losses[0], losses[1], rtol=2e-4)
    assert np.mean(losses[0][30:40]) < losses[0][0]


def test_every_image_is_encoded_once_and_again_for_another_model():
    task, calls = task_of(labelled(90, 30, size=28), inputs=784), []
    models = [built(), built(encoder_seed=1)]
    for model in models:
        model.encode.register_forward_hook(lambda _, given, __: calls.append(len(given[0])))
    first = task.learn(models[0], np.arange(8))
    for _ in range(5):
        assert torch.equal(task.learn(models[0], np.arange(8)), first)
    assert sum(calls) == 90
    assert not torch.equal(task.learn(models[1], np.arange(8)), first)
    assert sum(calls) == 180


@pytest.mark.parametrize("target", [1000, 5000, 50_000])
@pytest.mark.parametrize("convention", ["nonembed", "total"])
def test_a_head_is_found_for_n_with_and_without_what_is_frozen(target, convention):
    frozen = Model(**GIVEN).count()["frozen"]
    n = target + frozen * (convention == "total")
    (width,) = sizes(n, {**GIVEN, "n_params": convention}).values()

    def distance(width):
        count = Model(**{**GIVEN, "width": width}).count()
        return abs(count["matrix"] + count["bias"] - target)

    assert distance(width) <= min(distance(width + 1), distance(max(1, width - 1)))


def test_images_that_are_not_lines_of_one_length_are_refused():
    with pytest.raises(ValueError, match="784 inputs are not 30 lines of one length"):
        Model(**{**GIVEN, "height": 30})


def test_the_head_has_a_backward_pass_of_its_own():
    assert isinstance(built().head, Layers)
