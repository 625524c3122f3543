# The stage load: cut a dataset into rows.


# A checkpoint: if the rows come out the same, nothing that depends on them is made again.
checkpoint load_rows:
    output:
        rows="<results>/{study}/load/{dataset}/rows.parquet",
        tokens="<results>/{study}/load/{dataset}/tokens.npy",
        audit="<results>/{study}/load/{dataset}/audit.parquet",
        dropped="<results>/{study}/load/{dataset}/dropped.parquet",
        manifest="<results>/{study}/load/{dataset}/manifest.json",
    log:
        "<results>/{study}/logs/load/{dataset}.log",
    conda:
        "../../envs/isoloss.yaml"
    resources:
        mem_mb=2000,
    params:
        spec=spec("load"),
        code=code("load"),
        expects=expects("load"),
    message:
        "load {wildcards.dataset}: rows"
    shell:
        f"python -m isoloss load --study {RESULTS}/{{wildcards.study}}/config.yaml"
        " --expects {params.expects}"
        " --dataset {wildcards.dataset:q}"
        f" --out {RESULTS}/{{wildcards.study}}/load/{{wildcards.dataset}} 2> {{log:q}}"
