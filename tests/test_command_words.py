"""An option of several words never takes what belongs to the command."""

import doctest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoloss.__main__ import parser
from isoloss.core import command_words

TOP = parser()
LAW = {
    "columns": ["N=params", "D=tokens", "loss=val loss", "group="],
    "option": ["variable=C", "offset=no"],
    "keep": ["loss < 3", "state == 'done'", "D>1e9"],
    "scale": ["N=1e9", "D=log10"],
    "fix": ["E=1.7", "B=900"],
    "bounds": ["alpha=0.1:0.5", "E=:2"],
    "tie": ["alpha,beta", "A,B"],
    "shared": ["E,alpha", "beta,A"],
    "flops": ["1e21", "-3", "2.5e22"],
}
TABLES = ["runs.csv", "runs/*.parquet", "https://host/runs.csv?token=a&b=c", "./N=b.csv", "C4 runs"]


def read(command, *words):
    """What a command line says."""
    made = TOP.commands[command]
    return vars(TOP.parse_args([command, *made.arranged(words)]))


def test_the_examples_hold():
    assert doctest.testmod(command_words).failed == 0


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from([*LAW, "law"]), unique=True),
    st.lists(st.sampled_from(TABLES), min_size=1, unique=True),
    st.randoms(use_true_random=False),
    st.data(),
)
def test_the_tables_may_stand_anywhere_between_the_options(names, tables, order, data):
    options = {name: data.draw(st.lists(st.sampled_from(LAW[name]), min_size=1, unique=True))
               for name in names if name in LAW}  # fmt: skip
    parts = [[f"--{name}", *words] for name, words in options.items()]
    parts += [["--law", "kaplan"]] if "law" in names else []
    parts += [[table] for table in tables]
    order.shuffle(parts)
    given_ = read("law", *(word for part in parts for word in part))
    assert sorted(given_["table"]) == sorted(tables)
    assert given_["law"] == ("kaplan" if "law" in names else None)
    for name in LAW:
        words = options.get(name, [])
        assert given_[name] == ([float(one) for one in words] if name == "flops" else words)


@pytest.mark.parametrize(
    ("command", "words", "own", "option"),
    [
        ("csv", ["--columns", "a", "b.c", "t.parquet"], {"table"}, ("columns", ["a", "b.c"])),
        ("csv", ["t.parquet", "--columns", "a", "b"], {"table"}, ("columns", ["a", "b"])),
        ("csv", ["--columns", "a", "--where", "x > 1", "t"], {"table"}, ("columns", ["a"])),
        ("csv", ["--columns", "a", "t", "--where", "x > 1"], {"table"}, ("columns", ["a"])),
        ("digest", ["--cards", "model/mlp", "trainer/builtin", "run"], {"stage"},
         ("cards", ["model/mlp", "trainer/builtin"])),
        ("retry", ["--run", "a", "b", "study.yaml"], {"study"}, ("named", ["a", "b"])),
        ("retry", ["study.yaml", "--run", "a", "b", "--diverged"], {"study"},
         ("named", ["a", "b"])),
        ("gc", ["a.yaml", "--directory", "d", "b.yaml"], {"study"}, ("remove", False)),
        ("init", ["--columns", "N=a", "runs.csv", "--out", "s.yaml"], {"table"},
         ("columns", ["N=a"])),
    ],
)  # fmt: skip
def test_every_command_keeps_its_own_words(command, words, own, option):
    given_ = read(command, *words)
    (name,) = own
    assert given_[name] not in (None, []) and given_[option[0]] == option[1]


def test_a_word_that_begins_with_a_dash_follows_two_dashes_or_an_equals_sign():
    assert read("law", "--keep=-D < -3", "--", "-odd.csv")["table"] == ["-odd.csv"]
    assert read("law", "--seed", "-1", "t")["seed"] == -1
    assert read("law", "--keep=-D < -3", "t")["keep"] == ["-D < -3"]


def test_the_beginning_of_an_option_is_enough():
    assert read("law", "--col", "N=a", "D=b", "t")["columns"] == ["N=a", "D=b"]


def test_an_expression_may_begin_with_a_minus():
    assert read("law", "t", "--minimize", "-log(loss)")["minimize"] == "-log(loss)"
    assert read("law", "--given", "N=1B,2B", "t")["table"] == ["t"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["law", "t", "--colums", "N=a"], "--colums: unknown option; did you mean '--columns'?"),
        (["law", "t", "--law", "kaplan", "--law=m4"], "--law is given twice; give it once"),
        (
            ["law", "t", "--minimize", "-loss"],
            "-loss: unknown option; a value that begins with a minus is written --minimize=-loss",
        ),
        (
            ["law", "t", "--group", "domain"],
            "--group: unknown option; write --columns group=domain",
        ),
        (["law", "t", "--zzz"], "--zzz: unknown option"),
        (
            ["predict", "a", "--loss", "2.4"],
            "--loss: unknown option; a variable of the law is given as --at loss=2.4",
        ),
        (
            ["law", "t", "--given", "N=1B", "100M"],
            "--given N=1B: '100M' stands apart; "
            "write several values with commas between them: N=1B,100M",
        ),
        (["law"], "the following arguments are required: TABLE"),
        (["law", "t", "--flops"], "--flops: expected at least one argument"),
        (["law", "--flops", "much", "t"], "--flops: invalid float value: 'much'"),
        (["cards", "laws"], "KIND: unknown 'laws'; did you mean 'law'?"),
        (["digest", "fitt"], "STAGE: unknown 'fitt'; did you mean 'fit'?"),
    ],
)
def test_what_is_wrong_with_a_command_line_is_one_line(words, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        read(*words)
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"isoloss {words[0]}: {message}; see isoloss {words[0]} --help"


def test_words_that_are_in_order_stay_so():
    options = {"--a": command_words.Option("--a", None, command_words.is_pair)}
    once = command_words.arranged(["--a", "x=1", "y=2", "u", "--a", "z=3", "t"], options, 1)
    assert once == ["u", "t", "--a", "x=1", "y=2", "--a", "z=3"]
    assert command_words.arranged(once, options, 1) == once
