"""Classification: what a batch holds, which examples are trained on, and what is measured."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pyarrow as pa
import pytest
import torch
from images_in_memory import CARD, labelled, task_of

from isoloss.core.seeds import generator
from isoloss.core.tokens import TokenArray
from isoloss.tasks._dataset import Dataset, Index

N, N_VALID = 90, 30


def dataset_of(images=None, labels=None) -> Dataset:
    """Small images, the last thirty of them for validation."""
    return labelled(N, N_VALID, images=images, labels=labels)


class Witness(torch.nn.Module):
    """A linear model that keeps the inputs that it was given."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(16, 10)
        self.inputs = []

    def forward(self, inputs):
        self.inputs.append(inputs.clone())
        return self.layer(inputs)


def test_a_batch_holds_the_pixels_of_its_items_from_0_to_1_in_their_order():
    dataset, witness = dataset_of(), Witness()
    task = task_of(dataset)
    for items in (np.array([5, 2, 2, 77]), np.array([1, 3, 88, 5]), np.array([4])):
        loss = task.learn(witness, items)
        expected = torch.from_numpy(dataset.tokens.values[items].reshape(-1, 16) / 255)
        torch.testing.assert_close(witness.inputs[-1], expected.float())
        labels = torch.from_numpy(dataset.labels[items])
        again = torch.nn.functional.cross_entropy(witness.layer(expected.float()), labels)
        torch.testing.assert_close(loss, again.detach())


def test_the_gradient_of_a_step_is_not_changed_by_the_batch_that_follows():
    task, witness = task_of(dataset_of()), Witness()
    task.learn(witness, np.arange(8))
    alone = witness.layer.weight.grad.clone()
    task.learn(witness, np.arange(8, 16))
    witness.zero_grad()
    task.learn(witness, np.arange(8))
    assert torch.equal(witness.layer.weight.grad, alone)


def test_copies_of_a_row_are_items_of_their_own_and_one_example():
    copies = np.ones(N, np.int64)
    copies[[3, 4]] = 3, 2
    task = task_of(dataset_of(), copies)
    assert task.n_items == N + 3
    epoch = list(itertools.islice(task.batches(31, generator(0, "order", "x")), 3))
    items = np.concatenate(epoch)
    assert sorted(items.tolist()) == list(range(N + 3))
    seen = np.zeros(task.n_items, dtype=bool)
    seen[3:8] = True  # the three copies of row 3 and both of row 4
    assert task.n_unique(seen) == 2
    witness = Witness()
    task.learn(witness, np.arange(3, 8))
    inputs = witness.inputs[0]
    assert torch.equal(inputs[0], inputs[2]) and torch.equal(inputs[3], inputs[4])
    assert not torch.equal(inputs[2], inputs[3])


def test_a_subset_is_seeded_nested_and_the_same_under_another_weighting():
    dataset = dataset_of()

    def rows(n_unique, chosen=None):
        return set(task_of(dataset, rows=chosen, n_unique=n_unique).training.rows.tolist())

    small, large = rows(20), rows(50)
    assert len(small) == 20 and len(large) == 50 and small < large < rows(None)
    half = np.arange(0, N, 2)
    assert small & set(half.tolist()) <= rows(20, half)
    assert rows(N) == rows(None)
    assert task_of(dataset, n_unique=20).n_items == 20
    with pytest.raises(ValueError, match="n_unique is 91, where 90 examples are left: lower"):
        rows(N + 1)


def test_the_loss_is_that_of_the_measured_examples_whole_and_by_class():
    dataset, witness = dataset_of(), Witness()
    task = task_of(dataset, n_valid=17)
    loss, rows = task.evaluate(witness)
    measured = task.validation.rows[task.measured]
    assert len(measured) == 17 and set(measured) < set(range(N, N + N_VALID))
    inputs = torch.from_numpy(dataset.tokens.values[measured].reshape(-1, 16) / 255).float()
    labels = dataset.labels[measured]
    nats = (
        torch.nn.functional.cross_entropy(
            witness.layer(inputs), torch.from_numpy(labels), reduction="none"
        )
        .detach()
        .double()
        .numpy()
    )
    assert loss == pytest.approx(nats.mean(), rel=1e-6)
    assert {row["domain"]: row["n_tokens"] for row in rows} == {
        str(label): int((labels == label).sum()) for label in set(labels)
    }
    wrong = (witness.layer(inputs).argmax(1).numpy() != labels).astype(float)
    for row in rows:
        assert row["error_rate"] == wrong[labels == int(row["domain"])].mean()
    for row in rows:
        assert row["loss_nats"] == pytest.approx(
            nats[labels == int(row["domain"])].mean(), rel=1e-6
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": 25}, "an example has 16 numbers, where inputs is 25: set inputs to 16"),
        (
            {"classes": 5},
            r"label \d of row \d+, where classes is 5: set classes to 10 or more, or fix",
        ),
        ({"n_valid": 0}, "a side has no example"),
        ({"rows": np.zeros(0, np.int64)}, "a side has no example"),
    ],
)
def test_data_that_do_not_fit_the_task_are_refused_with_what_does_not(change, message):
    with pytest.raises(ValueError, match=message):
        task_of(dataset_of(), **change)


def test_rows_without_a_label_are_refused():
    labels = dataset_of().labels.copy()
    labels[4] = -1
    with pytest.raises(ValueError, match="row 4 has no label: load"):
        task_of(dataset_of(labels=labels))


def test_a_side_has_another_digest_with_another_label_copy_or_pixel():
    first = dataset_of()
    index = Index(np.arange(N), np.ones(N, np.int64))
    images, labels = first.tokens.values.copy(), first.labels.copy()
    images[3, 1, 1] ^= 1
    labels[3] = (labels[3] + 1) % 10
    others = [dataset_of(images=images), dataset_of(labels=labels)]
    twice = Index(np.arange(N), np.where(np.arange(N) == 3, 2, 1))
    digests = {CARD.training(each, index).digest for each in (first, *others)}
    assert len(digests | {CARD.training(first, twice).digest}) == 4
    assert CARD.training(dataset_of(), index).digest in digests
    assert CARD.validation(first).digest == CARD.validation(others[0]).digest


def test_a_large_set_of_images_is_in_memory_once():
    """70 000 images of 784 pixels as numbers of 4 bytes are 209 MiB."""
    import tracemalloc

    images = np.zeros((70_000, 28, 28), np.uint8)
    rows = np.arange(60_000, 70_000)
    empty = pa.array([[]] * 10_000, pa.map_(pa.string(), pa.string()))
    held_out = pa.table({"row": rows, "n_tokens": np.ones_like(rows), "tags": empty})
    dataset = Dataset(TokenArray(images), np.arange(70_001), held_out, np.zeros(70_000, np.int64))
    sides = CARD.training(dataset, Index(np.arange(60_000), np.ones(60_000, np.int64)))
    tracemalloc.start()
    task = CARD.task(sides, CARD.validation(dataset), 10_000, 1, inputs=784, classes=10)
    _, inputs = task._given(torch.nn.Linear(784, 10))
    assert inputs.element_size() * inputs.nelement() < 180 * 2**20
    assert tracemalloc.get_traced_memory()[1] < 100 * 2**20  # numpy's, beside torch's
    tracemalloc.stop()
    assert task.guess == math.log(10)
