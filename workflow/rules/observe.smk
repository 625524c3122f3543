# The stage observe: measure trained models, if the study asks for it. A rule for each observable,
# since each has tables of its own beside the observations.


for card in sorted({entry["card"] for entry in STUDY["observe"].values()}):

    rule:
        name:
            f"observe_{card}"
        input:
            runs=inputs("observe", "runs"),
            rows=inputs("observe", "rows"),
            tokens=inputs("observe", "tokens"),
            index=inputs("observe", "index"),
        output:
            table="<results>/{study}/observe/{observation}/{sweep}/{shard}.parquet",
            more=[
                f"<results>/{{study}}/observe/{{observation}}/{{sweep}}/{{shard}}.{table}.parquet"
                for table in registry.tables_of(card)[1:]
            ],
            manifest="<results>/{study}/observe/{observation}/{sweep}/{shard}.json",
        log:
            "<results>/{study}/logs/observe/{observation}/{sweep}/{shard}.log",
        wildcard_constraints:
            observation=ANY(
                [name for name, entry in STUDY["observe"].items() if entry["card"] == card]
            ),
        conda:
            "../../envs/isoloss.yaml"
        threads: 1
        resources:
            **ASKED,
            mem_mb=memory_of_sweep,
        params:
            spec=spec("observe"),
            code=code("observe"),
            expects=expects("observe"),
        message:
            "observe {wildcards.observation}: {wildcards.sweep}, shard {wildcards.shard}"
        shell:
            f"exec python -m isoloss observe --study {RESULTS}/{{wildcards.study}}/config.yaml"
            " --expects {params.expects}"
            " --observation {wildcards.observation:q} --sweep {wildcards.sweep:q}"
            " --shard {wildcards.shard}"
            " --runs {input.runs:q} --rows {input.rows:q} --tokens {input.tokens:q}"
            f" --index {{input.index:q}} --store {RESULTS}/{{wildcards.study}}/store"
            " --out {output.table:q} 2> {log:q}"
