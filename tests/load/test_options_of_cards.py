"""What a study learns of a dataset before it is loaded: tag keys by options, what is fetched."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoloss.core.problems import StudyError
from isoloss.load.stage import content_of
from isoloss.study import check
from isoloss.study.flow import Flow


@pytest.fixture
def study(tmp_path):
    """A study of a file whose rows have the tag `domain`."""
    file = tmp_path / "rows of mine.jsonl"
    file.write_text('{"text": "a", "source": "web"}\n')
    options = {"files": [str(file)], "tags": {"domain": "source"}}
    return {"study": "one", "load": {"mine": {"card": "jsonl", "options": options}}}


def test_the_tags_that_weightings_can_use_are_those_of_the_cards_options(study):
    study["expand"] = {"natural": {}, "more": {"domain": {"web": 2.0}}}
    check.check(study)
    study["expand"]["more"] = {"domian": {"web": 2.0}}
    with pytest.raises(StudyError, match=r"expand.more.domian: no row has this tag; did you mean"):
        check.check(study)
    study["load"]["mine"]["options"]["tags"] = {"domian": "source"}
    check.check(study)


@pytest.fixture
def folders(monkeypatch):
    """The folders that a card is given to keep what it fetches, a call each."""
    given = []
    sources = [("rows", Path(__file__))]

    def of(fetched, **options):
        given.append(fetched)
        return sources

    monkeypatch.setattr("isoloss.datasets.jsonl.sources", of)
    content_of.cache_clear()
    check._has_sources.cache_clear()
    yield given
    content_of.cache_clear()
    check._has_sources.cache_clear()


def test_what_is_fetched_is_kept_below_results_by_check_and_by_job_alike(
    study, folders, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    config = check.check(study)
    Flow(config, "results/one").specification("load", dataset="mine")
    assert folders == [Path("results/.cache/fetched")] * 2


def test_a_check_without_the_network_does_not_ask_a_card_that_fetches(study, folders):
    check.check(study, fetch=False)
    assert folders == []
