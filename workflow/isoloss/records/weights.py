"""The trained model of a run, from the store."""

from __future__ import annotations

import json

import numpy as np
from safetensors import SafetensorError, safe_open

from isoloss.core import tables
from isoloss.core.problems import Problem, TableError
from isoloss.records import manifest
from isoloss.records.store import Store


def load_weights(store: Store, run_digest: str, step: int | None = None) -> dict[str, np.ndarray]:
    """Load the weights of a run that ended.

    Args:
        store: where it is kept.
        run_digest: its identity.
        step: after how many steps, one of the sweep's `checkpoints`; the last if None.

    Returns:
        Name of a tensor to its values, in the order of the names.

    Raises:
        TableError: no weights were kept of this run, or they are not what was saved.
    """
    path = store.weights(run_digest) if step is None else store.checkpoint(run_digest, step)
    if not path.is_file():
        reason = "no weights were kept of this run"
        asked = "keep_weights: true" if step is None else f"checkpoints: [{step}]"
        remedy = f"set `{asked}`, remove {path.parent}, and make its shard's table again"
        raise TableError(Problem(str(path), reason, remedy))
    manifest.check(path)
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {}).get(tables.METADATA.decode(), "{}"))
            if about.get("run_digest") != run_digest:
                reason = f"holds the weights of the run {about.get('run_digest')}"
                raise TableError(Problem(str(path), reason, "restore the file of this run"))
            return {name: file.get_tensor(name) for name in sorted(file.keys())}
    except SafetensorError as error:  # such as a pickle, which is never loaded
        reason = f"is not a file of safetensors ({error})"
        raise TableError(Problem(str(path), reason, "restore the file of this run")) from error
