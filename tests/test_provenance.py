"""Digests of code: what changes them, what does not, and which files they cover."""

import ast
import shutil
from pathlib import Path

import pytest

from isoloss.core import registry
from isoloss.records import provenance
from isoloss.study import flow
from isoloss.train.settings import cards_of

RUN_CARDS = cards_of({"model": "transformer", "trainer": "builtin"})
SOURCE = """
import math

SIZE = 3


def area(radius: float) -> float:
    total = 0.0
    for i in range(SIZE):
        total += math.pi * radius**2 if i else -1.5e-3
    return total
"""
SAME = {
    "comment": SOURCE.replace("    total = 0.0", "    # from nothing\n    total = 0.0"),
    "docstring": SOURCE.replace("float:\n", 'float:\n    """The area."""\n'),
    "layout": SOURCE.replace("range(SIZE)", "range(\n        SIZE,\n    )"),
    "blank lines": SOURCE.replace("\n\n\n", "\n\n\n\n\n"),
}
OTHER = {
    "number": SOURCE.replace("1.5e-3", "1.4e-3"),
    "operator": SOURCE.replace("+=", "-="),
    "name": SOURCE.replace("SIZE = 3", "SIZE = 4"),
    "type of a number": SOURCE.replace("0.0", "0"),
    "order": SOURCE.replace("if i else", "if not i else"),
}


def digest(source: str, words: bool = True) -> str:
    reading = provenance.read_tree(ast.parse(source))
    return reading.digest if words else reading.without_words


@pytest.mark.parametrize("source", SAME.values(), ids=SAME)
def test_what_does_not_change_the_code_does_not_change_its_digest(source):
    assert source != SOURCE
    assert digest(source) == digest(SOURCE)


@pytest.mark.parametrize("source", OTHER.values(), ids=OTHER)
def test_what_changes_the_code_changes_its_digest(source):
    assert source != SOURCE
    assert digest(source) != digest(SOURCE)


def test_an_f_string_has_one_digest_however_a_python_version_cuts_it():
    whole = ast.parse('f"a{x!r}b"')
    (string,) = [node for node in ast.walk(whole) if isinstance(node, ast.JoinedStr)]
    first, field, last = string.values
    string.values = [first, ast.Constant(""), field, ast.Constant("b"), ast.Constant("")]
    assert provenance.read_tree(whole).digest == digest('f"a{x!r}b"')
    assert last.value == "b"


def test_the_digest_is_the_same_on_every_python():
    assert digest(SOURCE) == "c5b573f206c29db6d2ef42c609eae909"


def test_the_code_that_makes_the_runs_of_the_default_study_is_known():
    # Changes with every edit that can change a number: then every run of every study is trained
    # again. Write the new digest here only if that is meant, and say so in CHANGELOG.md; an edit
    # that changes no number can be accepted by those who have results (docs/results.md).
    modules = provenance.run_code(RUN_CARDS)
    assert provenance.code_digest(modules, words=False) == "6ebf13f0fa72960c77fd5b1b67bfe147"


def test_a_cards_words_are_no_part_of_a_runs_identity():
    renamed = SOURCE + 'TITLE = "A card"\n'
    assert digest(renamed) != digest(SOURCE)
    assert digest(renamed, words=False) == digest(SOURCE, words=False)


@pytest.mark.parametrize(
    ("source", "imported"),
    [
        ("import isoloss.core, os", [("isoloss.core", "", "")]),
        ("from isoloss import a as b, c", [("isoloss", "a", "b"), ("isoloss", "c", "c")]),
        ("from . import core\nimport isolosses\nfrom isolosses import a", []),
        ("try:\n    from isoloss import a\nexcept A:\n    from isoloss import b\n"
         "else:\n    from isoloss import c\nfinally:\n    from isoloss import d",
         [("isoloss", name, name) for name in "abcd"]),
        ("match x:\n    case 1:\n        from isoloss import a\n", [("isoloss", "a", "a")]),
        ("class A:\n    def f(self):\n        from isoloss import a\n", [("isoloss", "a", "a")]),
    ],
)  # fmt: skip
def test_imports_of_this_package_are_read_wherever_they_stand(source, imported):
    assert provenance.read_tree(ast.parse(source)).imported == tuple(imported)


def test_a_runs_code_is_what_can_change_its_numbers():
    assert provenance.run_code(RUN_CARDS) == [
        "isoloss.core",
        "isoloss.core.seeds",
        "isoloss.models",
        "isoloss.models._model",
        "isoloss.models._transformer_pass",
        "isoloss.models.transformer",
        "isoloss.tasks",
        "isoloss.tasks._by_tag",
        "isoloss.tasks._task",
        "isoloss.tasks._tokens",
        "isoloss.tasks.language_model",
        "isoloss.trainers",
        "isoloss.trainers._devices",
        "isoloss.trainers._optimizers",
        "isoloss.trainers._schedules",
        "isoloss.trainers._trainer",
        "isoloss.trainers.builtin",
    ]


def test_all_code_of_phases_is_in_the_identity_of_a_run_under_a_schedule():
    modules = set(provenance.closure(["isoloss.tasks._phases"], root=False))
    assert modules - set(provenance.run_code(RUN_CARDS)) == {"isoloss.tasks._phases"}


def test_a_stage_is_followed_to_the_used_card_only():
    modules = provenance.closure(flow.entries("fit", [("law", "chinchilla")]))
    laws = [m for m in modules if m.startswith("isoloss.laws.") and "._" not in m]
    assert laws == ["isoloss.laws.chinchilla"]
    assert "isoloss.fit.optimize" in modules
    assert not [m for m in modules if m.startswith(("isoloss.train", "isoloss.load"))]


@pytest.mark.parametrize("stage", flow.STAGES)
def test_no_stage_depends_on_the_command_line_or_on_another_room(stage):
    rooms = {stage.entry.split(".")[1] for stage in flow.STAGES.values()}
    modules = provenance.closure(flow.entries(stage, []))
    own = flow.STAGES[stage].entry.split(".")[1]
    touched = {m.split(".")[1] for m in modules if "." in m}
    # a simulated study is chosen and fitted by those rooms: test_imports.py has it as a facade
    allowed = {"choose", "fit"} if stage == "simulate" else set()
    assert touched & rooms <= {own} | allowed
    assert "isoloss.__main__" not in modules


@pytest.fixture
def copied(tmp_path, monkeypatch) -> Path:
    """A copy of the package whose code the digests read."""
    copy = tmp_path / "isoloss"
    shutil.copytree(registry.HOME, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "HOME", copy)
    provenance.forget()
    yield copy
    provenance.forget()


@pytest.mark.parametrize(
    ("file", "before", "after", "changed"),
    [
        ("trainers/_optimizers.py", "count.add_(1)", "count.add_(2)", True),
        ("models/transformer.py", "ROTARY_BASE = 100.0", "ROTARY_BASE = 90.0", True),
        ("core/seeds.py", "digest_size=16", "digest_size=8", True),
        ("core/tables.py", '"zstd"', '"snappy"', False),
        ("core/progress.py", ">= 60", ">= 30", False),
        ("tasks/_tokens.py", "AT_ONCE = 64", "AT_ONCE = 32", True),
        ("train/child.py", 'status="diverged"', 'status="gone"', False),
        ("fit/outcome.py", "ddof=1", "ddof=0", False),
        ("models/transformer.py", 'TITLE = "Trans', 'TITLE = "A trans', False),
    ],
)
def test_an_edit_changes_the_identity_of_a_run_or_not(copied, file, before, after, changed):
    def identity():
        provenance.forget()
        modules = provenance.run_code(RUN_CARDS)
        return provenance.code_digest(modules, words=False)

    was = identity()
    text = (copied / file).read_text(encoding="utf-8")
    assert before in text
    (copied / file).write_text(text.replace(before, after), encoding="utf-8")
    assert (identity() != was) == changed


SMALL = {
    "__init__": '"""A package."""\n',
    "curve": "def value(x):\n    return x**2\n",
    "line": "def value(x):\n    return 2 * x\n",
    "use": """
from isoloss import line
from isoloss.curve import value


def both(x):
    from isoloss.curve import value as again

    return value(x) + line.value(x) + again(x)
""",
}


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Digest of a small package, some of whose files were moved or replaced, from `use` on."""

    def digest(moved=(), **files):
        home = tmp_path / str(len(list(tmp_path.iterdir())))
        for stem, text in {**SMALL, **files}.items():
            file = home / ("ground/" if stem in moved else "") / f"{stem}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            if stem in moved:
                file.with_name("__init__.py").write_text('"""Below."""\n', encoding="utf-8")
        monkeypatch.setattr(provenance, "HOME", home)
        provenance.forget()
        return provenance.code_digest(provenance.closure(["isoloss.use"]))

    yield digest
    provenance.forget()


def test_moving_a_file_changes_no_digest(small):
    # one statement becomes two in another order
    use = SMALL["use"].replace("from isoloss.curve", "from isoloss.ground.curve")
    use = use.replace("from isoloss import line", "from isoloss.ground import line")
    assert small(moved=("curve", "line"), use=use) == small()
    moved = use.replace("from isoloss.ground import line\n", "")
    moved = moved.replace(
        "import value\n\n", "import value\nfrom isoloss.ground import line\n\n", 1
    )
    assert small(moved=("curve", "line"), use=moved) == small()


@pytest.mark.parametrize(
    "files",
    [
        {"use": SMALL["use"].replace("isoloss.curve", "isoloss.line")},
        {"use": SMALL["use"].replace("import line", "import curve as line")},
        {"use": SMALL["use"].replace("import value as again", "import other as again")},
        {"curve": SMALL["line"], "line": SMALL["curve"]},
        {"line": SMALL["line"].replace("2", "3")},
        {"__init__": "LIMIT = 1\n"},
    ],
    ids=["source", "module", "name", "exchanged", "content", "package"],
)
def test_what_is_imported_counts(small, files):
    assert small(**files) != small()
