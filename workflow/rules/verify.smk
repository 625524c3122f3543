# Not a stage: compare the results with study and code.


rule verify:
    log:
        f"<results>/{STUDY['study']}/logs/verify.log",
    localrule: True
    conda:
        "../../envs/isoloss.yaml"
    message:
        "verify the results"
    shell:
        f"python -m isoloss verify {RESULTS}/{STUDY['study']}/config.yaml --results {RESULTS}"
        " 2>&1 | tee {log:q}"
