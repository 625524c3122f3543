# The stage simulate: how well estimators recover a known law.


rule simulate_studies:
    input:
        runs=inputs("simulate", "runs"),
    output:
        multiext("<results>/{study}/simulate/{simulation}/", *files_of("simulate")),
    log:
        "<results>/{study}/logs/simulate/{simulation}.log",
    conda:
        "../../envs/isoloss.yaml"
    threads: 8
    resources:
        mem_mb=4000,
    params:
        spec=spec("simulate"),
        code=code("simulate"),
        expects=expects("simulate"),
    message:
        "simulate {wildcards.simulation}"
    shell:
        f"python -m isoloss simulate --study {RESULTS}/{{wildcards.study}}/config.yaml"
        " --expects {params.expects}"
        " --simulation {wildcards.simulation:q} --runs {input.runs:q} --threads {threads}"
        f" --out {RESULTS}/{{wildcards.study}}/simulate/{{wildcards.simulation}} 2> {{log:q}}"
