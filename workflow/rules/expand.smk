# The stage expand: repeat or drop training rows by the weights of their tags.


rule expand_rows:
    input:
        rows=inputs("expand", "rows"),
        best=inputs("expand", "best"),
    output:
        index="<results>/{study}/expand/{dataset}/{weighting}/index.parquet",
        audit="<results>/{study}/expand/{dataset}/{weighting}/audit.parquet",
        mixture="<results>/{study}/expand/{dataset}/{weighting}/mixture.parquet",
        manifest="<results>/{study}/expand/{dataset}/{weighting}/manifest.json",
    log:
        "<results>/{study}/logs/expand/{dataset}/{weighting}.log",
    conda:
        "../../envs/isoloss.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        spec=spec("expand"),
        code=code("expand"),
        expects=expects("expand"),
    message:
        "expand {wildcards.dataset}: weighting {wildcards.weighting}"
    shell:
        f"python -m isoloss expand --study {RESULTS}/{{wildcards.study}}/config.yaml"
        " --expects {params.expects}"
        " --weighting {wildcards.weighting:q} --rows {input.rows:q}"
        " --threads {threads} --best {input.best:q}"
        f" --out {RESULTS}/{{wildcards.study}}/expand/{{wildcards.dataset}}/{{wildcards.weighting}}"
        " 2> {log:q}"
