"""A small task of any model card on random data, with a model of it."""

from __future__ import annotations

from isoloss.core import registry
from isoloss.core.seeds import generator
from isoloss.models._model import model_of
from isoloss.train.settings import task_of

SMALL = {"context": 5, "vocabulary": 7, "d_model": 4, "n_layers": 1}
SMALL |= {"inputs": 16, "height": 4, "classes": 3, "width": 4}


def made_up(model: str, n_items: int = 6):
    """A small task of a model card on random data, and a model."""
    name = task_of(model)
    options = {key: SMALL.get(key, value) for key, value in registry.defaults("task", name).items()}
    card = registry.card("task", name)
    task = card.task(*card.made_up(n_items, **options), 1, 0, **options)
    given = {**registry.defaults("model", model), **SMALL, **task.shapes}
    built = model_of(registry.card("model", model), given).build(generator(0, "init", model))
    return task, built.eval()
