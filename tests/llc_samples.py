"""Samples that devinterp 2.0.1 drew, its small transformer, and what it made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor, nn
from torch.nn import functional

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


class Block(nn.Module):
    """A block of attention and feed-forward, each after a layer norm."""

    def __init__(self):
        super().__init__()
        self.ln1 = nn.LayerNorm(16)
        self.qkv = nn.Linear(16, 48)
        self.o = nn.Linear(16, 16)
        self.ln2 = nn.LayerNorm(16)
        self.f1 = nn.Linear(16, 64)
        self.f2 = nn.Linear(64, 16)

    def forward(self, x):
        batch, length, width = x.shape
        parts = self.qkv(self.ln1(x)).chunk(3, dim=-1)
        q, k, v = (part.view(batch, length, 2, 8).transpose(1, 2) for part in parts)
        future = torch.ones(length, length, dtype=torch.bool).triu(1)
        scores = (q @ k.transpose(-1, -2) / 8**0.5).masked_fill(future, -1e9)
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, length, width)
        x = x + self.o(mixed)
        return x + self.f2(functional.gelu(self.f1(self.ln2(x))))


class Transformer(nn.Module):
    """The transformer that devinterp sampled: 2 blocks of width 16, 37 symbols, 17 positions."""

    def __init__(self):
        super().__init__()
        self.pos = nn.Parameter(torch.zeros(17, 16))
        self.emb = nn.Embedding(37, 16)
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.lnf = nn.LayerNorm(16)
        self.head = nn.Linear(16, 37, bias=False)

    def forward(self, tokens):
        x = self.emb(tokens) + self.pos[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.lnf(x))


def transformer(folder: Path) -> tuple[Transformer, list[dict[str, Tensor]]]:
    """The trained transformer, and the token sequences that it was sampled with."""
    with np.load(folder / "tinylm.npz") as file:
        weights = {key[2:]: torch.tensor(file[key]) for key in file if key.startswith("w/")}
        tokens = torch.tensor(file["tokens"]).long()
    model = Transformer()
    model.load_state_dict(weights)
    return model, [{"input_ids": sequence} for sequence in tokens]
