# Room 3: a sweep is spelled out, then trained shard by shard, one thread a job.

# A rule a sweep, because each has its own number of shards.
for sweep in STUDY["train"]:

    rule:
        name:
            f"plan_sweep_{sweep}"
        output:
            runs=f"results/{{study}}/plan/{sweep}/runs.parquet",
            shards=collect(
                f"results/{{study}}/plan/{sweep}/{{shard}}.json",
                shard=flow.shard_names(STUDY["train"][sweep]["shards"]),
                allow_missing=True,
            ),
        log:
            f"results/{{study}}/logs/plan/{sweep}.log",
        conda:
            "../../envs/isoloss.yaml"
        params:
            spec=flow.specification(STUDY, "plan", sweep=sweep),
            code=flow.code(STUDY, "plan", sweep=sweep),
        message:
            f"plan {sweep}: spell the runs out"
        shell:
            "python -m isoloss plan --study results/{wildcards.study}/config.yaml"
            f" --sweep {sweep}"
            f" --out results/{{wildcards.study}}/plan/{sweep} 2> {{log:q}}"


rule train_shard:
    input:
        shard="results/{study}/plan/{sweep}/{shard}.json",
        rows=of_sweep("results/{study}/load/{dataset}/rows.parquet"),
        index=of_sweep("results/{study}/expand/{dataset}/{weighting}/index.parquet"),
    output:
        "results/{study}/train/{sweep}/{shard}.parquet",
    log:
        "results/{study}/logs/train/{sweep}/{shard}.log",
    conda:
        "../../envs/isoloss.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        spec=spec("train"),
        code=code("train"),
    message:
        "train {wildcards.sweep}: shard {wildcards.shard}"
    shell:
        "python -m isoloss train --study results/{wildcards.study}/config.yaml"
        " --sweep {wildcards.sweep:q} --shard {input.shard:q}"
        " --rows {input.rows[0]:q} --index {input.index:q}"
        " --store results/{wildcards.study}/store --out {output:q} 2> {log:q}"
