# The stage choose: the runs of a round, by the fit to all runs before it.


rule choose_runs:
    input:
        tables=inputs("choose", "tables"),
    output:
        multiext("<results>/{study}/choose/{sweep}/", *files_of("choose")),
    log:
        "<results>/{study}/logs/choose/{sweep}.log",
    localrule: True
    conda:
        "../../envs/isoloss.yaml"
    threads: 1
    params:
        spec=spec("choose"),
        code=code("choose"),
        expects=expects("choose"),
    message:
        "choose {wildcards.sweep}: the runs of the round"
    shell:
        f"python -m isoloss choose --study {RESULTS}/{{wildcards.study}}/config.yaml"
        " --expects {params.expects}"
        " --sweep {wildcards.sweep:q} --tables {input.tables:q}"
        f" --out {RESULTS}/{{wildcards.study}}/choose/{{wildcards.sweep}} 2> {{log:q}}"
