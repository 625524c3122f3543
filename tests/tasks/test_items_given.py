"""What the trained part of a model is given of training items is what a run learns from."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch
from images_in_memory import labelled, task_of
from small_tasks import made_up
from torch.nn import functional

from isoloss.core import registry
from isoloss.core.seeds import generator
from isoloss.tasks._phases import Phase, Phased


@pytest.mark.parametrize("name", registry.names("model"))
def test_the_loss_of_items_given_is_the_one_that_a_step_learns_from(name):
    task, model = made_up(name)
    items = np.array([3, 0, 3])
    inputs, targets = task.given(model, items)
    assert len(inputs) == len(targets) == 3
    assert torch.equal(inputs[0], inputs[2]) and torch.equal(targets[0], targets[2])
    head = model.head if name == "vit_head" else model
    loss = functional.cross_entropy(head(inputs), targets.reshape(-1))
    torch.testing.assert_close(loss, task.learn(model, items))
    assert task.drawn().tolist() == list(range(6))


def test_items_are_those_that_batches_are_drawn_from():
    images = task_of(labelled(20, 5))
    phased = Phased(images, [Phase(3, 0, 8), Phase(2, 12, 20)])
    seen = np.concatenate(list(islice(phased.batches(4, generator(0, "order", "")), 20)))
    assert phased.drawn().tolist() == sorted(set(seen)) == [*range(8), *range(12, 20)]
    card = registry.card("task", "language_model")
    sides = card.made_up(9, context=4, vocabulary=5)
    subset = card.task(*sides, 1, 0, n_unique=12, context=4, vocabulary=5)
    seen = np.concatenate(list(islice(subset.batches(2, generator(0, "order", "")), 9)))
    assert subset.drawn().tolist() == sorted(set(seen))
    assert len(subset.drawn()) == 3
