"""No number of a study is without bounds, and what is absurd is refused before anything runs."""

import time
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from idx_files import write_images

from isoloss.__main__ import main
from isoloss.core import registry, schema
from isoloss.core.problems import IsolossError, StudyError
from isoloss.expand import expand_rows
from isoloss.fit import resample, settings
from isoloss.fit.holdout import LIMITS, folds
from isoloss.fit.law import fit_law
from isoloss.fit.optimize import refitting
from isoloss.fit.profile import _lifted
from isoloss.study import check
from isoloss.train.cells import count_runs
from isoloss.train.plan import MOST_RUNS, plan_sweep
from isoloss.train.settings import known

NUMBERS = {"number", "integer"}
LOW, HIGH = ("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")


def kinds(spec: dict) -> set[str]:
    named = spec.get("type", [])
    return {named} if isinstance(named, str) else set(named)


def numeric(spec: dict, place: str):
    """Every number that the schema knows: its place (NAME for a name of one's own) and schema."""
    spec = schema.resolve(spec)
    if kinds(spec) & NUMBERS:
        yield place, spec
    for choice in spec.get("anyOf", []):
        yield from numeric(choice, place)
    if isinstance(spec.get("items"), dict):
        yield from numeric(spec["items"], f"{place}[]")
    for key, below in spec.get("properties", {}).items():
        yield from numeric(below, f"{place}.{key}".lstrip("."))
    if isinstance(others := spec.get("additionalProperties"), dict):
        yield from numeric(others, f"{place}.NAME".lstrip("."))


SCHEMA = dict(numeric(schema.schema(), ""))
OPTIONS = {
    f"{kind} {name}: {key}": spec
    for kind in registry.FOLDERS
    for name in registry.names(kind)
    for key, spec in registry.options(kind, name).items()
    if kinds(spec) & NUMBERS
}
SETTINGS = {
    f"{model}, {trainer}: {key}": spec
    for model in registry.names("model")
    for trainer in registry.names("trainer")
    for key, spec in known({"model": model, "trainer": trainer}).items()
    if kinds(spec) & NUMBERS
}


def test_the_schemas_numbers_are_looked_at():
    assert {"seed", "fit.NAME.bootstrap", "fit.NAME.bounds.NAME[]", "summary.budgets[]"} <= {
        *SCHEMA
    }
    assert {"fit.NAME.holdout.repeats", "expand.NAME.NAME.NAME"} <= {*SCHEMA}
    assert len(OPTIONS) > 5
    assert len(SETTINGS) > 15


@pytest.mark.parametrize("place", [*SCHEMA, *OPTIONS, *SETTINGS])
def test_a_number_of_a_study_has_finite_bounds(place):
    spec = {**SCHEMA, **OPTIONS, **SETTINGS}[place]
    (low,) = [spec[key] for key in LOW if key in spec]
    (high,) = [spec[key] for key in HIGH if key in spec]
    assert -1e40 <= low < high <= 1e40
    if "integer" in kinds(spec):
        assert -(2**63) <= low < high < 2**63
    if spec.get("default") is not None:
        assert low <= spec["default"] <= high


def test_functions_have_the_bounds_of_the_schema():
    for name, (low, high) in settings.LIMITS.items():
        key = {"seed": "seed"}.get(name, f"fit.NAME.{name}")
        assert (low, high) == (SCHEMA[key]["minimum"], SCHEMA[key]["maximum"])
    for name, (low, high) in LIMITS.items():
        spec = SCHEMA[f"fit.NAME.holdout.{name}"]
        assert (low, high) == (spec["minimum"], spec["maximum"])
    assert SCHEMA["fit.NAME.fixed.NAME"]["maximum"] == settings.LARGEST


# ---- every number at its largest, and beyond


@pytest.fixture
def config(tmp_path) -> dict:
    """A sound study that has every section."""
    d = np.geomspace(1e8, 1e10, 12)
    table = pd.DataFrame({"N": 1e7, "D": d, "loss": 2 + 1e4 / d**0.5})
    table.to_csv(tmp_path / "t.csv", index=False)
    command = {"run": "train", "results": "log.csv", "loss": "loss"}
    cells = [{"n_flops": 1e10, "d_model": [8, 12, 16, 20, 24, 28]}]
    return {
        "study": "a",
        "load": {"s": {"card": "python_stdlib"}},
        "expand": {
            "natural": {},
            "w": {"kind": {"docstring": 2}},
            "l": {"weights": {"kind": {"docstring": 2}}},
            "p": {"mixture": {"tag_key": "domain", "proportions": {"data": 1, "system": 0}}},
            "c": {"mixture": {"tag_key": "domain", "corner": {"domain": "data", "share": 0.5}}},
            "d": {"mixture": {"tag_key": "domain", "draw": {"label": "d"}}},
            "m": {"mixtures": {"tag_key": "domain", "points": 2, "domains": ["data", "system"]}},
        },
        "train": {
            "t": {"dataset": "s", "model": "transformer", "cells": cells},
            "c": {"trainer": "command", "cells": [{"seed": 1}], "command": command},
        },
        "aggregate": {
            "own": {
                "table": str(tmp_path / "t.csv"),
                "columns": {"N": "N", "D": "D", "loss": "loss"},
            }
        },
        "fit": {
            "f": {"card": "chinchilla", "sweep": "t"},
            "m": {"card": "linear_mixture", "sweep": "t", "tag_key": "domain"},
        },
        "plot": {"p": {"card": "isoloss", "sweep": "t", "fits": ["f"]}},
    }


# what a section needs to be checked; other sections are left out of its study, which is faster
NEEDED = {
    "load": ("load",),
    "expand": ("load", "expand"),
    "train": ("load", "expand", "train"),
    "aggregate": ("aggregate",),
    "fit": ("load", "expand", "train", "fit"),
}


def reduced(config: dict, section: str) -> dict:
    """The study with those sections that a section needs; whole if that is not known."""
    kept = ("study", *NEEDED.get(section, config))
    return {name: entries for name, entries in config.items() if name in kept}


def with_rounds(config: dict) -> dict:
    """The study with a sweep in rounds, and with a simulation that has them too."""
    config["train"]["r"] = {
        **config["train"]["t"],
        "rounds": {"count": 1, "fit": "r", "planner": "scale_up", "target": 1e12},
    }
    config["fit"]["r"] = {"card": "chinchilla", "sweep": "r"}
    config["simulate"] = {
        "s": {
            "truth": {"card": "chinchilla", "preset": "epoch"},
            "plan": {"kind": "grid", "N": {"from": 1e6, "to": 1e8, "points": 4}},
            "noise": {"kind": "normal", "sd": 0.01},
            "estimators": {"e": {"card": "chinchilla", "objective": {"name": "huber_log"}}},
            "rounds": {"count": 1, "planner": "scale_up"},
        },
    }
    return config


# what rounds spell out, with the bounds that they have
WRITTEN = [place for place in SCHEMA if not place.startswith("train.NAME.round.")]
NAMED = {
    "train.NAME.rounds": ("train.r.rounds",),
    "simulate.NAME.truth.values.NAME": ("simulate.s.truth.values.E",),
    "simulate.NAME.estimators.NAME.fixed.NAME": ("simulate.s.estimators.e.fixed.E",),
    "simulate.NAME.estimators.NAME.bounds.NAME[]": ("simulate.s.estimators.e.bounds.E",),
    "simulate.NAME.estimators.NAME": ("simulate.s.estimators.e",),
    "simulate.NAME": ("simulate.s",),
    "expand.NAME.weights.NAME.NAME": ("expand.l.weights.kind.docstring",),
    "expand.NAME.mixtures": ("expand.m.mixtures",),
    "expand.NAME.mixture.proportions.NAME": ("expand.p.mixture.proportions.data",),
    "expand.NAME.mixture.corner": ("expand.c.mixture.corner",),
    "expand.NAME.mixture": ("expand.d.mixture",),
    "expand.NAME.NAME.NAME": ("expand.w.kind.docstring",),
    "load.NAME": ("load.s",),
    "train.NAME.command": ("train.c.command",),
    "train.NAME": ("train.t",),
    "aggregate.NAME": ("aggregate.own",),
    "fit.NAME.fixed.NAME": ("fit.f.fixed.E",),
    "fit.NAME.bounds.NAME[]": ("fit.f.bounds.E",),
    "fit.NAME.domain_weights.NAME": ("fit.m.domain_weights.data",),
    "fit.NAME": ("fit.f",),
    "plot.NAME": ("plot.p",),
}


def put(config: dict, place: str, value) -> None:
    """Set a number where the schema has it."""
    if place.startswith("summary.optima"):
        asked = {"fit": "f", "over": ["D"], "subject_to": ["6*N*D <= x"], "given": {"x": 1e20}}
        own = {"within": {"N": [value, value]}} if "within" in place else {"given": {"x": value}}
        config["summary"] = {"optima": [{**asked, **own}]}
        return
    for name, (real,) in NAMED.items():
        if place.startswith(name):
            place = real + place.removeprefix(name)
            break
    if place == "plot.p.width":  # which a figure for a screen does not take
        config["plot"]["p"]["style"] = "paper"
    if place.endswith("bounds.E"):
        value = [None, value]
    if ".holdout." in place:
        rules = {"least": "largest_compute", "stages": "roll_out"}
        rule = rules.get(place.rsplit(".", 1)[1], "random")
        config["fit"]["f"]["holdout"] = {"rule": rule}
    if place.endswith("phases[].until"):
        place = place.removesuffix("[].until")
        value = [{"weighting": "natural", "until": value}]
    if place.endswith("[]"):
        place, value = place.removesuffix("[]"), [value]
    *steps, last = place.split(".")
    for step in steps:
        config = config.setdefault(step, {})
    config[last] = value


def checked(config) -> list[str]:
    """What is wrong with a study; within seconds."""
    begun = time.process_time()
    try:
        check.check(config)
        problems = []
    except StudyError as error:
        problems = [str(one) for one in error.problems]
    assert time.process_time() - begun < 5
    return problems


@pytest.mark.parametrize("place", WRITTEN)
def test_a_number_at_its_largest_is_accepted_or_refused_and_beyond_it_refused(config, place):
    spec = SCHEMA[place]
    if "rounds" in place or place.startswith("simulate"):
        config = with_rounds(config)
        config.pop("aggregate")
    else:
        config = reduced(config, place.split(".")[0])
    largest = spec.get("maximum", 1 - 1e-9)
    put(config, place, largest)
    for line in checked(config):
        assert "needs at" not in line
        reasons = ("allowed", "to fit", "a window", "parameters", "a mapped")
        # of a plan or a noise only the keys of its kind are taken
        assert any(words in line for words in reasons) or line.startswith("simulate.s.")
    for beyond in (2 * largest + 1, "1e300", 10**200):
        put(config, place, beyond)
        assert any("needs at most" in p or "needs less than" in p for p in checked(config))


@pytest.mark.parametrize("place", SETTINGS)
def test_a_setting_at_its_largest_is_accepted_or_refused_with_what_it_needs(
    config, place, tmp_path
):
    (cards, key), spec = place.split(": "), SETTINGS[place]
    config = reduced(config, "train") | {"expand": {"natural": {}}}
    model = cards.split(", ")[0]
    if registry.facts("model", model)["TASK"] == "classification":
        config["load"]["s"] = {"card": "idx_images", "options": write_images(tmp_path)}
    size = next(iter(registry.options("model", model)))
    cell = {"n_flops": 1e10, size: 8, key: spec.get("maximum", 0.999)}
    if key in ("n_samples", "epochs", "examples_per_parameter"):
        del cell["n_flops"]
    cell |= {"n_unique": 1000} if key == "epochs" else {}
    if key == "n_params":
        del cell[size]
    config["train"] = {"t": config["train"]["t"] | {"model": model, "cells": [cell]}}
    reasons = ("are allowed", "in whole steps", "fill a window", "is nearest to N = ", "one length")
    for line in checked(config):
        assert any(words in line for words in reasons)
    for beyond in (2 * cell[key] + 1, "1e300", 10**200):
        cell[key] = beyond
        assert any("needs at most" in p or "needs less than" in p for p in checked(config))


def test_a_product_of_cells_is_counted_before_it_is_spelled_out(config):
    cell = {"n_flops": 1e9, "d_model": [8] * 2000, "seed": list(range(10_000))}
    config["train"] = {"t": {**config["train"]["t"], "cells": [cell]}}
    assert count_runs(config["train"]["t"]) == 20_000_000
    (line,) = checked(config)
    assert line.startswith("train.t.cells: the cells spell out 20000000 runs; at most 20000")
    with pytest.raises(IsolossError, match="20000000 runs"):
        plan_sweep(config["train"]["t"])
    half = {"n_flops": 1e10, "d_model": 8, "seed": list(range(MOST_RUNS // 2))}
    for name in ("t", "u", "v"):  # together they are too many
        config["train"][name] = {**config["train"]["t"], "cells": [half]}
    del config["fit"], config["plot"]
    (line,) = checked(config)
    assert line.startswith("train.v.cells: the cells spell out 30000 runs")


def test_what_a_run_needs_is_said(config):
    cells = [
        {"n_samples": 1e5, "d_model": 65536},
        {"n_flops": 1e30, "d_model": 8},
        {"n_samples": 1e15, "d_model": 8, "context": 2, "batch_size": 1},
    ]
    for cell, words in zip(cells, ("bytes of memory", "training tokens", "steps"), strict=True):
        config["train"]["t"]["cells"] = [cell]
        assert any("a run needs" in p and words in p and "at most" in p for p in checked(config))


@pytest.mark.parametrize("seed", [2**63, 2**64, 1e30, -1, True, 0.5, "9" * 30])
def test_a_seed_beyond_64_bits_is_refused(config, seed):
    config["train"]["t"]["cells"][0]["seed"] = [seed]
    assert any("cells[0].seed" in line for line in checked({**config, "seed": seed}))
    assert any(line.startswith("seed") for line in checked({**config, "seed": seed}))


def test_the_largest_seed_is_kept_to_its_last_digit(config):
    for largest in (2**63 - 1, str(2**63 - 1)):
        config["train"]["t"]["cells"][0]["seed"] = largest
        plan = plan_sweep(check.check(config)["train"]["t"])
        assert plan["seed"].dtype == np.int64
        assert set(plan["seed"]) == {2**63 - 1}


def test_weights_that_multiply_to_too_many_copies_are_refused(config, rows):
    config["expand"]["w"] = {"kind": {"code": 1e4}, "domain": {"data": 1e4}}
    (line,) = checked(config)
    assert line.startswith("expand.w: weights that multiply to 1e+08 copies of a row; at most")
    config["expand"]["w"] = {"kind": {"code": 1e30}}
    assert any("needs at most 1000000" in line for line in checked(config))
    for scale, words in ((1e4, "tokens"), (1e30, "give a number from 0 to 1000000")):
        weights = {"kind": {"code": scale}, "domain": {"data": scale}}
        with pytest.raises(IsolossError, match=words):
            expand_rows(rows, weights, 0)


# ---- the same in Python and of a table


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("bootstrap", 10**9),
        ("bootstrap", -1),
        ("bootstrap", 10.5),
        ("bootstrap", "many"),
        ("seed", 2**63),
        ("seed", -1),
        ("seed", 10**500),
        ("seed", True),
        ("ci_level", 0.9999999),
        ("ci_level", 0),
        ("ci_level", float("nan")),
        ("delta", 1e-300),
        ("delta", float("inf")),
        ("fixed", {"E": 1e300}),
        ("fixed", {"E": float("nan")}),
        ("bounds", {"E": [None, 1e300]}),
        ("holdout", {"rule": "random", "repeats": 10**9}),
        ("holdout", {"rule": "random", "fraction": 2}),
        ("holdout", {"rule": "roll_out", "stages": 1e30}),
    ],
)
def test_a_fit_in_python_refuses_absurd_numbers(chinchilla_runs, setting, value):
    with pytest.raises(IsolossError, match=setting) as error:
        fit_law(chinchilla_runs(), "chinchilla", **{"bootstrap": 0, setting: value})
    assert len(str(error.value)) < 300


def test_numpys_numbers_are_numbers(chinchilla_runs):
    fit = fit_law(
        chinchilla_runs(0.01),
        "chinchilla",
        bootstrap=np.int64(5),
        seed=np.uint32(3),
        delta=np.float32(0.01),
    )
    assert fit.summary["n_replicates"].item() == 5


@pytest.mark.parametrize(
    "words",
    [
        ["--bootstrap", "1000000000"],
        ["--seed", str(2**64)],
        ["--level", ".9999999"],
        ["--delta", "1e-300"],
        ["--fix", "E=1e300"],
        ["--flops", "1e300"],
        ["--flops", *["1e20"] * 200],
        ["--option", "variable=[&a [*a]]"],
        ["--option", "variable=" + "[" * 3000],
    ],
)
def test_a_law_of_a_table_refuses_absurd_numbers(chinchilla_runs, tmp_path, capsys, words):
    runs = chinchilla_runs(0.01)[["n_params", "n_samples", "loss"]]
    runs.to_csv(tmp_path / "runs.csv", index=False)
    begun = time.process_time()
    assert main(["law", str(tmp_path / "runs.csv"), "--out", str(tmp_path / "o"), *words]) == 2
    assert time.process_time() - begun < 5
    assert capsys.readouterr().err.startswith("isoloss law: ")
    assert not (tmp_path / "o").exists()


# ---- memory of replicates


def test_blocks_of_replicates_depend_on_the_shape_alone_and_usual_cases_are_one():
    assert resample.blocks(4000, 47) == resample.blocks(4000, 8000) == [4000]
    assert resample.blocks(0, 47) == [0]
    for count, runs in ((100_000, 50), (4000, 10**6), (4097, 1), (3, 10**9)):
        sizes = resample.blocks(count, runs)
        assert sum(sizes) == count
        assert max(sizes) - min(sizes) <= 1
        assert max(sizes) <= resample.TOGETHER
        assert max(sizes) * runs <= resample.NUMBERS or max(sizes) == 1


@pytest.mark.parametrize("interval", ["bootstrap", "residual", "parametric"])
def test_what_is_drawn_does_not_depend_on_blocks(chinchilla_runs, monkeypatch, interval):
    def fit():
        return fit_law(
            chinchilla_runs(0.01), "chinchilla", interval=interval, bootstrap=60, delta=0.01
        )

    whole = fit()
    monkeypatch.setattr(resample, "TOGETHER", 7)
    parts = fit()
    one, other = (np.stack(f.tables["replicates"]["theta"]) for f in (whole, parts))
    assert one.shape == other.shape
    same = np.isclose(one, other, rtol=1e-6).all(axis=-1)
    assert same.mean() > 0.9  # the others ended in a basin that only another block knew
    assert whole.params["estimate"].equals(parts.params["estimate"])


def test_groups_that_share_parameters_are_refitted_in_the_same_blocks(chinchilla_runs, monkeypatch):
    runs = pd.concat([chinchilla_runs(0.01, seed=i, group=f"g{i}") for i in range(2)])
    runs["run_id"] = [f"r{i}" for i in range(len(runs))]

    def fit():
        return fit_law(runs, "chinchilla", shared=["alpha", "beta"], bootstrap=12, delta=0.01)

    whole = fit()
    monkeypatch.setattr(resample, "TOGETHER", 5)
    one, other = (np.stack(f.tables["replicates"]["theta"]) for f in (whole, fit()))
    assert one.shape == other.shape
    assert np.isclose(one, other, rtol=1e-6).all(axis=-1).mean() > 0.8


def test_memory_of_replicates_is_bounded(chinchilla_runs, monkeypatch):
    runs = pd.concat([chinchilla_runs(0.01, seed=i) for i in range(6)], ignore_index=True)
    runs["run_id"] = [f"r{i}" for i in range(len(runs))]
    monkeypatch.setattr(resample, "NUMBERS", 1 << 14)
    monkeypatch.setattr(resample, "TOGETHER", 64)
    monkeypatch.setattr("isoloss.fitted.intervals._NUMBERS", 1 << 14)
    peaks = []
    for count in (64, 640):
        tracemalloc.start()
        fit_law(runs, "power_law", {"variable": "C"}, bootstrap=count, delta=0.01)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # ten times the replicates, at 210 runs a million bytes each array: it does not grow so
    assert peaks[1] - peaks[0] < 640 * len(runs) * 8


def test_no_array_of_a_refit_is_larger_than_its_block(chinchilla_runs, monkeypatch):
    seen = []

    def noted(problem, ends, weight, loss=None):
        seen.append(weight.shape)
        return refitting(problem, ends, weight, loss)

    monkeypatch.setattr("isoloss.fit.solve.refitting", noted)
    monkeypatch.setattr(resample, "NUMBERS", 350)
    fit_law(chinchilla_runs(0.01), "power_law", {"variable": "C"}, bootstrap=25, delta=0.01)
    assert [r * n <= 350 for r, n in seen] == [True] * 3
    assert sum(r for r, _ in seen) == 25


def test_scores_of_a_large_cluster_are_lifted_as_those_of_a_small_one(monkeypatch):
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((60, 4)))[0][:40]
    score = rng.standard_normal(40)
    small = _lifted(basis, score)
    monkeypatch.setattr("isoloss.fit.profile._MATRIX", 10)
    assert np.allclose(_lifted(basis, score), small, rtol=1e-9)


def test_random_folds_are_as_many_as_asked_for(chinchilla_runs):
    assert len(folds(chinchilla_runs(), {"rule": "random", "repeats": 3}, 0)) == 3
