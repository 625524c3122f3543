# The stage aggregate: gather runs from a sweep's shards, or from a table made elsewhere.


rule gather_sweep:
    input:
        plan=inputs("aggregate", "plan"),
        shards=inputs("aggregate", "shards"),
        audits=inputs("aggregate", "audits"),
        observed=inputs("aggregate", "observed"),
    output:
        multiext("<results>/{study}/aggregate/{sweep}/", *files_of("aggregate")),
    log:
        "<results>/{study}/logs/aggregate/{sweep}.log",
    wildcard_constraints:
        sweep=ANY(STUDY["train"]),
    localrule: True
    conda:
        "../../envs/isoloss.yaml"
    params:
        spec=spec("aggregate"),
        code=code("aggregate"),
        expects=expects("aggregate"),
    message:
        "aggregate {wildcards.sweep}: gather its runs"
    shell:
        f"python -m isoloss aggregate --study {RESULTS}/{{wildcards.study}}/config.yaml"
        " --expects {params.expects}"
        " --sweep {wildcards.sweep:q} --plan {input.plan:q} --shards {input.shards:q}"
        " --audits {input.audits:q} --observed {input.observed:q}"
        f" --out {RESULTS}/{{wildcards.study}}/aggregate/{{wildcards.sweep}} 2> {{log:q}}"


rule read_runs_table:
    output:
        multiext("<results>/{study}/aggregate/{sweep}/", *files_of("aggregate")),
    log:
        "<results>/{study}/logs/aggregate/{sweep}.log",
    wildcard_constraints:
        sweep=ANY(STUDY["aggregate"]),
    localrule: True
    conda:
        "../../envs/isoloss.yaml"
    params:
        spec=spec("aggregate"),
        code=code("aggregate"),
        expects=expects("aggregate"),
    message:
        "aggregate {wildcards.sweep}: read the table of runs"
    shell:
        f"python -m isoloss aggregate --study {RESULTS}/{{wildcards.study}}/config.yaml"
        " --expects {params.expects}"
        " --sweep {wildcards.sweep:q}"
        f" --out {RESULTS}/{{wildcards.study}}/aggregate/{{wildcards.sweep}} 2> {{log:q}}"
