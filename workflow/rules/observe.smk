# The stage observe: measure trained models, if the study asks for it.


rule observe_shard:
    input:
        runs=inputs("observe", "runs"),
    output:
        table="results/{study}/observe/{observation}/{sweep}/{shard}.parquet",
        manifest="results/{study}/observe/{observation}/{sweep}/{shard}.json",
    log:
        "results/{study}/logs/observe/{observation}/{sweep}/{shard}.log",
    conda:
        "../../envs/isoloss.yaml"
    threads: 1
    params:
        spec=spec("observe"),
        code=code("observe"),
        expects=expects("observe"),
    message:
        "observe {wildcards.observation}: {wildcards.sweep}, shard {wildcards.shard}"
    shell:
        "python -m isoloss observe --study results/{wildcards.study}/config.yaml"
        " --expects {params.expects}"
        " --observation {wildcards.observation:q} --sweep {wildcards.sweep:q}"
        " --shard {wildcards.shard}"
        " --runs {input.runs:q} --store results/{wildcards.study}/store"
        " --out {output.table:q} 2> {log:q}"
