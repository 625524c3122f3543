# The stage fit: fit a law to runs.


rule fit_law:
    input:
        tables=inputs("fit", "tables"),
    output:
        multiext(
            "<results>/{study}/fit/{sweep}/{fit}/",
            *files_of("fit"),
            "law.py",
            "explain.md",
            "params.tex",
            "paper.md",
        ),
    log:
        "<results>/{study}/logs/fit/{sweep}/{fit}.log",
    conda:
        "../../envs/isoloss.yaml"
    threads: 1
    params:
        spec=spec("fit"),
        code=code("fit"),
        expects=expects("fit"),
    message:
        "fit {wildcards.fit} to {wildcards.sweep}"
    shell:
        f"python -m isoloss fit --study {RESULTS}/{{wildcards.study}}/config.yaml"
        " --expects {params.expects}"
        " --fit {wildcards.fit:q} --sweep {wildcards.sweep:q} --tables {input.tables:q}"
        f" --out {RESULTS}/{{wildcards.study}}/fit/{{wildcards.sweep}}/{{wildcards.fit}} 2> {{log:q}}"
