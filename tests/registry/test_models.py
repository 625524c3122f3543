"""One contract over every model, task and trainer card."""

from __future__ import annotations

import itertools
import math
from dataclasses import make_dataclass
from types import ModuleType

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from isoloss.__main__ import main
from isoloss.core import registry
from isoloss.core.problems import IsolossError, StudyError
from isoloss.core.seeds import generator
from isoloss.core.tokens import TokenArray
from isoloss.models._model import flops_per_example, model_of, n_params_of
from isoloss.study import check
from isoloss.tasks._dataset import Dataset, Index
from isoloss.train.plan import Cards
from isoloss.train.settings import OF_EVERY_RUN, cards_of, commanded, known, task_of
from isoloss.trainers._devices import precision_of

MODELS = registry.names("model")
TRAINERS = [name for name in registry.names("trainer") if not commanded({"trainer": name})]
TASKS = registry.names("task")
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def changed(options: dict, name: str, factor: int) -> dict:
    """Defaults of some options, one of them `factor` times its default."""
    values = {key: spec["default"] for key, spec in options.items()}
    return values | {name: values[name] * factor}


def sized(name: str, **changes):
    """A model at the defaults of its card and task, but for some changes."""
    task = registry.card("task", task_of(name))
    options = registry.defaults("task", task_of(name))
    given = registry.defaults("model", name) | options | changes
    shapes = task.shapes(**{key: given[key] for key in options})
    return model_of(registry.card("model", name), given | shapes)


def variants() -> list:
    """Every model at its defaults, and with each of its whole-numbered options doubled."""
    cases = []
    for name in MODELS:
        options = registry.options("model", name) | registry.options("task", task_of(name))
        whole = [key for key, spec in options.items() if spec["type"] == "integer"]
        cases += [pytest.param(name, {}, id=name)]
        cases += [
            pytest.param(name, {key: changed(options, key, 2)[key]}, id=f"{name} {key}")
            for key in whole
        ]
    return cases


@pytest.mark.parametrize(("name", "change"), variants())
def test_a_model_counts_its_own_parameters_and_flops(name, change):
    model = sized(name, **change)
    built = model.build(generator(0, "init", name))
    count = model.count()
    trained = sum(count.values()) - count.get("frozen", 0)
    assert trained == sum(p.numel() for p in built.parameters())
    assert all(isinstance(n, int) and n >= 0 for n in count.values())
    assert trained > count.get("embedding", 0)
    # a parameter that is not looked up is multiplied once, and once more for its gradient; a third
    # time for the gradient of its layer's input, which the first layer can do without
    assert flops_per_example(model) >= 4 * (trained - count.get("embedding", 0))
    assert all(flops > 0 for flops in model.flops_by_layer().values())
    assert model.nominal_width() > 0
    assert model.activations() > 0


@pytest.mark.parametrize("convention", ["total", "nonembed"])
@pytest.mark.parametrize("name", MODELS)
def test_the_sizes_for_a_target_have_the_n_that_is_nearest(name, convention):
    card, reached = registry.card("model", name), []

    def n_params(sizes: dict) -> int:
        return n_params_of(sized(name, **sizes).count(), convention)

    options, task = registry.defaults("model", name), registry.card("task", task_of(name))
    given = options | task.shapes(**registry.defaults("task", task_of(name)))
    middle = n_params({})
    for target in np.geomspace(middle / 8, middle * 8, 40):
        sizes = card.sizes(float(target), given | {"n_params": convention})
        assert set(sizes) <= set(options)
        n = n_params(sizes)
        assert card.sizes(n, given | {"n_params": convention}) == sizes
        reached.append(n)
    assert reached == sorted(reached)
    every = sorted(set(reached))
    for target, n in zip(np.geomspace(middle / 8, middle * 8, 40), reached, strict=True):
        assert abs(n - target) == min(abs(other - target) for other in every)
    assert len(every) > 5


@pytest.mark.parametrize("name", MODELS)
def test_weights_depend_on_the_generator_only(name):
    first, again, other = (
        sized(name).build(generator(seed, "init", name)).state_dict() for seed in (0, 0, 1)
    )
    assert all((first[key] == again[key]).all() for key in first)
    assert any((first[key] != other[key]).any() for key in first)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("trainer", TRAINERS)
def test_options_of_the_cards_of_a_run_do_not_hide_each_other(name, trainer):
    sweep = {"model": name, "trainer": trainer}
    options = [registry.options(kind, card) for kind, card in cards_of(sweep)]
    assert len(known(sweep)) == len(OF_EVERY_RUN) + sum(map(len, options))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize("asked", [1, 1000, 123_456])
def test_a_trainer_plans_whole_steps_near_what_was_asked_for(name, trainer, asked):
    sweep = {"model": name, "trainer": trainer}
    settings = {key: spec["default"] for key, spec in known(sweep).items() if "default" in spec}
    cards = Cards.of(sweep)
    _, per_item = cards.sized(settings)
    planned = cards.trainer.plan(asked, per_item, settings)
    assert set(planned) == {"n_samples", "n_steps", "batch_items"}
    a_step = planned["batch_items"] * per_item
    assert planned["n_samples"] == planned["n_steps"] * a_step
    assert abs(planned["n_samples"] - asked) <= max(a_step / 2, a_step - 1)


# Tasks, each with a model that is trained at it


def data(name: str, seed: int = 0):
    """A dataset in memory and an index of its training rows, one of them twice."""
    rng = np.random.default_rng(seed)
    image = {"language_model": (), "classification": (28, 28)}[name]
    lengths = np.ones(40, dtype=np.int64) if image else rng.integers(20, 90, 40)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    values = rng.integers(97, 105, (starts[-1], *image)).astype(np.uint8)
    tags = [[("kind", "even" if i % 2 == 0 else "odd")] for i in range(30, 40)]
    rows = {"row": np.arange(30, 40), "n_tokens": lengths[30:]}
    held_out = pa.table({**rows, "tags": pa.array(tags, pa.map_(pa.string(), pa.string()))})
    labels = rng.integers(0, 10, 40) if image else np.full(40, -1)
    dataset = Dataset(TokenArray(values), starts, held_out, labels)
    copies = np.where(np.arange(30) == 3, 2, 1)
    return dataset, Index(np.arange(30), copies)


def task_for(name: str, **changes):
    """The task of a small dataset."""
    card, (dataset, index) = registry.card("task", name), data(name)
    options = registry.defaults("task", name) | changes
    return card.task(card.training(dataset, index), card.validation(dataset), 5, 1, **options)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_answers_every_item_of_its_task_from_a_loss_near_a_guess(name):
    task = task_for(task_of(name))
    model = sized(name).build(generator(0, "init", name))
    items = np.arange(min(4, task.n_items))
    loss = task.learn(model, items)
    assert loss.shape == () and not loss.requires_grad
    assert float(loss) == pytest.approx(task.guess, rel=0.5)
    gradients = [p.grad.clone() for p in model.parameters() if p.requires_grad]
    assert float(task.learn(model, items, 0.5)) == float(loss)
    again = [p.grad for p in model.parameters() if p.requires_grad]
    for gradient, both in zip(gradients, again, strict=True):
        torch.testing.assert_close(both, 1.5 * gradient)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_model_has_one_loss_and_gradient_on_every_device_up_to_rounding(name, device, precision):
    def learned(device, precision):
        task = task_for(task_of(name))
        task.to(device)
        model = sized(name).build(generator(0, "init", name)).to(device)
        with precision_of({"precision": precision}, device):
            loss = task.learn(model, np.arange(min(4, task.n_items)))
        gradients = [p.grad.cpu().reshape(-1) for p in model.parameters() if p.requires_grad]
        return float(loss), torch.cat(gradients), task.evaluate(model)[0]

    loss, gradient, validation = learned("cpu", "float32")
    here = learned(device, precision)
    rounding = 0.02 if precision == "bfloat16" else 1e-4
    assert here[0] == pytest.approx(loss, rel=rounding)
    assert float((here[1] - gradient).norm()) <= rounding * 2 * float(gradient.norm())
    assert here[2] == pytest.approx(validation, rel=1e-4)  # measured in float32 everywhere


@pytest.mark.parametrize("name", TASKS)
def test_a_task_gives_its_items_in_an_order_that_the_generator_decides(name):
    task = task_for(name)
    orders = [
        list(itertools.islice(task.batches(3, generator(seed, "order", "x")), 20))
        for seed in (0, 0, 1)
    ]
    assert np.array_equal(orders[0], orders[1]) and not np.array_equal(orders[0], orders[2])
    items = np.concatenate(orders[0])
    assert set(items.tolist()) == set(range(task.n_items))
    seen = np.ones(task.n_items, dtype=bool)
    assert 0 == task.n_unique(~seen) < task.n_unique(seen)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_can_be_made_up_to_time_its_steps(name):
    card, options = registry.card("task", name), registry.defaults("task", name)
    task = card.task(*card.made_up(7, **options), 1, 0, **options)
    assert task.n_items == 7
    (model,) = [m for m in MODELS if task_of(m) == name][:1]
    built = sized(model).build(generator(0, "init", "x"))
    loss = task.learn(built, next(task.batches(7, generator(0, "order", "x"))))
    assert float(loss) == pytest.approx(task.guess, rel=0.5)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_measures_a_model_without_training_it_and_by_tag(name):
    task = task_for(name)
    (model,) = [m for m in MODELS if task_of(m) == name][:1]
    built = sized(model).build(generator(0, "init", "x"))
    before = {key: value.clone() for key, value in built.state_dict().items()}
    loss, rows = task.evaluate(built)
    assert (loss, rows) == task.evaluate(built)
    assert loss == pytest.approx(task.guess, rel=0.5)
    assert all(torch.equal(value, before[key]) for key, value in built.state_dict().items())
    table = pd.DataFrame(rows)
    assert set(table) - {"error_rate"} == {"split", "tag_key", "domain", "loss_nats", "n_tokens"}
    for _, part in table.groupby("tag_key"):
        mean = np.average(part["loss_nats"], weights=part["n_tokens"])
        assert mean == pytest.approx(loss, rel=1e-9)


@pytest.mark.parametrize("name", TASKS)
def test_a_side_has_the_digest_of_its_content(name):
    card, (dataset, index), (others, _) = registry.card("task", name), data(name), data(name, 1)
    once = Index(index.rows, np.ones(30, dtype=np.int64))
    training = [card.training(*side).digest for side in ((dataset, index), (dataset, once))]
    validation = [card.validation(each).digest for each in (dataset, dataset, others)]
    assert len({*training, *validation}) == 4
    assert validation[0] == validation[1]


@pytest.mark.parametrize("name", TASKS)
def test_a_task_says_what_its_loss_is_a_mean_of(name):
    facts = registry.facts("task", name)
    assert facts["EXAMPLE"].islower() and facts["ITEM"].islower()
    assert task_for(name).guess > math.log(2) - 1e-9


# Language models


LANGUAGE_MODELS = [name for name in MODELS if task_of(name) == "language_model"]


@pytest.fixture(params=LANGUAGE_MODELS)
def stirred(request):
    """A small model with weights at which every part of it matters, its context and vocabulary."""
    model = sized(request.param, context=12)
    built = model.build(generator(0, "init", "x"))
    torch.manual_seed(0)
    with torch.no_grad():
        for p in built.parameters():
            p.normal_(0, 0.5)
    return built, 12, model.vocabulary


def log_odds(model, tokens, vocabulary):
    with torch.no_grad():
        output = model(torch.as_tensor(tokens, dtype=torch.int64))
    assert output.dtype == torch.float32
    assert output.shape == (tokens.size, vocabulary)
    return output.reshape(*tokens.shape, vocabulary).numpy()


def test_a_model_does_not_look_ahead(stirred):
    model, context, vocabulary = stirred
    tokens = np.random.default_rng(0).integers(0, vocabulary, (3, context))
    before = log_odds(model, tokens, vocabulary)
    assert np.isfinite(before).all()
    for at in range(context):
        changed = tokens.copy()
        changed[:, at] = (changed[:, at] + 1) % vocabulary
        after = log_odds(model, changed, vocabulary)
        np.testing.assert_array_equal(after[:, :at], before[:, :at])
        assert np.abs(after[:, at] - before[:, at]).max() > 1e-4


def test_rows_of_a_batch_do_not_mix(stirred):
    model, context, vocabulary = stirred
    tokens = np.arange(2 * context).reshape(2, -1)
    both = log_odds(model, tokens, vocabulary)
    np.testing.assert_allclose(both[1:], log_odds(model, tokens[1:], vocabulary), atol=1e-4)


@pytest.mark.parametrize("stirred", ["transformer"], indirect=True)
def test_a_transformer_looks_back_at_every_token_and_tells_orders_apart(stirred):
    model, context, vocabulary = stirred
    tokens = np.random.default_rng(0).integers(0, vocabulary, (3, context))
    before = log_odds(model, tokens, vocabulary)
    for at in range(context):
        changed = tokens.copy()
        changed[:, at] = (changed[:, at] + 1) % vocabulary
        after = log_odds(model, changed, vocabulary)
        assert (np.abs(after[:, at:] - before[:, at:]).max(axis=(0, 2)) > 1e-4).all()
    swapped = tokens[:, [1, 0, *range(2, context)]]
    assert np.abs(log_odds(model, swapped, vocabulary)[:, -1] - before[:, -1]).max() > 1e-4


# A card that does not keep its contract is refused before anything runs


# what the registry keeps of the cards that it has read
CACHED = (registry.names, registry._constants, registry.lacking, registry.defined)


@pytest.fixture
def own_model(tmp_path, monkeypatch):
    """A maker of a study with a model card of a user, given the card's source."""
    home = tmp_path / "isoloss"
    for folder in registry.FOLDERS.values():
        (home / folder).mkdir(parents=True)
        for file in (registry.HOME / folder).glob("*.py"):
            (home / folder / file.name).write_bytes(file.read_bytes())
    card = home / "models" / "mine.py"

    def problems(source: str) -> list[str]:
        card.write_text(source, encoding="utf-8")
        monkeypatch.setattr(registry, "HOME", home)
        for cached in CACHED:
            cached.cache_clear()
        sweep = {"dataset": "s", "model": "mine", "cells": [{"n_samples": 1e5}]}
        study = {"study": "a", "load": {"s": {"card": "python_stdlib"}}, "train": {"t": sweep}}
        try:
            check.check(study)
        except StudyError as error:
            return [str(problem) for problem in error.problems]
        return []

    yield problems
    monkeypatch.undo()
    for cached in CACHED:
        cached.cache_clear()


def test_a_model_card_that_lacks_part_of_its_contract_is_refused_with_what_it_lacks(own_model):
    source = (registry.HOME / "models" / "transformer.py").read_text(encoding="utf-8")
    (line,) = own_model(source.replace("def activations", "def activity"))
    assert line.startswith("train.t.model: the model card 'mine' does not define Model.activations")
    assert "mine.py" in line
    (line,) = own_model(source.replace('TASK = "language_model"', 'TASK = "language"'))
    assert "did you mean 'language_model'" in line


def test_a_model_card_that_is_no_python_is_refused_with_its_line(own_model):
    source = (registry.HOME / "models" / "transformer.py").read_text(encoding="utf-8")
    with pytest.raises(IsolossError, match=r"mine\.py, line \d+: is not Python .*; fix the line"):
        own_model(source.replace("def count(", "def count(("))


def test_a_field_of_a_model_that_nothing_gives_is_told_with_what_to_do():
    model = make_dataclass("Model", ["context", "depth"])
    card = ModuleType("isoloss.models.mine")
    card.Model = model
    cards = Cards(
        card, registry.card("task", "language_model"), None, ("context", "vocabulary"), ("width",)
    )
    with pytest.raises(IsolossError, match=r"models\.mine: Model has the field 'depth'; add it to"):
        cards.sized({"context": 8, "vocabulary": 256, "width": 2})


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ("model/byte_transforme", "did you mean 'transformer'"),
        ("modle/transformer", "did you mean 'model'"),
        ("trainer/built", "did you mean 'builtin'"),
    ],
)
def test_a_digest_of_cards_that_do_not_exist_names_the_nearest(card, words, capsys):
    assert main(["digest", "run", "--cards", card]) != 0
    assert words in capsys.readouterr().err
