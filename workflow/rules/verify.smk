# Not a stage: whether the results are what study and code make of them.


rule verify:
    log:
        "results/{STUDY}/logs/verify.log".format(STUDY=STUDY["study"]),
    conda:
        "../../envs/isoloss.yaml"
    message:
        "verify the results"
    shell:
        f"python -m isoloss verify results/{STUDY['study']}/config.yaml 2>&1 | tee {{log:q}}"
