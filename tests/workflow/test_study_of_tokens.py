"""A study whose runs read tokens of a tokenizer, and bytes of a corpus of known entropy."""

from __future__ import annotations

import pytest
from byte_pairs import byte_pairs
from running import snakemake, write

from isoloss.core import registry, tables, tokenizer
from isoloss.datasets import markov_chain

OPTIONS = {"letters": 4, "order": 1, "documents": 200, "mean_length": 60}
OPTIONS |= {"domains": {"dull": 0.1, "rich": 2.0}}


def study(file: str) -> dict:
    corpus = {"card": "markov_chain", "options": OPTIONS, "valid_fraction": 0.3}
    sweep = {"model": "transformer", "shards": 1, "valid_tokens": 1024}
    sweep["settings"] = {"n_layers": 1, "context": 16, "d_model": 4}
    sweep["cells"] = [{"n_samples": [1280, 1920, 2560, 3840]}]
    fit = {"card": "power_law", "options": {"variable": "D"}, "bootstrap": 5}
    return {
        "study": "tokens",
        "load": {"bytes": corpus, "words": {**corpus, "tokenizer": file}},
        "train": {name: {**sweep, "dataset": name} for name in ("bytes", "words")},
        "fit": {f"of_{name}": {**fit, "sweep": name} for name in ("bytes", "words")},
    }


def run(folder, config) -> str:
    process = snakemake(folder, "--configfile", write(folder, config))
    assert process.returncode == 0, process.stdout + process.stderr
    return (folder / "results/tokens/summary.md").read_text(encoding="utf-8")


def test_a_tokenizer_decides_the_vocabulary_and_the_unit_of_the_loss(tmp_path):
    file = byte_pairs(tmp_path / "tokenizer.json")
    summary = run(tmp_path, study(str(file)))
    results = tmp_path / "results/tokens"
    size = tokenizer.of(str(file)).vocabulary
    for name, token, words in (("bytes", "byte", 256), ("words", "token", size)):
        runs = results / f"aggregate/{name}/runs.parquet"
        assert set(tables.frame(runs, "runs")["vocabulary"]) == {words}
        assert tables.facts(runs)["loss_unit"] == f"nats/{token}"
        params = tables.frame(results / f"fit/{name}/of_{name}/params.parquet", "params")
        assert params.set_index("term").loc["E", "unit"] == f"nats/{token}"
    per_token = tables.facts(results / "load/words/audit.parquet")["bytes_per_token"]
    assert f"loss in nats/token ({per_token:.3g} bytes a token)" in summary
    options = registry.defaults("dataset", "markov_chain") | OPTIONS
    rates = {name: f"{rate:.4g}" for name, rate in markov_chain.entropy_rate(**options).items()}
    told, fitted = [line for line in summary.splitlines() if "the corpus has" in line]
    by_domain = f"dull {rates['dull']}, rich {rates['rich']}"
    assert told.endswith(f"loss in nats/byte (the corpus has {rates['all']}: {by_domain})")
    assert "bytes" in fitted.split(",")[0]
    assert f"; the corpus has {rates['all']} nats/byte; " in fitted


@pytest.mark.slow
def test_the_fitted_offset_of_a_known_corpus_is_told_beside_its_entropy_rate(tmp_path):
    root = registry.HOME.parents[1]
    process = snakemake(tmp_path, "--configfile", str(root / "studies/known-entropy.yaml"))
    assert process.returncode == 0, process.stdout + process.stderr
    results = tmp_path / "results/known-entropy"
    rate = tables.facts(results / "load/chain/audit.parquet")["entropy_rate"]["all"]
    runs = tables.frame(results / "aggregate/grid/runs.parquet", "runs")
    assert (runs["status"] == "done").all()
    assert rate < runs["loss"].min()
    params = tables.frame(results / "fit/grid/chinchilla/params.parquet", "params")
    E = params.set_index("term").loc["E"]
    assert E["estimate"] == pytest.approx(rate, rel=0.05)
    assert f"the corpus has {rate:.4g} nats/byte" in (results / "summary.md").read_text()
