# isoloss: from a dataset, or a table of runs, to a fitted law and its figures.
#
# results/{study}/
#   config.yaml                                        the effective study
#   load/{dataset}/rows.parquet, tokens.npy, audit.parquet
#   expand/{dataset}/{weighting}/index, audit, mixture .parquet
#   plan/{sweep}/runs.parquet                          the sweep spelled out
#   train/{sweep}/{shard}.parquet                      what the store holds for the shard
#   store/{run_digest}/, store/journal.jsonl           runs; not Snakemake's
#   observe/{observation}/{sweep}/{shard}.parquet      what was measured of its models, if asked for
#   observe/{observation}/{sweep}/{shard}.{table}.parquet   further tables of its observable card
#   fetched/{sweep}/table, source.json                 what came from the web, for the jobs
#   aggregate/{sweep}/runs, losses, curves, mixtures, timing .parquet
#   fit/{sweep}/{fit}/params, summary, residuals, starts, replicates .parquet
#   choose/{sweep}/choices.parquet                     the runs of a round and why, if there are rounds
#   simulate/{simulation}/recovery, trials .parquet     simulated studies of a known law
#   plot/{figure}.png, .pdf, .txt, .parquet
#   logs/<stage>/...                                   mirrors the paths above
#   summary.md
#   provenance.json                                    how all of it was made
# Beside the output of a job is its manifest: manifest.json in a folder, else <output>.json.
#
# Targets: all (default), runs, fits, figures; canary, verify.

from isoloss.core import yaml_text

if not workflow.configfiles:
    # a study named on the command line was checked by profiles/default
    yaml_text.read(f"{workflow.basedir}/config.yaml")

    configfile: f"{workflow.basedir}/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/load.smk"
include: "workflow/rules/expand.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/observe.smk"
include: "workflow/rules/aggregate.smk"
include: "workflow/rules/fit.smk"
include: "workflow/rules/choose.smk"
include: "workflow/rules/simulate.smk"
include: "workflow/rules/plot.smk"
include: "workflow/rules/verify.smk"


rule canary:
    input:
        of_study(f"logs/canary/{sweep}.txt" for sweep in PLANNED),


rule runs:
    input:
        of_study(FLOW.targets("aggregate")),


rule fits:
    input:
        of_study(FLOW.targets("fit")),


rule figures:
    input:
        of_study(FLOW.targets("plot")),


rule all:
    default_target: True
    input:
        of_study(FLOW.targets()),


onstart:
    begin()


onsuccess:
    finish()
