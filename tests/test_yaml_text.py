"""YAML that was written to do harm is refused at once, with its line; what people write is read."""

import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from isoloss.__main__ import main, refuse_bombs
from isoloss.core import schema, yaml_text
from isoloss.core.problems import StudyError
from isoloss.study import check


def nested(line: str, last: int) -> str:
    """Ten lines of which each has nine times what the one before has."""
    first = "study: bomb\na0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    return first + "".join(line.format(i, i - 1) for i in range(1, last + 1))


LIST = "a{0}: &a{0} [*a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}]\n"
LONG = "x" * (yaml_text.TEXT - 1)
# name to (text, line, words of the reason)
BOMBS = {
    "nested aliases": (nested(LIST, 9), 7, "values, aliases followed"),
    "long text repeated": (f"a: &a {LONG}\nb: [{'*a, ' * 5000}]\n", 2, "values, aliases followed"),
    "merges": (
        "a0: &a0 {a: 1, b: 2}\n"
        + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 30)),
        14,
        "aliases followed",
    ),
    "aliases one in another": (
        "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 400)),
        32,
        "more than 32 deep",
    ),
    "an alias of itself": ("study: bomb\nload: &a {x: *a}\n", 2, "*a refers to a value that"),
    "an alias of a list around it": ("- &a\n- &b [1, [*b]]\n", 2, "*b refers to a value that"),
    "an alias of nothing": ("study: *a\n", 1, "has no anchor"),
    "deep lists": ("study: bomb\nload: " + "[" * 3000 + "]" * 3000, 2, "more than 32 deep"),
    "deep mappings": ("load: " + "{a: " * 3000 + "1" + "}" * 3000, 1, "more than 32 deep"),
    "deep blocks": ("".join(" " * i + "a:\n" for i in range(500)), 33, "more than 32 deep"),
    "JSON": ('{"a": ' * 3000 + "1" + "}" * 3000, 1, "more than 32 deep"),
    "digits": ("study: bomb\nseed: " + "9" * 5000, 2, "a number of 5000 characters"),
    "digits with a sign": ("seed: -" + "9_" * 2500, 1, "a number of 5001 characters"),
    "hexadecimal": ("seed: 0x" + "f" * 5000, 1, "a number of 5002 characters"),
    "octal": ("seed: 0" + "7" * 5000, 1, "a number of 5001 characters"),
    "binary digits": ("seed: 0b" + "1" * 5000, 1, "a number of 5002 characters"),
    "sexagesimal": ("seed: 1" + ":59" * 2000, 1, "a number of 6001 characters"),
    "sexagesimal float": ("seed: 1" + ":59" * 2000 + ".5", 1, "a number of 6003 characters"),
    "quoted digits with a tag": (f"seed: !!int '{'9' * 5000}'", 1, "a number of 5000 characters"),
    "a float": ("seed: 1." + "9" * 5000, 1, "a number of 5002 characters"),
    "a key": ("? " + "k" * 5000 + "\n: 1\n", 1, "a key of 5000 characters"),
    "a text": ("study: " + "k" * 50_000, 1, "a text of 50000 characters"),
    "megabytes": ("study: bomb\n" + "# a comment\n" * 500_000, 349526, "more than 4194304 bytes"),
    "many values": ("".join(f"k{i}: 1\n" for i in range(100_000)), 50_000, "more than 100000"),
    "a second document": ("study: a\n---\nstudy: b\n", 2, "a second document"),
    "a program": ("study: !!python/object/apply:os.system ['true']\n", 1, "the tag '!!python"),
    "a name": ("study: !!python/name:os.system\n", 1, "the tag '!!python/name"),
    "a tag of one's own": ("study: !mine a\n", 1, "the tag '!mine' is not allowed"),
    "bytes": ("study: a\nseed: !!binary aGVsbG8=\n", 2, "the tag '!!binary'"),
    "a set": ("load: !!set {a, b}\n", 1, "the tag '!!set'"),
    "a date": ("study: 2024-01-01\n", 1, "found the date 2024-01-01"),
    "a date that is none": ("seed: 2024-99-99\n", 1, "found the date 2024-99-99"),
    "a date as key": ("load:\n  2024-01-01 10:00:00: 1\n", 2, "found the date"),
    "a list as key": ("study: a\n? [1, 2]\n: 3\n", 2, "a key is not text"),
    "NUL": ("study: a\nseed: \0\n", 2, r"the character '\x00'"),
    "templates": ("__use_yte__: true\nstudy: ?1 + 1\n", 1, "'__use_yte__' would have"),
    "a key twice": ("study: a\nseed: 1\nseed: 2\n", 3, "key 'seed' appears twice"),
    "not YAML": ("study: a\nload: {\n", 3, "is not YAML"),
    "a value that is none": ("study: =\n", 1, "is not YAML"),
    "not UTF-8": (b"study: a\nload: \xff\xfe\n", 2, "byte 15 (0xff) is not UTF-8"),
    "UTF-16": ("study: a\n".encode("utf-16"), 1, "is not UTF-8"),
}


@pytest.mark.parametrize(("text", "line", "reason"), BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_refused_at_once_with_its_line(tmp_path, capsys, text, line, reason):
    file = tmp_path / "bomb.yaml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    begun = time.process_time()
    assert main(["check", str(file)]) == 2
    assert time.process_time() - begun < 5  # a second where nothing else runs
    output = capsys.readouterr().err
    assert f"line {line}: " in output
    assert reason in output
    assert len(output) < 1000
    with pytest.raises(SystemExit):
        refuse_bombs(["-n", "--configfile", str(file), "--cores", "1"])
    assert capsys.readouterr().err == output.removeprefix("isoloss check: ")


def test_aliases_and_merges_of_people_are_followed_and_are_apart(tmp_path):
    text = """
study: s
load: {a: &card {card: python_stdlib}, b: *card}
fit:
  x: &fit {card: power_law, sweep: t, options: &options {}, delta: 0.01}
  y: {<<: *fit, card: chinchilla, options: *options}
plot: {p: {card: isoloss, sweep: t, fits: [y], options: *options}}
"""
    (tmp_path / "s.yaml").write_text(text)
    read = schema.read(tmp_path / "s.yaml")
    assert read["fit"]["y"] == {"card": "chinchilla", "sweep": "t", "options": {}, "delta": 0.01}
    config, wrong = schema.complete(read)
    assert wrong == []
    assert config["fit"]["x"]["options"] == {"variable": "C", "offset": True}
    assert config["fit"]["y"]["options"] == {
        "E": "positive"
    }  # defaults of another card are not its own


def test_what_is_written_is_read_again(tmp_path):
    for value in ({"a": [1, 2.5, "x", None, True, {"b": []}]}, {"text": "1" * 90}, {"é": "ü\n"}):
        (tmp_path / "s.yaml").write_text(yaml.safe_dump(value, allow_unicode=True), "utf-8")
        assert yaml_text.read(tmp_path / "s.yaml") == value


@given(st.binary(max_size=60) | st.text(alphabet="a1:&*-[]{},!<?|>'\"\n #=.~", max_size=60))
def test_any_text_is_read_or_refused(text):
    try:
        yaml_text.load(text, "text")
    except StudyError as error:
        assert len(error.problems) == 1


def test_a_study_in_python_that_is_a_bomb_is_refused_at_once():
    wide: list = ["x"]
    for _ in range(25):
        wide = [wide] * 9
    own: dict = {}
    own["load"] = own
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    many = {f"k{i}": [1] for i in range(60_000)}
    for bomb in ({"study": "a", "load": wide}, own, {"load": deep}, many, {"study": "x" * 10**6}):
        begun = time.process_time()
        with pytest.raises(StudyError, match=r"more than|part of itself|a text of"):
            check.check(bomb)
        assert time.process_time() - begun < 5  # a second where nothing else runs


BEYOND = {
    "digits": "1" + "0" * 400,
    "an exponent": "1e999",
    "infinite": float("inf"),
    "an integer": 10**400,
    "an integer that cannot be shown": -(10**5000),
}


@pytest.mark.parametrize("value", BEYOND.values(), ids=BEYOND)
def test_a_number_beyond_floating_point_is_refused_however_it_is_written(value):
    fit = {"card": "power_law", "sweep": "s", "fixed": {"E": value}, "delta": value}
    _, wrong = schema.complete({"study": "a", "fit": {"f": fit}, "seed": value})
    for place in ("seed", "fit.f.fixed.E", "fit.f.delta"):
        assert any(one.place == place for one in wrong)


@pytest.mark.parametrize(
    "entry", ["fit=&a [*a]", "fit=" + "[" * 99, "seed=" + "9" * 5000, f"a={LIST.format(0, 0)}"]
)
def test_a_bomb_on_snakemakes_command_line_is_refused(capsys, entry):
    with pytest.raises(SystemExit):
        refuse_bombs(["--config", "study=a", entry])
    assert "--config" in capsys.readouterr().err


def test_snakemakes_other_arguments_are_left_to_it(tmp_path, capsys):
    (tmp_path / "s.yaml").write_text("study: a\n")
    for arguments in (
        [],
        ["all", "--configfile", str(tmp_path / "s.yaml"), "--config", "study=a", "seed=3", "x={"],
        ["--configfile", str(tmp_path / "gone.yaml")],
        ["--configfile"],
        ["--cores", "2", "-n", "-C", "a=b"],
    ):
        refuse_bombs(arguments)
    assert capsys.readouterr().err == ""
