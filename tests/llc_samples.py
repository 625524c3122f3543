"""Samples that devinterp 2.0.1 drew, its small transformer, and what it made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import xarray as xr

RESULTS = ["llc_mean", "llc_std", "llc_per_chain", "llc_scalar", "loss_trace", "init_loss"]


class Fixture(NamedTuple):
    """One file of samples: its arrays, and the settings that they were drawn with."""

    arrays: dict[str, np.ndarray]
    settings: dict

    def tree(self) -> xr.DataTree:
        """The samples as devinterp returns them."""
        names = ("init_loss", "sampling_loss_micro")
        return tree(*(self.arrays[name] for name in names), float(self.arrays["n_beta"]))


def tree(init_loss: np.ndarray, losses: np.ndarray, n_beta: float) -> xr.DataTree:
    """Losses (chain, step, batch, position) and initial losses (chain, position) as a DataTree."""
    variables = {
        "init_loss": (("chain", "token_pos"), init_loss),
        "sampling_loss_micro": (("chain", "step", "batch_sampling", "token_pos"), losses),
    }
    metadata = {"config": {"sampler": {"n_beta": n_beta}}}
    return xr.DataTree(xr.Dataset(variables, attrs={"metadata": metadata}))


def folder_of(reference_data: Path) -> Path:
    """The folder of samples beside the published tables; skips where there is none."""
    folder = reference_data.parent / "llc"
    if not folder.is_dir():
        pytest.skip(f"there is no folder {folder}: samples of devinterp are not at hand")
    return folder


def read(folder: Path, name: str) -> Fixture:
    """The samples of one file."""
    with np.load(folder / f"{name}.npz") as file:
        arrays = {key: file[key] for key in file}
    described = json.loads((folder / "settings_and_outputs.json").read_text(encoding="utf-8"))
    return Fixture(arrays, described.get(name, {}).get("kwargs", {}))
