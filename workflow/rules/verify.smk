# Not a stage: compare the results with study and code.


localrules:
    verify,


rule verify:
    log:
        "results/{STUDY}/logs/verify.log".format(STUDY=STUDY["study"]),
    conda:
        "../../envs/isoloss.yaml"
    message:
        "verify the results"
    shell:
        f"python -m isoloss verify results/{STUDY['study']}/config.yaml 2>&1 | tee {{log:q}}"
