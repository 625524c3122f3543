"""What the trained part of a model is given of training items is what a run learns from."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch
from images_in_memory import labelled, task_of
from torch.nn import functional

from isoloss.core import registry
from isoloss.core.seeds import generator
from isoloss.models._model import model_of
from isoloss.tasks._phases import Phase, Phased
from isoloss.train.settings import task_of as task_card_of


def made_up(model: str, n_items: int = 6):
    """A small task of a model card on random data, and a model."""
    name = task_card_of(model)
    small = {"context": 5, "vocabulary": 7, "inputs": 16, "classes": 3, "height": 4}
    options = {**registry.defaults("task", name)}
    options |= {key: value for key, value in small.items() if key in options}
    card = registry.card("task", name)
    task = card.task(*card.made_up(n_items, **options), 1, 0, **options)
    given = {**registry.defaults("model", model), **small, **task.shapes}
    built = model_of(registry.card("model", model), given).build(generator(0, "init", model))
    return task, built.eval()


@pytest.mark.parametrize("name", registry.names("model"))
def test_the_losses_of_items_given_are_those_that_a_step_learns_from(name):
    task, model = made_up(name)
    items = np.array([3, 0, 3])
    inputs, targets = task.given(model, items)
    assert len(inputs) == len(targets) == 3
    assert torch.equal(inputs[0], inputs[2]) and torch.equal(targets[0], targets[2])
    log_odds = task.learner(model)(inputs)
    loss = functional.cross_entropy(log_odds, targets.reshape(-1))
    torch.testing.assert_close(loss, task.learn(model, items))
    trained = {id(p) for p in model.parameters() if p.requires_grad}
    assert {id(p) for p in task.learner(model).parameters()} == trained
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
