"""The cards of CONTRIBUTING.md are cards: put in their places, they keep the contracts."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from isoloss.core import registry, tables
from isoloss.figures._figure import Inputs

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"`workflow/isoloss/(\w+)/(\w+)\.py`:\n\n```python\n(.*?)```", flags=re.S)
KINDS = {folder: kind for kind, folder in registry.FOLDERS.items()}
EXAMPLES = [(KINDS[folder], name, source) for folder, name, source in BLOCK.findall(PAGE)]
CACHED = (registry.names, registry._constants, registry.lacking, registry.defined)


def test_there_is_an_example_of_every_kind_but_tasks():
    assert sorted(kind for kind, *_ in EXAMPLES) == sorted(set(registry.FOLDERS) - {"task"})
    assert PAGE.count("```python") == len(EXAMPLES)


@pytest.fixture
def with_examples(tmp_path, monkeypatch):
    """The cards of the project and those of the page, where the registry looks."""
    home = tmp_path / "isoloss"
    for folder in registry.FOLDERS.values():
        (home / folder).mkdir(parents=True)
        for file in (registry.HOME / folder).glob("*.py"):
            (home / folder / file.name).write_bytes(file.read_bytes())
    for kind, name, source in EXAMPLES:
        (home / registry.FOLDERS[kind] / f"{name}.py").write_text(source, encoding="utf-8")
    monkeypatch.setattr(registry, "HOME", home)
    for cached in CACHED:
        cached.cache_clear()
    yield home
    monkeypatch.undo()
    for cached in CACHED:
        cached.cache_clear()


def test_the_registry_knows_each_example_and_lacks_nothing_in_it(with_examples):
    for kind, name, source in EXAMPLES:
        assert name in registry.names(kind)
        assert registry.lacking(kind, name) == ()
        for option in registry.options(kind, name).values():
            assert {"type", "description", "default"} <= set(option)
        compile(source, name, "exec")


@pytest.fixture
def card_of(monkeypatch):
    """What the example of a kind defines, by its kind."""

    def defined(kind: str) -> dict:
        (source,) = [source for one, _, source in EXAMPLES if one == kind]
        module = ModuleType("example")
        monkeypatch.setitem(sys.modules, "example", module)  # where its dataclass looks
        exec(compile(source, "CONTRIBUTING.md", "exec"), vars(module))
        return vars(module)

    return defined


def test_the_figure_is_drawn_and_the_others_do_what_they_say(card_of, chinchilla_runs, tmp_path):
    runs = chinchilla_runs(noise=0.01, seed=1).assign(status="done")
    figure, table = card_of("figure")["draw"](Inputs(tables={"runs": runs}, fits={}))
    figure.draw_without_rendering()
    assert list(table["loss"]) == list(runs["loss"])
    law = card_of("law")["make"]()
    assert law.loss(np.array([[0.0, 1.0, 0.5]]), {"U": np.array([4.0])})[0] == [1 + np.e / 2]
    weights = {"a": np.array([[1.0, -3.0]]), "bias": np.array([9.0])}
    assert card_of("observable")["observe"](weights)["value"].tolist() == [3.0]
    (tmp_path / "lines.txt").write_text("news: one\nno topic\n")
    rows = list(card_of("dataset")["pieces"](str(tmp_path / "lines.txt")))
    assert rows[0]["tags"] == {"topic": "news"} and rows[1]["problem"]
    settings = {"items_a_step": 4}
    planned = card_of("trainer")["plan"](100, 5, settings)
    assert planned == {"n_samples": 100, "n_steps": 5, "batch_items": 4}
    assert card_of("model")["sizes"](1000, {"inputs": 16, "classes": 10}) == {"units": 37}


STUDY = """
study: cards
load: {lines: {card: headed_lines, valid_fraction: 0.4}}
train:
  text:
    dataset: lines
    model: transformer
    trainer: plain_sgd
    shards: 1
    valid_tokens: 256
    settings: {context: 16, n_layers: 1, n_samples: 2048}
    cells: [{d_model: [4, 8]}]
observe: {largest: {card: largest_weight, sweep: text}}
plot: {sizes: {card: loss_by_size, sweep: text}}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with the examples in their places."""
    copy = tmp_path_factory.mktemp("contributing") / "project"
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("workflow", "tests", "docs", "profiles", "envs"):
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    for name in ("pyproject.toml", "Snakefile", "config.yaml", "README.md", "CONTRIBUTING.md"):
        shutil.copy(ROOT / name, copy)
    for kind, name, source in EXAMPLES:
        card = copy / "workflow/isoloss" / registry.FOLDERS[kind] / f"{name}.py"
        card.write_text(source, encoding="utf-8")
    return copy


def ended(project, *words):
    """What came of a Python program in the copy, whose package it imports."""
    environment = {**os.environ, "PYTHONPATH": str(project / "workflow")}
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_the_examples_keep_the_contracts_of_their_kinds(project):
    names = " or ".join(name for _, name, _ in EXAMPLES)
    options = ["-q", "-n", "0", "-p", "no:cacheprovider"]
    process = ended(project, "pytest", *options, "tests/registry", "-k", names)
    assert process.returncode == 0, process.stdout[-6000:]


@pytest.mark.slow
def test_a_study_with_the_examples_runs(project):
    lines = [f"{('news', 'web')[i % 2]}: line {i} goes on {i * i}\n" for i in range(400)]
    (project / "lines.txt").write_text("".join(lines))
    (project / "cards.yaml").write_text(STUDY)
    process = ended(project, "isoloss", "run", "cards.yaml")
    assert process.returncode == 0, process.stdout + process.stderr
    table = tables.frame(project / "results/cards/plot/sizes.parquet")
    assert np.isfinite(table["loss"]).all() and len(table) == 2
