# The stages plot and summarize: draw figures, and write the summary.


rule plot_figure:
    input:
        tables=inputs("plot", "tables"),
    output:
        png=report(
            "<results>/{study}/plot/{figure}.png",
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        pdf="<results>/{study}/plot/{figure}.pdf",
        caption="<results>/{study}/plot/{figure}.txt",
        table="<results>/{study}/plot/{figure}.parquet",
        manifest="<results>/{study}/plot/{figure}.json",
    log:
        "<results>/{study}/logs/plot/{figure}.log",
    localrule: True
    conda:
        "../../envs/isoloss.yaml"
    params:
        spec=spec("plot"),
        code=code("plot"),
        expects=expects("plot"),
    message:
        "plot {wildcards.figure}"
    shell:
        f"python -m isoloss plot --study {RESULTS}/{{wildcards.study}}/config.yaml"
        " --expects {params.expects}"
        " --figure {wildcards.figure:q} --tables {input.tables:q} --out {output.png:q}"
        " 2> {log:q}"


rule write_summary:
    input:
        tables=inputs("summarize", "tables"),
    output:
        text="<results>/{study}/summary.md",
        manifest="<results>/{study}/summary.json",
    log:
        "<results>/{study}/logs/summary.log",
    localrule: True
    conda:
        "../../envs/isoloss.yaml"
    params:
        spec=spec("summarize"),
        code=code("summarize"),
        expects=expects("summarize"),
    message:
        "summary: what was found"
    shell:
        f"python -m isoloss summarize --study {RESULTS}/{{wildcards.study}}/config.yaml"
        " --expects {params.expects}"
        " --tables {input.tables:q} --out {output.text:q} 2> {log:q}"
