"""Real `snakemake` on small studies, each in a folder of its own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import warm
import yaml

ROOT = Path(__file__).parents[1]


def tiny(source: Path) -> dict:
    """A study that takes seconds: 16 and 4 runs of a few steps on eight modules."""
    few = {
        "card": "python_stdlib",
        "options": {"root": str(source)},
        "valid_fraction": 0.4,
    }
    return {
        "study": "tiny",
        "seed": 3,
        "load": {"few": few},
        "expand": {"natural": {}, "docstring_x2": {"kind": {"docstring": 2.5}}},
        "train": _sweeps(),
        "fit": _fits(),
        "plot": _figures(),
    }


def _sweeps() -> dict:
    base = {"dataset": "few", "model": "transformer", "shards": 2, "valid_tokens": 1024}
    return {
        "grid": {
            **base,
            "settings": {"n_layers": 1, "context": 16, "batch_size": 8},
            "cells": [
                {"n_flops": ["2e7", "6e7", "1.2e8"], "d_model": [4, 6, 8, 12]},
                {"n_flops": 6e7, "d_model": [6, 8], "weighting": "docstring_x2"},
                {"n_flops": 6e7, "d_model": [6, 8], "seed": 1},
            ],
        },
        "short": {
            **base,
            "settings": {"n_layers": 1, "context": 16, "n_samples": 640},
            "cells": [{"d_model": [4, 6, 8, 12]}],
        },
    }


def _fits() -> dict:
    return {
        "chinchilla": {
            "card": "chinchilla",
            "sweep": "grid",
            "where": "weighting == 'natural'",
            "holdout": "largest_compute",
            "bootstrap": 20,
        },
        "power_law": {"card": "power_law", "sweep": "grid", "bootstrap": 20},
        "in_n": {
            "card": "power_law",
            "options": {"variable": "N"},
            "sweep": "short",
            "profiles": True,
            "bootstrap": 20,
        },
    }


def _figures() -> dict:
    both = ["chinchilla", "power_law"]
    return {
        "learning_curves": {
            "card": "learning_curves",
            "sweep": "grid",
            "options": {"from_samples": 100},
        },
        "isoflop_profiles": {"card": "isoflop_profiles", "sweep": "grid", "fits": ["chinchilla"]},
        "isoloss": {"card": "isoloss", "sweep": "grid", "fits": ["chinchilla"]},
        "predicted_observed": {"card": "predicted_observed", "sweep": "grid", "fits": both},
        "weighting_effects": {"card": "weighting_effects", "sweep": "grid"},
    }


def small(source: Path) -> dict:
    """A study of 8 runs in one sweep, with one fit and one figure, for tests that train again.

    Its runs have more steps than those of `tiny`, for something to happen to one meanwhile.
    """
    study = tiny(source)
    cells = [{"n_flops": ["2e7", "6e7"], "d_model": [6, 8, 12, 14], "batch_size": 4}]
    return study | {
        "expand": {"natural": {}},
        "train": {"grid": study["train"]["grid"] | {"cells": cells}},
        "fit": {"power_law": study["fit"]["power_law"]},
        "plot": {"learning_curves": study["plot"]["learning_curves"]},
    }


def snakemake(
    folder: Path, *arguments: str, root: Path = ROOT, cold: bool = False, **environment: str
) -> subprocess.CompletedProcess:
    """Run snakemake in a folder as a person would; output as text.

    Args:
        folder: the working directory.
        *arguments: of snakemake.
        root: the project whose workflow and library run.
        cold: start it and its jobs as a person does, which takes seconds each; see warm.py.
        **environment: further variables.
    """
    options = ["--snakefile", str(root / "Snakefile"), "--directory", str(folder), "--cores", "2"]
    environment = {**os.environ, **environment, "PYTHONPATH": str(root / "workflow")}
    if not cold:
        return warm.run("snakemake", *options, *arguments, folder=root, environment=environment)
    return subprocess.run(
        [sys.executable, "-m", "snakemake", *options, *arguments],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )


def hear_ctrl_c() -> None:
    """Be interrupted by SIGINT: what is started in the background may have been told to ignore it.

    To be given as `preexec_fn` of a process that a test interrupts.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


def write(folder: Path, study: dict, name: str = "study.yaml") -> str:
    """Write a study into a folder; its path."""
    path = folder / name
    path.write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    return str(path)
