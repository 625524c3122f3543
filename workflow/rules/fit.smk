# Room 6: a law is fitted to runs.


rule fit_law:
    message:
        "fit {wildcards.law} to {wildcards.sweep}"
    input:
        runs="results/{study}/aggregate/{sweep}/runs.parquet",
    output:
        multiext("results/{study}/fit/{sweep}/{law}/", *FIT_FILES),
    params:
        spec=spec("fit"),
    log:
        "results/{study}/logs/fit/{sweep}/{law}.log",
    conda:
        "../../envs/isoloss.yaml"
    threads: 1
    shell:
        "python -m isoloss fit --study results/{wildcards.study}/config.yaml"
        " --law {wildcards.law:q} --runs {input.runs:q}"
        " --out results/{wildcards.study}/fit/{wildcards.sweep}/{wildcards.law} 2> {log:q}"
