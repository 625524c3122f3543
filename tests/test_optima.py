"""A question to a fit, from the command line to the pages that it writes."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import isoloss
from isoloss.__main__ import main
from isoloss.core.problems import IsolossError
from isoloss.fitted.paper import paper
from isoloss.quickfit import law as front

TYPED = "loss = E + A / N**a + B / D**b"
ASKED = ["--minimize", "6*N*D + 2*N*served", "--subject-to", "loss <= 2.4", "--given", "served=1T"]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Runs of two sizes of optimisers, as a CSV."""
    n, d = np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 5))
    loss = (1.7 + 400 / n**0.34 + 400 / d**0.28) * np.exp(0.002 * np.sin(n * d))
    path = tmp_path_factory.mktemp("optima") / "runs.csv"
    rows = zip(n.ravel(), d.ravel(), loss.ravel(), strict=True)
    path.write_text("N,D,loss\n" + "".join(f"{a:.8g},{b:.8g},{c:.8g}\n" for a, b, c in rows))
    return path


def test_a_question_is_answered_in_text_pages_and_json(table, tmp_path, capsys):
    question = {"minimize": "6*N*D + 2*N*served", "subject_to": "loss <= 2.4"}
    question["given"] = {"served": 1e12}
    result = front.law_of_table(table, optimize=question, bootstrap=20)
    assert "least 6*N*D + 2*N*served under loss <= 2.4, given served = 1e12" in result.text
    assert "on its limit: loss <= 2.4" in result.text
    files = isoloss.export_fit(result.fit, tmp_path, result.context)
    for page in (file for file in files if file.suffix == ".md"):
        text = page.read_text("utf-8").replace("\\", "")
        assert "$mathrm{loss} leq 2.4$" in text and "is reached at $N$ = " in text, page
    (one,) = json.loads(result.json())["optima"]
    best = result.fit.optimize(**question).iloc[0]
    assert [chosen["name"] for chosen in one["chosen"]] == ["N", "D"]
    assert one["chosen"][0]["value"]["estimate"] == pytest.approx(best["N"], rel=1e-9)
    assert one["active"] == ["loss <= 2.4"] and one["problem"] == ""
    result.fit.save(tmp_path / "fit")
    assert main(["predict", str(tmp_path / "fit"), *ASKED, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["optima"] == [one]


def test_the_words_of_the_command_are_the_question(table, monkeypatch):
    asked = []
    monkeypatch.setattr(front, "law_of_table", lambda *_, **more: asked.append(more["optimize"]))
    more = ["--over", "N", "D", "--within", "N=1e6:1e12", "D=1e9:", "--integers", "N"]
    with pytest.raises(AttributeError):  # there is no fit to save
        main(["law", *ASKED, *more, str(table)])
    assert asked == [
        {
            "minimize": "6*N*D + 2*N*served",
            "over": ["N", "D"],
            "subject_to": ["loss <= 2.4"],
            "integers": ["N"],
            "given": {"served": [1e12]},
            "within": {"N": (1e6, 1e12), "D": (1e9, None)},
        }
    ]


def test_a_saved_fit_and_a_published_law_are_asked_by_predict(capsys):
    limit = ["--subject-to", "6*N*D <= 5.76e23"]
    assert main(["predict", "chinchilla:epoch", *limit, "--within", "N=1e9:2e10"]) == 0
    output = capsys.readouterr().out
    assert "20B (at its limit)" in output and "outside the runs, D by a factor of 15" in output
    assert main(["predict", "chinchilla:epoch", "--over", "N", "--given", "D=1T"]) == 0
    assert "none: over N: loss falls all the way to" in capsys.readouterr().out
    assert main(["predict", "chinchilla:epoch", *limit, "--N", "7B"]) == 2
    assert "give values of a question with --given" in capsys.readouterr().err


def test_a_question_that_cannot_be_asked_stops_before_the_fit(table, monkeypatch):
    monkeypatch.setattr(front, "fit_law", None)
    for asked, text in (
        ({"over": "experts"}, "over experts: is not a variable of the law"),
        ({"subject_to": "6*N*D <= "}, "subject_to"),
        ({"minimize": "loss", "over": ["N"]}, "variable D: is neither given nor chosen"),
    ):
        with pytest.raises(IsolossError) as error:
            front.law_of_table(table, optimize=asked)
        assert text in str(error.value)


def test_pages_say_how_far_a_variable_might_go_and_tell_given_values_apart(table):
    question = {"over": ["N"], "given": {"D": [1e10, 2e10]}, "within": {"N": (1e7, 1e9)}}
    result = front.law_of_table(table, optimize=question, bootstrap=20)
    page = paper(result.fit, result.context)
    given = "given $D = 10^{10}$, with $N$ from $10^{7}$ to $10^{9}$, is reached at $N$ = 1B"
    assert given in page
    assert "(at its limit)" in page and "| D = 2e10 | $N$ | 1B" in page
    assert "$N$ & 1B {[}1B, 1B{]} (at its limit)" in page.replace("D = 2e10 & ", "")


def test_questions_are_typeset_and_a_typed_law_cites_what_was_used_alone(table):
    question = {"minimize": "loss + 0*abs(N)", "over": ["N"], "subject_to": ["6*N*D <= 1e22"]}
    page = front.law_of_table(table, formula=TYPED, optimize=question, bootstrap=5).paper
    limit, least = r"$6 \, N \, D \leq 10^{22}$", r"$\mathrm{loss} + 0 \, \left"
    markdown, _, latex = page.partition("## LaTeX")
    for part in (markdown, latex):
        assert least in part and limit in part
    assert not re.search(r"N\\?[{]?\*", page) and "&lt;=" not in page
    rows = [line for line in markdown.splitlines() if line.startswith("| $")]
    assert len(rows) == 4 and all(line.count("|") == 3 for line in rows)  # abs is not a column
    cited = re.findall(r"@(\w+)[;\]]", markdown)
    assert cited and set(re.findall(r"^@\w+\{(\w+),$", page, flags=re.M)) == set(cited)


def test_a_search_without_end_is_not_taken_for_constraints_that_nothing_meets():
    law = isoloss.preset("sparsity:abnar")  # ever larger and sparser models
    with pytest.raises(IsolossError, match="did not converge"):
        law.optimize(subject_to="6*N*(1-sparsity)*D <= 1e21")
    inner = {"N": (1e8, 1e11), "D": (1e9, 1e13)}
    best = law.optimize(subject_to="6*N*(1-sparsity)*D <= 1e21", within=inner).iloc[0]
    assert best["active"] and best["sparsity"] == pytest.approx(0.9921, abs=1e-4)


def test_a_question_takes_sizes_as_people_write_them_and_a_chain(capsys):
    asked = ["predict", "chinchilla:epoch", "--over", "N", "--subject-to", "6*N*D <= 1e21"]
    assert main([*asked, "--within", "N=1B:2.5B"]) == 0
    assert "with N from 1e9 to 2.5e9" in capsys.readouterr().out
    assert main([*asked, "--within", "N=1x:2B"]) == 2
    assert "found '1x'; give a number" in capsys.readouterr().err
    assert main([*asked, "--then", "downstream_error:gadre"]) == 0
    printed = capsys.readouterr().out
    assert "least error under 6*N*D <= 1e21" in printed and "no intervals" in printed


def test_after_a_quick_fit_a_question_is_asked_of_the_chain(table):
    limit = {"subject_to": "6*N*D <= 1e21"}
    result = front.law_of_table(table, bootstrap=20, optimize=limit, then="downstream_error:gadre")
    (one,) = result.decisions.optima
    assert one.minimize == one.quantity == "error" and one.predicted.low < one.predicted.high
    assert "least error under 6*N*D <= 1e21" in result.text
    assert "where error = " in result.text and "where error = " in result.paper
    for then, asked, why in (
        ("downstream_error:gadre", None, "nothing is asked of the chain"),
        ("chinchilla:epoch", limit, "reads N, D, and not the loss"),
    ):
        with pytest.raises(IsolossError, match=why):
            front.law_of_table(table, optimize=asked, then=then)


def test_a_level_that_is_no_share_and_a_point_without_a_value_are_told(table, recwarn):
    fit = front.law_of_table(table, formula=TYPED, bootstrap=20).fit
    for ask in (fit.predict, lambda **more: fit.allocate(1e21, level=more["level"])):
        for level in (95, 0, 1.5):
            with pytest.raises(IsolossError, match=re.escape("needs 0.01 to 0.9999")):
                ask(N=1e8, D=1e9, level=level)
    row = fit.predict(N=0, D=1e9).iloc[0]
    assert np.isinf(row.loss)
    assert not [one for one in recwarn if one.category is RuntimeWarning]
