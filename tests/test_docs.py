"""Documents, lock and schema are in step with the code."""

import re
import subprocess
import tomllib
from collections import Counter
from pathlib import Path

import jinja2
import numpy as np
import pytest
import yaml

from isoloss.__main__ import parser
from isoloss.core import registry, schema
from isoloss.study import check, docs

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("page", sorted(docs.pages()))
def test_generated_pages_are_in_step(page):
    assert (ROOT / "docs" / page).read_text(encoding="utf-8") == docs.pages()[page], (
        "run `python -m isoloss docs`"
    )


def parts(schema):
    """Every part of a schema that describes a value."""
    if isinstance(schema, dict):
        if "type" in schema:
            yield schema
        for below in schema.values():
            yield from parts(below)
    elif isinstance(schema, list):
        for below in schema:
            yield from parts(below)


def test_every_key_of_the_schema_is_described_and_strict():
    for part in parts(schema.schema()):
        assert part is schema.schema() or part.get("description"), part
        if part["type"] == "object" and "properties" in part:
            assert "additionalProperties" in part, part


def pins(path):
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    return {
        name.lower().replace("_", "-"): version
        for name, version in re.findall(r"^[ -]*([\w.-]+)==([\w.]+)$", "\n".join(lines), flags=re.M)
    }


def test_the_conda_file_has_the_versions_of_the_lock():
    lock, conda = pins("envs/lock.txt"), pins("envs/isoloss.yaml")
    assert conda
    assert conda.items() <= lock.items()


def test_the_lock_holds_every_requirement_but_those_of_benchmarks():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = project["optional-dependencies"]
    own = "isoloss["  # of other groups
    in_lock = [group for name, group in groups.items() if name not in ("bench", "slurm")]
    of_lock = [r for group in in_lock for r in group if not r.startswith(own)]
    assert groups["workflow"] == ["isoloss[snakemake,train]"]
    for requirement in project["dependencies"] + of_lock:
        assert re.split(r"[<>=\[]", requirement)[0].lower() in pins("envs/lock.txt"), requirement
    for requirement in groups["slurm"]:  # where no controller answers it makes snakemake slow
        assert re.split(r"[<>=\[]", requirement)[0].lower() in pins("envs/slurm.txt"), requirement
    assert not pins("envs/slurm.txt").keys() & pins("envs/lock.txt").keys()
    assert pins("envs/lock.txt")["torch"] == "2.13.0"


def fences(language):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.S)


def test_the_law_of_the_readme_keeps_the_contract_of_a_law():
    source = next(block for block in fences("python") if "def make" in block)
    space = {"__name__": "power_law_in_d"}
    exec(compile(source, "README.md", "exec"), space)
    law = space["make"]()
    data = {"D": np.geomspace(1e3, 1e9, 7)}
    theta = np.array([[2.0, 0.3], [4.0, 0.1]])
    loss = np.exp(2 - 0.3 * np.log(data["D"]))
    np.testing.assert_allclose(law.loss(theta, data)[0], loss)
    gradient = law.gradient(theta, data)
    assert gradient.shape == (2, 7, 2)
    for i in range(2):
        step = 1e-6 * np.eye(2)[i]
        difference = law.loss(theta + step, data) - law.loss(theta - step, data)
        np.testing.assert_allclose(gradient[..., i], difference / 2e-6, rtol=1e-6)


def test_the_study_of_the_readme_is_a_study(tmp_path):
    rows = [f"{n},{d},{2 + 1 / n}" for n in (1, 2, 3) for d in (1e3, 2e3, 3e3)]
    (tmp_path / "runs.csv").write_text("params,tokens,val_loss\n" + "\n".join(rows))
    config = yaml.safe_load(next(b for b in fences("yaml") if "study: mine" in b))
    config["aggregate"]["mine"]["table"] = str(tmp_path / "runs.csv")
    assert check.check(config)["fit"]["chinchilla"]["bootstrap"] == 4000


def test_every_rule_for_sizes_is_named_where_it_is_set_and_with_its_card():
    pages = docs.pages()
    (setting,) = [line for line in pages["config.md"].splitlines() if line.startswith("| `size_r")]
    for name in registry.names("model"):
        for rule in registry.facts("model", name).get("SIZE_RULES", []):
            assert f"`{rule}`" in setting
            card = pages["cards.md"].split(f"### `{name}`")[1].split("###")[0]
            assert f"`{rule}`" in card


def test_parameters_of_a_law_of_a_response_have_its_unit():
    page = docs.cards_page()
    cards = [n for n in registry.names("law") if "RESPONSE" in registry.facts("law", n)]
    assert {"downstream_accuracy", "downstream_error"} <= set(cards)
    for name in cards:
        card = page.split(f"### `{name}`")[1].split("###")[0]
        assert "nats/token" not in card and f"fitted to: `{name.partition('_')[2]}`" in card


def test_options_that_cards_name_are_options_of_a_command():
    commands = parser().commands.values()
    known = {option for one in commands for option in one._option_string_actions}
    named = set(re.findall(r"(?<![\w-])--\w[\w-]*", docs.cards_page()))
    assert named and named <= known


def test_links_of_the_documents_lead_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert "://" in link or (page.parent / link).exists(), (page.name, link)


def test_a_stage_has_one_row_in_the_readme_and_a_module_one_in_the_architecture():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    stages = re.findall(r"^\| (\w+) \|", readme, flags=re.M)
    rows = re.findall(r"^\| (`[\w/]+`) \| ([^|]+) \|", page, flags=re.M)
    modules = [(folder, name) for folder, names in rows for name in re.findall(r"`(\w+)`", names)]
    assert len(stages) > 5 and len(modules) > 50
    assert not [one for one, count in Counter(stages + modules).items() if count > 1]


def folders_of_the_library():
    """Every folder with modules below workflow/isoloss, by its path there."""
    home = ROOT / "workflow" / "isoloss"
    return {file.parent.relative_to(home).as_posix() for file in home.rglob("*.py")} - {"."}


def test_the_tree_of_the_architecture_names_every_folder_of_the_library_and_no_other():
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    tree = re.search(r"```\nworkflow/isoloss/\n(.*?)```", page, flags=re.S)[1]
    named = re.findall(r"^ +([\w/]+)/  ", tree, flags=re.M)
    assert sorted(named) == sorted(folders_of_the_library())


def test_the_glossary_defines_every_word_once():
    page = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", page, flags=re.M)
    words = [word for row, _ in rows if row not in ("word", "---") for word in row.split(", ")]
    assert len(words) > 50
    assert len(set(words)) == len(words)


STUDIES = ["config.yaml", *sorted(f"studies/{path.name}" for path in ROOT.glob("studies/*.yaml"))]


@pytest.mark.parametrize("path", STUDIES)
def test_a_study_names_its_schema_for_editors(path):
    first = (ROOT / path).read_text(encoding="utf-8").splitlines()[0]
    named = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
    assert named
    assert (ROOT / path).parent.joinpath(named[1]).resolve().is_file()


OF_A_USER = "studies/mixture-table.yaml"  # its table is one of the user's


@pytest.mark.parametrize("path", [path for path in STUDIES if path != OF_A_USER])
def test_nothing_is_wrong_with_a_study_of_the_project(path, request):
    if "$ISOLOSS_REFERENCE_DATA" in (ROOT / path).read_text("utf-8"):
        request.getfixturevalue("reference_data")  # skips where the tables are not at hand
    study = schema.read(ROOT / path)
    assert check.check(study)["study"] == study["study"]


def test_make_hands_a_study_on_whatever_its_name():
    for name in ("my study.yaml", "x;touch PWNED", "it's.yaml"):
        command = ["make", "--dry-run", f"STUDY={name}"]
        output = subprocess.run(
            command, cwd=ROOT, capture_output=True, encoding="utf-8", check=True
        ).stdout
        assert '--configfile "$STUDY"' in output


@pytest.mark.parametrize(
    "page", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]), ids=lambda page: page.name
)
def test_targets_of_snakemake_stand_before_the_study(page):
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"--configfile [^\s`]+ +[a-z]\S*", text) == []  # it would be a second study


def test_the_citation_is_of_this_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["version"] == project["version"] and citation["license"] == project["license"]
    assert [author["name"] for author in citation["authors"]] == [
        author["name"] for author in project["authors"]
    ]


def test_the_catalogue_finds_what_it_shows():
    shown = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text(encoding="utf-8"))
    assert shown["usage"]["software-stack-deployment"]["conda"] is True
    assert shown["usage"]["report"] is True
    assert (ROOT / "workflow/report/workflow.rst").is_file()
    page = (ROOT / "config/README.md").read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)\)", page):
        assert (ROOT / "config" / link).exists(), link
    study = yaml.safe_load(re.search(r"```yaml\n(.*?)```", page, flags=re.S)[1])
    assert list(study) == ["study", "aggregate", "fit", "plot"]


def test_the_report_of_a_study_and_of_modules_has_no_gap():
    """A Snakefile that uses the workflow as a module has a configuration without `study`."""
    page = (ROOT / "workflow/report/workflow.rst").read_text(encoding="utf-8")
    template = jinja2.Template(page, trim_blocks=True, lstrip_blocks=True)  # as Snakemake does
    for config in ({"study": "mine", "fit": {"a": {}}}, {"laws": {"study": "mine"}}):
        text = template.render(snakemake={"config": config})
        assert "****" not in text and "\n\n- " in text and "drawn\n- ``summary.md``" in text
    assert text.lstrip().startswith("Studies of isoloss")
