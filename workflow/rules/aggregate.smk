# Room 5: runs are gathered, from a sweep's shards or from a table made elsewhere.


rule gather_sweep:
    message:
        "aggregate {wildcards.sweep}: gather its runs"
    input:
        plan="results/{study}/plan/{sweep}/runs.parquet",
        shards=of_sweep("results/{study}/train/{sweep}/{shard}.parquet"),
        audits=of_sweep("results/{study}/expand/{dataset}/{weighting}/audit.parquet"),
    output:
        multiext("results/{study}/aggregate/{sweep}/", *RUN_FILES),
    wildcard_constraints:
        sweep=ANY(STUDY["train"]),
    params:
        spec=spec("aggregate"),
    log:
        "results/{study}/logs/aggregate/{sweep}.log",
    conda:
        "../../envs/isoloss.yaml"
    shell:
        "python -m isoloss aggregate --study results/{wildcards.study}/config.yaml"
        " --sweep {wildcards.sweep:q} --plan {input.plan:q} --shards {input.shards:q}"
        " --audits {input.audits:q}"
        " --out results/{wildcards.study}/aggregate/{wildcards.sweep} 2> {log:q}"


rule read_runs_table:
    message:
        "aggregate {wildcards.sweep}: read the table of runs"
    output:
        multiext("results/{study}/aggregate/{sweep}/", *RUN_FILES),
    wildcard_constraints:
        sweep=ANY(STUDY["aggregate"]),
    params:
        spec=spec("aggregate"),
    log:
        "results/{study}/logs/aggregate/{sweep}.log",
    conda:
        "../../envs/isoloss.yaml"
    shell:
        "python -m isoloss aggregate --study results/{wildcards.study}/config.yaml"
        " --sweep {wildcards.sweep:q}"
        " --out results/{wildcards.study}/aggregate/{wildcards.sweep} 2> {log:q}"
