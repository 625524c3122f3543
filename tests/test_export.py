"""An exported law runs without isoloss and predicts what the fit does."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from plain_laws import of_sizes

from isoloss.core import registry
from isoloss.fit import fit_law
from isoloss.fitted.export import END, START, explanation, export_fit, law_file

PLAIN = of_sizes()
CHOICES = [
    pytest.param(
        name, dict(zip(options, chosen, strict=True)), id=" ".join([name, *map(str, chosen)])
    )
    for name in PLAIN
    for options in [registry.options("law", name)]
    for chosen in itertools.product(
        *(
            o.get("enum", [True, False] if o["type"] == "boolean" else [o["default"]])
            for o in options.values()
        )
    )
]
ALONE = """
import json, sys
from law import law
points, group = json.load(sys.stdin)
print(json.dumps(law(points, group)))
"""


def alone(folder, points, group="all"):
    """The exported file's answer, from a Python that has never heard of isoloss."""
    code = f"import sys; sys.modules['isoloss'] = None\n{ALONE}"
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=folder,
        input=json.dumps([points, group]),
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


@pytest.fixture(scope="module")
def runs(chinchilla_runs):
    """Runs with distinct tokens, some seen several times."""
    runs = chinchilla_runs(noise=0.003)
    return runs.assign(n_unique=runs["n_samples"] / np.where(runs.index % 3 == 0, 4.0, 1.0))


@pytest.mark.parametrize(("card", "options"), CHOICES)
def test_an_exported_law_predicts_what_the_fit_does(runs, tmp_path, card, options):
    fit = fit_law(runs, card, options, bootstrap=0)
    *_, page = (file.read_text(encoding="utf-8") for file in export_fit(fit, tmp_path))
    assert f"| {fit.law.terms[0].symbol} |" in page and fit.law.variables[0] in page
    assert "[?]" not in page and not re.search(r"\bnan\b", page)
    points = [
        {"N": 3e8, "D": 7e9, "C": 1.3e19, "U": 6e9},
        {"N": 2e9, "D": 4e10, "C": 5e20, "U": 1e10},
    ]
    losses = [point["loss"] for point in alone(tmp_path, points)]
    columns = pd.DataFrame(points)
    expected = fit.loss(**{v: columns[v].to_numpy() for v in fit.law.variables})
    np.testing.assert_allclose(losses, expected, rtol=1e-9)


TYPED = (  # every function and operator, a limit, a definition, names that the file itself uses
    "y = t + x_0 * min(x, k) + a * max(log(x), 0.5); k > 2",
    "y = where(x <= 4, b, c * sqrt(x)) + d * softplus(x - 3)",
    "y = s * sigmoid((x - m) / w) + u; w = 1 + v**2",
    "y = A * exp(-x / tau) + e * abs(z) + f * tanh(z); -9 <= y <= 9",
    "y = p * log2(x) - q * log10(x)**2 - (z - r)**2 / 7",
)


def test_typed_laws_of_every_part_are_exported_as_they_predict(make_runs, tmp_path):
    x, z = (v.ravel() for v in np.meshgrid(np.geomspace(1, 20, 12), [-1.0, 0.0, 2.0]))
    y = 2 + np.log(x) + 0.3 * z + 0.1 * np.sin(7 * x + z)
    runs = make_runs(1e8 * x, 1e9 * x, 3.0, x=x, z=z, y=y)
    points = [{"x": 0.7, "z": -3.0}, {"x": 3.3, "z": 0.0}, {"x": 400.0, "z": 5.0}]
    columns, source = pd.DataFrame(points), ""
    expected = []
    for number, text in enumerate(TYPED):
        fit = fit_law(runs, formula=text, bootstrap=0)
        expected.append(fit.loss(**{v: columns[v].to_numpy() for v in fit.law.variables}))
        (tmp_path / f"law{number}.py").write_text(law_file(fit), encoding="utf-8")
        source += f"from law{number} import law as law{number}\n"
    source += f"""
def law(points, group):
    return [f(points, group) for f in ({", ".join(f"law{i}" for i in range(len(TYPED)))})]
"""
    (tmp_path / "law.py").write_text(source, encoding="utf-8")
    alike = [[point["y"] for point in one] for one in alone(tmp_path, points)]
    np.testing.assert_allclose(alike, expected, rtol=1e-12)


def test_a_group_that_was_not_fitted_and_a_variable_that_lacks_are_told(runs, tmp_path):
    both = pd.concat([runs.assign(group="a"), runs.assign(group="b")], ignore_index=True)
    both["run_id"] = [f"r{i}" for i in range(len(both))]
    export_fit(fit_law(both, "chinchilla", bootstrap=0), tmp_path)
    points = [{"N": 1e9, "D": 1e10}]
    assert alone(tmp_path, points, "a") == alone(tmp_path, points, "b")
    for broken in ((points, "c"), ([{"N": 1e9}], "a")):
        with pytest.raises(AssertionError, match="KeyError"):
            alone(tmp_path, *broken)


def test_the_explanation_keeps_the_users_text(runs, tmp_path):
    fit = fit_law(runs, "chinchilla", bootstrap=10)
    first = explanation(fit)
    assert fit.law.formula in first and "Hoffmann" in first
    edited = first.replace("# Chinchilla law in N and D", "# What we found").replace(
        END, f"{END}\n\nWe trust it up to 1e21 FLOP.\n"
    )
    other = fit_law(runs.iloc[:30], "chinchilla", bootstrap=10)
    again = explanation(other, edited)
    assert again.startswith("# What we found")
    assert again.rstrip().endswith("We trust it up to 1e21 FLOP.")
    assert again.count(START) == again.count(END) == 1
    assert "30 runs" in again and f"{len(runs)} runs" not in again
    added = explanation(fit, "My notes.\n")
    assert added.startswith("My notes.\n\n" + START)
    block = again.split("```json\n")[1].split("```")[0]
    values = json.loads(block)["all"]["loss"]
    assert values["E"] == pytest.approx(other.params.set_index("term").loc["E", "estimate"])


def test_a_fit_that_is_not_to_be_used_says_so_first_in_every_file(runs, tmp_path):
    fit = fit_law(runs.assign(n_samples=1e9), "chinchilla", bootstrap=0)
    assert fit.summary.loc[0, "verdict"] == "do not use"
    for file in export_fit(fit, tmp_path):
        text = file.read_text(encoding="utf-8")
        assert "Verdict: DO NOT USE: " in text, file
        assert "Every fit converged" not in text, file
    explained = (tmp_path / "explain.md").read_text(encoding="utf-8")
    assert explained.partition(START)[2].lstrip().startswith("Verdict: DO NOT USE: ")


def test_the_table_for_a_paper_names_every_parameter(runs, tmp_path):
    fit = fit_law(runs, "chinchilla", bootstrap=20)
    text = export_fit(fit, tmp_path)[2].read_text(encoding="utf-8")
    for symbol in (r"$\alpha$", r"$\beta$", "$E$", "$A$", "$B$"):
        assert symbol in text
    assert text.count(r"\\") == 6 and r"\toprule" in text and "95\\,\\% interval" in text
