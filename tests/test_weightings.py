"""How weightings are written in a study: forms, mixtures, designs, and what is wrong with them."""

import copy

import pytest

from isoloss.core import schema, weightings
from isoloss.core.problems import StudyError
from isoloss.study import check
from isoloss.study.flow import STAGES, Flow

LAW = {"card": "mixture_power", "tag_key": "domain", "domain_weights": {"data": 1, "math": 2}}
DESIGN = {"tag_key": "domain", "points": 3, "corners": 0.8, "domains": ["data", "system"]}


@pytest.fixture
def config() -> dict:
    """A sound study with a weighting of every form."""
    shared = {"dataset": "lib", "model": "transformer"}
    cell = {"n_samples": 1e4, "d_model": 8}
    return {
        "study": "mix",
        "load": {"lib": {"card": "python_stdlib"}},
        "expand": {
            "natural": {},
            "long": {"weights": {"kind": {"docstring": 2}}},
            "given": {"mixture": {"tag_key": "domain", "proportions": {"data": 0.3, "math": 0.7}}},
            "even": {"mixture": {"tag_key": "domain", "proportions": "uniform"}},
            "design": {"mixtures": dict(DESIGN)},
            "best": {"mixture": {"tag_key": "domain", "fit": "law"}},
        },
        "train": {
            "first": {**shared, "cells": [{**cell, "weighting": ["natural", "design"]}]},
            "second": {**shared, "cells": [{**cell, "weighting": ["best", "even", "given"]}]},
        },
        "fit": {"law": LAW | {"sweep": "first"}},
    }


def test_the_forms_are_the_keys_of_the_schema():
    beside = {key for keys in weightings.FORMS.values() for key in keys}
    assert {*weightings.FORMS, *beside} == {*schema.schema()["$defs"]["weighting"]["properties"]}


def test_a_design_stands_for_its_points_and_corners(config):
    study = check.check(config)
    points = ["design_00", "design_01", "design_02", "design_corner_0", "design_corner_1"]
    assert [name for name in study["expand"] if name.startswith("design")] == points
    (cell,) = study["train"]["first"]["cells"]
    assert cell["weighting"] == ["natural", *points]
    assert study["expand"]["design_corner_1"]["mixture"] == {
        "tag_key": "domain",
        "domains": ["data", "system"],
        "size": 1,
        "design": "design",
        "corner": {"domain": "system", "share": 0.8},
    }
    assert check.check(study) == study


def test_more_points_change_none_of_the_others(config):
    few = check.check(config)["expand"]
    config["expand"]["design"]["mixtures"] = DESIGN | {"points": 120}
    many = check.check(config)["expand"]
    assert {name: many[name] for name in few} == few
    assert "design_119" in many


def test_a_design_in_the_settings_of_a_sweep_is_that_of_its_cells(config):
    sweep = config["train"]["first"]
    sweep["settings"] = {"weighting": "design"}
    sweep["cells"] = [{"n_samples": 1e4, "d_model": 8}, {**sweep["cells"][0], "weighting": "long"}]
    study = check.check(config)
    assert "weighting" not in study["train"]["first"]["settings"]
    used = [len(cell["weighting"]) for cell in study["train"]["first"]["cells"]]
    assert used == [5, len("long")]


def test_a_tag_may_be_called_like_a_form(config):
    weights = {"mixture": {"a": 2.0}}
    config["expand"]["named"] = {"weights": weights}
    assert weightings.tag_weights(schema.complete(config)[0]["expand"]["named"]) == weights


WRONG = {
    "a sum that is not 1": (
        ("given", "mixture", "proportions", "data"),
        0.2,
        "expand.given.mixture.proportions: the proportions sum to 0.9; they have to sum to 1",
    ),
    "a negative proportion": (
        ("given", "mixture", "proportions", "data"),
        -0.1,
        "expand.given.mixture.proportions.data: found -0.1; needs at least 0",
    ),
    "a word that is unknown": (
        ("even", "mixture", "proportions"),
        "unifrom",
        'expand.even.mixture.proportions: found "unifrom"; one of natural, uniform; did you mean '
        "'uniform'?",
    ),
    "a tag that no row has": (
        ("even", "mixture", "tag_key"),
        "domian",
        "expand.even.mixture.tag_key: no row has the tag 'domian'; did you mean 'domain'?",
    ),
    "a tag of a design that no row has": (
        ("design", "mixtures", "tag_key"),
        "domian",
        "expand.design.mixtures.tag_key: no row has the tag 'domian'; did you mean 'domain'?",
    ),
    "two targets": (
        ("best", "mixture", "proportions"),
        "uniform",
        "expand.best.mixture: proportions and fit give the target; give one of proportions, "
        "corner, draw, fit",
    ),
    "no target": (
        ("even", "mixture"),
        {"tag_key": "domain"},
        "expand.even.mixture: nothing is the target; give one of proportions, corner, draw, fit",
    ),
    "a group without a fit": (
        ("even", "mixture", "group"),
        "a",
        "expand.even.mixture.group: only a mixture of a fit has it; leave it out",
    ),
    "domains beside proportions": (
        ("given", "mixture", "domains"),
        ["data"],
        "expand.given.mixture.domains: the target names its domains itself; leave it out",
    ),
    "a corner outside of the domains": (
        ("even", "mixture"),
        {"tag_key": "domain", "corner": {"domain": "net", "share": 0.5}, "domains": ["data"]},
        "expand.even.mixture.corner.domain: 'net' is not among the domains of the mixture; add it "
        "to `domains`",
    ),
    "tags beside a form": (
        ("long", "kind"),
        {"code": 2},
        "expand.long.kind: it is beside 'weights', which is another form of a weighting; a tag "
        "that is called like a form goes below `weights`, with all other tags",
    ),
    "a design without points": (
        ("design", "mixtures", "points"),
        0,
        "expand.design.mixtures.points: found 0; needs at least 1",
    ),
    "corners of unknown domains": (
        ("design", "mixtures"),
        {"tag_key": "domain", "points": 2, "corners": 0.5},
        "expand.design.mixtures.corners: which domains there are is known only when the rows are "
        "loaded; name them in `domains`",
    ),
    "a point and a weighting of one name": (
        ("design_01",),
        {},
        "expand.design: the design has a point 'design_01', and there is a weighting of that name; "
        "rename one of them",
    ),
    "a fit that does not exist": (
        ("best", "mixture", "fit"),
        "low",
        "expand.best.mixture.fit: 'low' is not in fit; did you mean 'law'?",
    ),
    "a fit of other domains": (
        ("best", "mixture", "tag_key"),
        "kind",
        "expand.best.mixture.tag_key: the domains of 'law' are values of 'domain', not of 'kind'; "
        "name the tag of the fit",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_weighting_that_cannot_be_is_one_problem_with_its_remedy(config, name):
    (*steps, last), value, line = WRONG[name]
    entry = config["expand"]
    for step in steps:
        entry = entry[step]
    entry[last] = copy.deepcopy(value)
    with pytest.raises(StudyError) as error:
        check.check(config)
    lines = [str(one) for one in error.value.problems]
    assert lines == [line]


def test_a_name_of_a_point_that_is_too_long_is_refused(config):
    config["expand"]["d" * 95] = {"mixtures": DESIGN}
    with pytest.raises(StudyError, match="a name has at most 100 characters"):
        check.check(config)


def test_a_fit_of_another_law_has_no_best_mixture(config):
    cells = [{"n_samples": [1e4, 2e4, 3e4], "d_model": [8, 12]}]
    config["train"]["first"]["cells"] = cells
    config["fit"]["law"] = {"card": "power_law", "sweep": "first"}
    with pytest.raises(StudyError, match="is not a law of mixtures; name a fit of exp"):
        check.check(config)


def test_a_fit_without_weights_of_its_losses_has_no_best_mixture(config):
    del config["fit"]["law"]["domain_weights"]
    with pytest.raises(StudyError) as error:
        check.check(config)
    (line,) = map(str, error.value.problems)
    assert line.endswith("'law' looks for no best mixture; give fit.law its `domain_weights`")


def test_a_mixture_that_needs_itself_is_refused(config):
    config["expand"]["better"] = {"mixture": {"tag_key": "domain", "fit": "later"}}
    config["fit"]["later"] = LAW | {"sweep": "second"}
    assert check.check(config)
    cell = config["train"]["first"]["cells"][0]
    cell["weighting"] = [*cell["weighting"], "better"]
    with pytest.raises(StudyError) as error:
        check.check(config)
    assert [str(one) for one in error.value.problems] == [
        f"expand.{one}.mixture.fit: a circle: {way}; train the best mixture in a sweep of its own"
        for one, way in {
            "best": "weighting best -> fit law -> sweep first -> weighting better -> fit later -> "
            "sweep second -> weighting best",
            "better": "weighting better -> fit later -> sweep second -> weighting best -> fit law "
            "-> sweep first -> weighting better",
        }.items()
    ]


# ---- the order of jobs


def labels(config, root) -> list[str]:
    return [job.label for job in Flow(check.check(config), root).jobs]


def test_jobs_are_in_the_order_of_stages_where_that_is_an_order(config, tmp_path):
    del config["expand"]["best"]
    config["train"]["second"]["cells"][0]["weighting"] = ["even", "given"]
    flow = Flow(check.check(config), tmp_path)
    stages = [job.stage for job in flow.jobs]
    assert list(dict.fromkeys(stages)) == [name for name in STAGES if name in stages]
    assert stages == sorted(stages, key=list(STAGES).index)


def test_a_best_mixture_comes_after_its_fit_and_each_job_after_what_it_needs(config, tmp_path):
    config["plot"] = {"curves": {"card": "learning_curves", "sweep": "second"}}
    flow = Flow(check.check(config), tmp_path)
    order = [job.label for job in flow.jobs]
    assert sorted(order) == sorted({*order})
    assert len(order) == sum(1 for stage in STAGES.values() for _ in stage.jobs(flow))
    for job in flow.jobs:
        for needed in flow.needs(job):
            assert order.index(needed.label) < order.index(job.label)
    best = flow.job("expand", dataset="lib", weighting="best")
    assert [job.label for job in flow.needs(best)] == ["load/lib", "fit/first/law"]
    later = order[order.index("expand/lib/best") :]
    stages = [flow.by_label[label].stage for label in later]
    assert list(dict.fromkeys(stages)) == ["expand", "train", "aggregate", "plot", "summarize"]
    assert "expand/lib/even" not in later
    assert flow.settings("expand", **best.names)["mixture"] == {
        "tag_key": "domain",
        "fit": "law",
        "size": 1,
    }


def test_a_mixture_of_a_mixture_is_ordered_too(config, tmp_path):
    config["expand"]["better"] = {"mixture": {"tag_key": "domain", "fit": "later"}}
    config["fit"] = {"later": LAW | {"sweep": "second"}, **config["fit"]}
    third = copy.deepcopy(config["train"]["first"])
    third["cells"][0]["weighting"] = "better"
    config["train"] = {"third": third, **config["train"]}
    order = labels(config, tmp_path)
    chain = ["expand/lib/best", "fit/second/later", "expand/lib/better", "aggregate/third"]
    assert sorted(chain, key=order.index) == chain
