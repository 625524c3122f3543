# The stages plan and train: spell a sweep out, then train it shard by shard, one thread a job; a
# program of the user has what its study says.


rule plan_sweep:
    input:
        choices=inputs("plan", "choices"),
    output:
        runs="<results>/{study}/plan/{sweep}/runs.parquet",
        manifest="<results>/{study}/plan/{sweep}/manifest.json",
    log:
        "<results>/{study}/logs/plan/{sweep}.log",
    wildcard_constraints:
        sweep=ANY(STUDY["train"]),
    localrule: True
    conda:
        "../../envs/isoloss.yaml"
    params:
        spec=spec("plan"),
        code=code("plan"),
        expects=expects("plan"),
    message:
        "plan {wildcards.sweep}: spell the runs out"
    shell:
        f"python -m isoloss plan --study {RESULTS}/{{wildcards.study}}/config.yaml"
        " --expects {params.expects}"
        " --sweep {wildcards.sweep:q} --choices {input.choices:q}"
        f" --out {RESULTS}/{{wildcards.study}}/plan/{{wildcards.sweep}} 2> {{log:q}}"


# The runs are read from the plan, and a digest of them is in the params: a plan that is made again
# makes only those shards due whose runs changed. The plan of a round is an input like others.
# `exec`: SIGTERM reaches the job itself, which then saves the state of its run.
rule train_shard:
    input:
        spelled_out=plan_of_shard,
        plan=inputs("train", "plan"),
        rows=inputs("train", "rows"),
        tokens=inputs("train", "tokens"),
        index=inputs("train", "index"),
    output:
        table="<results>/{study}/train/{sweep}/{shard}.parquet",
        manifest="<results>/{study}/train/{sweep}/{shard}.json",
    log:
        "<results>/{study}/logs/train/{sweep}/{shard}.log",
    conda:
        "../../envs/isoloss.yaml"
    threads: lambda wildcards: of_command(wildcards, "threads", 1)
    resources:
        **ASKED,
        mem_mb=memory_of_sweep,
        runtime=minutes_of_shard,
    params:
        spec=spec("train"),
        code=code("train"),
        expects=expects("train"),
    message:
        "train {wildcards.sweep}: shard {wildcards.shard}"
    shell:
        f"exec python -m isoloss train --study {RESULTS}/{{wildcards.study}}/config.yaml"
        " --expects {params.expects}"
        " --sweep {wildcards.sweep:q} --shard {wildcards.shard} --plan {input.plan:q}"
        " --rows {input.rows:q} --tokens {input.tokens:q} --index {input.index:q}"
        f" --store {RESULTS}/{{wildcards.study}}/store --out {{output.table:q}} 2> {{log:q}}"


# On request (`snakemake canary`): the cheapest run of a sweep is trained before the others, and the
# job of its shard then finds it in the store.
rule train_canary:
    input:
        rows=of_canary(inputs("train", "rows")),
        tokens=of_canary(inputs("train", "tokens")),
        index=of_canary(inputs("train", "index")),
    output:
        "<results>/{study}/logs/canary/{sweep}.txt",
    log:
        "<results>/{study}/logs/canary/{sweep}.log",
    wildcard_constraints:
        sweep=ANY(PLANNED),
    retries: 0
    conda:
        "../../envs/isoloss.yaml"
    threads: lambda wildcards: of_command(wildcards, "threads", 1)
    resources:
        **ASKED,
        mem_mb=memory_of_sweep,
    params:
        spec=of_canary(spec("train")),
        code=of_canary(code("train")),
        expects=of_canary(expects("train")),
    message:
        "train {wildcards.sweep}: its canary, the cheapest run"
    shell:
        f"exec python -m isoloss canary --study {RESULTS}/{{wildcards.study}}/config.yaml"
        " --expects {params.expects}"
        " --sweep {wildcards.sweep:q}"
        " --rows {input.rows:q} --tokens {input.tokens:q} --index {input.index:q}"
        f" --store {RESULTS}/{{wildcards.study}}/store --out {{output:q}} 2> {{log:q}}"
