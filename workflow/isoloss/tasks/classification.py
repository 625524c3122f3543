"""Tell the class of an image, or of any row of whole numbers with a label.

A model of this task may have the fields `inputs` and `classes`. Its module is called with numbers
from 0 to 1, float32 (batch, inputs), and returns the log-odds of the classes, float32
(batch, classes). A module whose first part is not trained has that part as `encode`, and the rest,
a module, as `head`: then `encode` is called once for every training example, and not in every step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isoloss.tasks._images import Images, Labelled

TITLE = "Classification"
ABOUT = (
    "Each row is an image with a label; its pixels, divided by the largest number of their type,"
    " are the inputs. The loss is the cross-entropy in nats an example."
)
SOURCE = "LeCun et al. 1998, doi:10.1109/5.726791"
EXAMPLE = "example"
ITEM = "example"
OPTIONS = {
    "inputs": {
        "type": "integer",
        "minimum": 1,
        "maximum": 16777216,
        "default": 784,
        "unit": "inputs",
        "description": "Numbers that an image has: height times width.",
    },
    "classes": {
        "type": "integer",
        "minimum": 2,
        "maximum": 16777216,
        "default": 10,
        "unit": "classes",
        "description": "Classes that there are; every label is below.",
    },
}


def shapes(inputs: int, classes: int) -> dict[str, int]:
    """The length of a model's input, and how many classes there are to choose from."""
    return {"inputs": inputs, "classes": classes}


def examples_per_item(inputs: int, classes: int) -> int:
    """An item is an example."""
    return 1


def training(dataset: Any, index: Any) -> Labelled:
    """The training rows of a weighting, with how often each is trained on.

    Args:
        dataset: `tokens` (the images), `starts` and `labels` of its rows.
        index: `rows` (positions) and `copies` of each.
    """
    from isoloss.tasks._images import Labelled

    return Labelled(dataset, index.rows, index.copies)


def validation(dataset: Any) -> Labelled:
    """The validation rows, each once, with the tags by which losses are summed.

    Args:
        dataset: `tokens` (the images), `starts` and `labels` of its rows, and `held_out`: position
            and tags of those on the validation side.
    """
    from isoloss.tasks._images import held_out

    return held_out(dataset)


def made_up(n_items: int, inputs: int, classes: int) -> tuple[Labelled, Labelled]:
    """Both sides of random images, as many: what a step's time is measured on."""
    from types import SimpleNamespace

    import numpy as np
    import pyarrow as pa

    from isoloss.tasks._images import Labelled, held_out

    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (n_items, inputs), dtype=np.uint8)
    images = SimpleNamespace(values=pixels, release=lambda: None)
    row, tags = np.arange(1), pa.array([[]], pa.map_(pa.string(), pa.string()))
    rows = pa.table({"row": row, "n_tokens": [1], "tags": tags})
    labels = rng.integers(0, classes, n_items)
    dataset = SimpleNamespace(
        tokens=images, starts=np.arange(n_items + 1), held_out=rows, labels=labels
    )
    return Labelled(dataset, np.arange(n_items), np.ones(n_items, dtype=np.int64)), held_out(
        dataset
    )


def task(
    training: Labelled,
    validation: Labelled,
    n_valid: int,
    seed: int,
    n_unique: int | None = None,
    **options: int,
) -> Images:
    """The task of a run; `n_unique` distinct examples are trained on, all if it is None."""
    from isoloss.tasks._images import Images

    return Images(training, validation, n_valid, seed, n_unique, shapes(**options))
