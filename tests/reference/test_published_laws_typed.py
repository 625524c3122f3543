"""Published laws typed as formulas: their fits are those that were published of the same runs.

Runs and figures: those of the tests beside this one, which fit the cards.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import isoloss
from isoloss.aggregate import read_runs
from isoloss.fit import fit_law

CHINCHILLA = "loss = E + A / N**alpha + B / D**beta"
SIZES = {"N": "n_params", "D": "tokens", "C": "flops", "loss": "loss"}
DOMAINS = ("academic", "prose", "dialogue", "symbolic", "internet")


def typed(runs: pd.DataFrame, formula: str, **settings):
    return fit_law(runs, "formula", {"formula": formula}, bootstrap=0, **settings)


def estimates(fit) -> dict[str, float]:
    return dict(zip(fit.params["term"], fit.params["estimate"], strict=True))


def test_the_points_of_chinchilla_have_their_published_optimum(reference_data):
    """Epoch AI, arXiv:2404.10102: 240 points, Huber of the log residuals with delta 1e-3."""
    path = reference_data / "chinchilla_epoch" / "chinchilla_points.csv"
    fit = typed(read_runs(str(path), SIZES, ["loss < loss.nlargest(5).min()"]), CHINCHILLA)
    assert fit.summary.loc[0, "objective_value"] <= 0.0010182740179
    assert estimates(fit) == pytest.approx(
        {"E": 1.817218, "A": 477.826, "alpha": 0.347310, "B": 2143.42, "beta": 0.367172}, rel=2e-6
    )


def test_a_lower_envelope_is_no_worse_than_the_published_one(reference_data):
    """The README of the package chinchilla; its parameters have the objective 5.325711."""
    runs = read_runs(str(reference_data / "kyo_chinchilla" / "runs.csv"), SIZES)
    fit = typed(runs, CHINCHILLA, objective="asymmetric_mae")
    assert fit.summary.loc[0, "objective_value"] <= 5.325712


UNIQUE = "B / (U_D + U_D * R_D * (1 - exp(-(D / U_D - 1) / R_D)))**beta; U_D = min(D, U)"
BEST = "(alpha * A / (beta * B) * U_D**beta)**(1 / alpha)"  # N for U_D tokens
REPEATED = {
    "data": f"loss = E + A / N**alpha + {UNIQUE}",
    "both": "loss = E + A / (U_N + U_N * R_N * (1 - exp(-(N / U_N - 1) / R_N)))**alpha"
    f" + {UNIQUE}; U_N = min(N, {BEST})",
}


@pytest.mark.parametrize("decay", REPEATED)
def test_repeated_data_count_as_in_the_card_and_as_published(reference_data, decay):
    """Muennighoff et al., arXiv:2305.16264: R2 0.735447 where only repeated data count less."""
    columns = {"N": "n_params", "D": "tokens", "U": "unique_tokens", "loss": "loss"}
    runs = read_runs(str(reference_data / "data_constrained" / "runs_182_fit.csv"), columns)
    fixed = {"E": np.exp(0.6254804), "A": np.exp(6.255414), "B": np.exp(7.3049974)}
    fixed |= {"alpha": 0.3526596, "beta": 0.3526596}
    fit = typed(runs, REPEATED[decay], fixed=fixed)
    card = fit_law(runs, "data_constrained", {"decay": decay}, fixed=fixed, bootstrap=0)
    assert estimates(fit) == pytest.approx(estimates(card), rel=1e-5)
    published = {"data": 0.7354468934623781, "both": 0.7722046084968408}[decay]
    assert fit.summary.loc[0, "r2"] > published - 1e-8


@pytest.mark.parametrize(
    ("domain", "r2"),
    list(zip(DOMAINS, (0.98568, 0.97054, 0.96881, 0.99556, 0.98702), strict=True)),
)
def test_mixtures_have_their_published_r2(reference_data, domain, r2):
    """Ye et al., arXiv:2403.16952, its law M4 on 26 mixtures: Huber of residuals, delta 0.05."""
    table = pd.read_csv(reference_data / "mixinglaws" / "5mix.csv")
    table = table[(table["step"] == 30000) & (table["model_size"] == "70M")]
    columns = [f"p_{name}" for name in DOMAINS]
    frame = table[columns].assign(loss=table[f"loss_{domain}"]).reset_index(drop=True)
    exponent = " + ".join(f"t_{name} * p_{name}" for name in DOMAINS)
    fit = isoloss.fit_law(
        isoloss.read_runs(frame, {"loss": "loss"}, need=0),
        formula=f"loss = c + k * exp({exponent})",
        objective="huber",
        delta=0.05,
        bootstrap=0,
    )
    assert fit.summary["r2"].item() == pytest.approx(r2, abs=1e-4)
    assert fit.summary["status"].item() == "undetermined"  # proportions sum to 1: k trades with t


@pytest.mark.parametrize(
    ("losses", "printed"),
    [
        ((5.2206763131, 3.8002844124, 3.4326457499, 3.0417367343, 4.5064035297),
         (1.51, 141, 190, 0.121)),
        ((5.3870209151, 3.8999429902, 3.5311474085, 3.1497694567, 4.5722926135),
         (1.84, 212, 367, 0.136)),
        ((5.2718923801, 3.8609163607, 3.5178937691, 3.1305160505, 4.5160447188),
         (1.73, 157, 246, 0.127)),
    ],
    ids=["C4", "RedPajama", "RefinedWeb"],
)  # fmt: skip
def test_over_training_has_its_printed_parameters(losses, printed):
    """Gadre et al., arXiv:2403.08540, table 6: least squares on five runs."""
    sizes = np.array([10569312, 78914048, 153677376, 411616256, 10569312])
    tokens = sizes * np.array([20, 20, 20, 20, 320])
    table = pd.DataFrame({"N": sizes, "D": tokens, "loss": losses})
    fit = isoloss.fit_law(
        isoloss.read_runs(table, {name: name for name in table}, need=1),
        formula="loss = E + (a * (D / N)**eta + b * (D / N)**-eta) / (6 * N * D)**eta",
        objective="mse",
        bootstrap=0,
    )
    rounded = [round(fit.values[name], digits) for name, digits in
               (("E", 2), ("a", 0), ("b", 0), ("eta", 3))]  # fmt: skip
    assert tuple(rounded) == printed
