"""One way to the bytes of a table: files, folders, addresses; each read once, within limits."""

from __future__ import annotations

import json
import os
import socket
import traceback
from hashlib import blake2b
from pathlib import Path

import pandas as pd
import pytest
from serving import Site, answer

from isoloss.__main__ import main
from isoloss.aggregate import read_runs
from isoloss.core import sources as sources_module
from isoloss.core import tables
from isoloss.core.problems import IsolossError, StudyError, TableError
from isoloss.core.sources import KEPT, Limits, Sources, open_source
from isoloss.quickfit.law import law_of_table
from isoloss.study import check
from isoloss.study.flow import Flow

CSV = b"size,seen,val_loss\n" + b"".join(b"1e6,%de8,%f\n" % (i, 3 + 1 / i) for i in range(1, 13))
COLUMNS = {"N": "size", "D": "seen", "loss": "val_loss"}
SECRET = "sesame-42-sesame"


def digest(content: bytes) -> str:
    return blake2b(content, digest_size=16).hexdigest()


def study(table: str, **more) -> dict:
    section = {"table": table, "columns": COLUMNS, **more}
    return {"study": "own", "aggregate": {"mine": section}}


def content_of(flow: Flow) -> str:
    return json.loads(flow.specification("aggregate", sweep="mine"))["content"]


def changing(number: int) -> bytes:
    """Every answer is another table."""
    return answer(CSV + b"1e6,1e9,%d\n" % (number + 2))


# --- files -------------------------------------------------------------------------------------


@pytest.fixture
def odd(tmp_path):
    """Things that are not files, by name."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "to_fifo").symlink_to("fifo")
    # the path of a socket is short
    here = os.getcwd()
    os.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        os.chdir(here)
        yield tmp_path


ODD = {
    "/dev/zero": "it is a device",
    "/dev/stdin": "it is",
    "zero": "it is a device",
    "fifo": "it is a named pipe",
    "to_fifo": "it is a named pipe",
    "socket": "it is a socket",
    "folder": "is a folder without a saved dataset (no state.json)",
    "loop": "cannot be read",
    "nowhere": "cannot be read (No such file or directory)",
    "nul\0byte": "cannot be read",
    "x" * 5000: "cannot be read",
    "": "is a folder without a saved dataset",
}


@pytest.mark.parametrize(("name", "message"), ODD.items(), ids=[n[:9] for n in ODD])
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_what_is_not_a_file_is_refused_without_waiting(odd, name, message, scheme):
    if name == "/dev/stdin" and Path(name).is_file():
        pytest.skip("standard input is a file here")
    with pytest.raises(TableError) as error:
        open_source(scheme + str(odd / name))
    assert message in str(error.value) or (scheme and "\0" in name)


def test_a_file_is_read_up_to_the_limit(tmp_path):
    file = tmp_path / "runs.csv"
    file.write_bytes(b"x" * 2**20)
    assert open_source(file, Limits(max_mib=1)).digest == digest(b"x" * 2**20)
    file.write_bytes(b"x" * (2**20 + 1))
    with pytest.raises(TableError, match=r"max_mib = 1 MiB\); raise max_mib \(beside `table`"):
        open_source(file, Limits(max_mib=1))
    os.truncate(file, 2**40)  # a hole, not a terabyte
    with pytest.raises(TableError, match="max_mib = 256 MiB"):
        open_source(file)


@pytest.mark.skipif(not Path("/proc/kmsg").exists(), reason="needs /proc")
def test_files_that_do_not_know_their_size_end_with_the_limit():
    assert open_source("/proc/self/status").parts[0]
    with pytest.raises(TableError, match="max_mib"):
        open_source("/proc/self/status", Limits(max_mib=1e-5))


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), 1e12])
@pytest.mark.parametrize("name", ["max_seconds", "max_mib"])
def test_limits_are_positive_and_finite(name, value):
    with pytest.raises(IsolossError, match=f"{name}: found .*; needs more than 0"):
        Limits(**{name: value})


def saved(folder: Path, names, dictionary=None) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "state.json").write_text(
        json.dumps({"_data_files": [{"filename": n} for n in names]})
    )
    (folder / "a.arrow").write_bytes(b"one")
    (folder / "b.arrow").write_bytes(b"two")
    if dictionary is not None:
        (folder / "dataset_dict.json").write_text(json.dumps({"splits": dictionary}))
    return folder


def test_the_files_of_a_saved_dataset_are_parts_of_one_source(tmp_path):
    source = open_source(saved(tmp_path / "set", ["b.arrow", "a.arrow"]))
    assert (source.parts, source.saved, source.digest) == (
        (b"two", b"one"),
        True,
        digest(b"twoone"),
    )
    saved(tmp_path / "more", ["b.arrow", "a.arrow"])
    both = saved(tmp_path, ["a.arrow"], dictionary=["set", "more"])
    assert open_source(both).parts == (b"two", b"one") * 2
    saved(tmp_path, ["a.arrow"], dictionary=["set", "set"])
    with pytest.raises(TableError, match="it lists a split twice"):
        open_source(both)


LEAVING = ["../outside.arrow", "/etc/passwd", "a/../../x", "..", "", ".", "..\\x", "C:\\x", "C:/x"]


@pytest.mark.parametrize("name", [*LEAVING, 7, None, {"a": 1}])
def test_a_saved_dataset_reads_nothing_outside_its_folder(tmp_path, name):
    (tmp_path / "outside.arrow").write_bytes(b"never")
    folder = saved(tmp_path / "set", [name])
    with pytest.raises(TableError, match=r"set: is a folder without a saved dataset \("):
        open_source(folder)
    saved(folder, ["a.arrow"], dictionary=[name])
    with pytest.raises(TableError, match=r"set: is a folder without a saved dataset \("):
        open_source(folder)


MANY = json.dumps({"_data_files": [{"filename": "a.arrow"}] * 10_001})
STATES = [
    MANY,
    "[]",
    "{}",
    "7",
    "[" * 100_000,
    '{"_data_files": 3}',
    '{"_data_files": []}',
    "\xff",
    "",
]


@pytest.mark.parametrize("text", STATES, ids=range(len(STATES)))
def test_a_broken_list_of_files_is_told(tmp_path, text):
    saved(tmp_path / "set", []).joinpath("state.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(TableError, match="set: is a folder without a saved dataset"):
        open_source(tmp_path / "set")


def test_a_saved_dataset_has_one_limit_for_all_its_files(tmp_path):
    folder = saved(tmp_path / "set", ["a.arrow"] * 5)
    (folder / "a.arrow").write_bytes(b"x" * 2**18)
    with pytest.raises(TableError, match="max_mib = 1 MiB"):
        open_source(folder, Limits(max_mib=1))
    (folder / "a.arrow").unlink()
    os.mkfifo(folder / "a.arrow")
    with pytest.raises(TableError, match=r"set/a.arrow: cannot be read \(it is a named pipe"):
        open_source(folder)


# --- addresses ---------------------------------------------------------------------------------


def test_check_and_triggers_read_the_same_bytes_once():
    with Site({"/x.csv": changing}) as site:
        sources = Sources()
        config = check.check(study(f"{site.url}/x.csv"), sources=sources)
        flow = Flow(config, "results/own", sources)
        assert content_of(flow) == content_of(flow) == digest(changing(0).split(b"\r\n\r\n")[1])
        assert len(site.requests) == 1


def test_a_job_reads_a_file_that_changes_once_for_digest_and_rows(tmp_path, monkeypatch):
    (tmp_path / "r.csv").write_bytes(CSV)
    (tmp_path / "study.yaml").write_text(json.dumps(study(str(tmp_path / "r.csv"))))
    contents = [CSV + b"1e6,1e9,%d\n" % i for i in range(2, 9)]
    left = iter(contents)
    monkeypatch.setattr(sources_module, "_read", lambda *_: next(left))
    out = ["--sweep", "mine", "--out", str(tmp_path / "out")]
    assert main(["aggregate", "--study", str(tmp_path / "study.yaml"), *out]) == 0
    assert next(left) == contents[1]
    last = tables.frame(tmp_path / "out" / "runs.parquet")["loss"].iloc[-1]
    made = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (last, made["specification"]["content"]) == (2, digest(contents[0]))


def test_a_job_reads_what_was_kept_and_asks_nobody(tmp_path, monkeypatch):
    monkeypatch.setenv("TOKEN", SECRET)
    with Site({"/x.csv": changing}) as site:
        written = f"{site.url}/x.csv?token=$TOKEN"
        sources = Sources()
        config = check.check(study(written), sources=sources)
        sources.keep(tmp_path / KEPT, config["aggregate"])
        monkeypatch.delenv("TOKEN")
        flow = Flow(config, tmp_path)
        kept = flow.sources.read("mine", config["aggregate"]["mine"])
        assert content_of(flow) == kept.digest == digest(kept.parts[0])
        assert kept.label == f"{site.url}/x.csv?token=***"
        assert len(site.requests) == 1
        monkeypatch.setenv("TOKEN", SECRET)
        for change in ("damaged", "of another address", "gone"):
            table = tmp_path / KEPT / "mine" / "table"
            facts = tmp_path / KEPT / "mine" / "source.json"
            if change == "damaged":
                table.write_bytes(table.read_bytes() + b"1")
            elif change == "gone":
                facts.unlink()
            else:
                table.write_bytes(kept.parts[0])
                facts.write_text(facts.read_text().replace("/x.csv", "/y.csv"))
            before = len(site.requests)
            assert content_of(Flow(config, tmp_path)) != kept.digest
            assert len(site.requests) == before + 1
    assert SECRET.encode() not in b"".join(
        f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()
    )


def test_what_was_kept_is_written_only_when_it_changed(tmp_path):
    with Site({"/x.csv": answer(CSV)}) as site:
        times = []
        for _ in range(2):
            sources = Sources()
            config = check.check(study(f"{site.url}/x.csv"), sources=sources)
            sources.keep(tmp_path, config["aggregate"])
            files = (tmp_path / "mine").iterdir()
            times.append({file.name: file.stat().st_mtime_ns for file in files})
    assert times[0] == times[1]
    assert set(times[0]) == {"table", "source.json"}


def test_local_files_are_not_copied(tmp_path):
    (tmp_path / "r.csv").write_bytes(CSV)
    sources = Sources()
    config = check.check(study(str(tmp_path / "r.csv")), sources=sources)
    sources.keep(tmp_path / KEPT, config["aggregate"])
    assert not (tmp_path / KEPT).exists()
    assert sources.digest("mine", config["aggregate"]["mine"]) == digest(CSV)


def test_without_a_network_the_kept_bytes_are_named_and_not_used(tmp_path):
    with Site({"/x.csv": answer(CSV)}) as site:
        sources = Sources()
        config = check.check(study(f"{site.url}/x.csv"), sources=sources)
        sources.keep(tmp_path, config["aggregate"])
    with pytest.raises(StudyError) as error:
        check.check(config, sources=Sources(copies=tmp_path))
    assert "the host refuses the connection" in str(error.value)
    assert f"the bytes fetched last are {tmp_path / 'mine' / 'table'}" in str(error.value)
    offline = study(str(tmp_path / "mine" / "table"))
    before, after = Flow(config, tmp_path, sources), Flow(check.check(offline), tmp_path)
    assert content_of(before) == content_of(after)
    with pytest.raises(StudyError) as error:
        check.check(config, sources=Sources(copies=tmp_path / "elsewhere"))
    assert "the bytes fetched last" not in str(error.value)


def test_limits_and_addresses_make_nothing_due(tmp_path):
    (tmp_path / "a.csv").write_bytes(CSV)
    (tmp_path / "b.csv").write_bytes(CSV)
    first = Flow(check.check(study(str(tmp_path / "a.csv"))), tmp_path)
    other = Flow(check.check(study(str(tmp_path / "b.csv"), max_mib=1, max_seconds=1)), tmp_path)
    spec = [flow.specification("aggregate", sweep="mine") for flow in (first, other)]
    assert spec[0] == spec[1]
    rules = {"columns", "keep", "best_of", "scale"}
    assert set(json.loads(spec[0])) == {"stage", "sweep", "content", *rules}


def test_the_limits_of_a_study_are_those_of_its_table():
    with Site({"/x.csv": answer(CSV * 100_000), "/slow.csv": lambda _: slowly()}) as site:

        def slowly():
            yield b"HTTP/1.1 200 OK\r\n"
            site.wait(5)

        with pytest.raises(StudyError, match="max_mib = 2 MiB"):
            check.check(study(f"{site.url}/x.csv", max_mib=2))
        with pytest.raises(StudyError, match=r"max_seconds = 0\.3 seconds"):
            check.check(study(f"{site.url}/slow.csv", max_seconds=0.3))
        with pytest.raises(TableError, match=r"max_seconds = 0\.3 seconds"):
            read_runs(f"{site.url}/slow.csv", COLUMNS, max_seconds=0.3)
        with pytest.raises(TableError, match="max_mib = 2 MiB"):
            law_of_table(f"{site.url}/x.csv", max_mib=2)


@pytest.mark.parametrize("value", [0, -1, "many", None, 1e30])
@pytest.mark.parametrize("name", ["max_seconds", "max_mib"])
def test_limits_of_a_study_are_checked(name, value):
    with pytest.raises(StudyError, match=f"aggregate.mine.{name}: found"):
        check.check(study("x.csv", **{name: value}))


# --- secrets -----------------------------------------------------------------------------------


@pytest.fixture
def site():
    """Everything that a server can do to an address with a token."""
    head = "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: "
    echo = f"no such file,/x.csv?token={SECRET}\n1,2\n"
    answers = {
        "/good.csv": answer(CSV),
        "/page": answer(f"<html>log in at /x?token={SECRET}</html>"),
        "/echo": answer(echo),
        "/words": answer(f"token={SECRET}\n"),
        "/reason": f"HTTP/1.1 500 token={SECRET}\r\n\r\n".encode(),
        "/line": f"token={SECRET}\r\n\r\n".encode(),
        "/away": f"{head}http://u:{SECRET}@no.such.host.invalid/?token={SECRET}\r\n\r\n".encode(),
        "/file": f"{head}file:///etc/passwd?token={SECRET}\r\n\r\n".encode(),
        "/round": f"{head}/round?token={SECRET}\r\n\r\n".encode(),
        "/broken": f"{head}http://[{SECRET}\r\n\r\n".encode(),
        "/short": answer(CSV, Content_Length="99999"),
        "/gzip": answer(b"\x1f\x8b\x08" + SECRET.encode()),
        "/parquet": answer(b"PAR1" + SECRET.encode()),
    }
    with Site(answers) as site:
        yield site


FAULTS = ["page", "echo", "words", "reason", "line", "away", "file", "round", "broken", "short"]
FAULTS += ["gzip", "parquet", "missing"]


@pytest.mark.parametrize("fault", FAULTS)
def test_no_error_of_a_study_shows_a_secret(site, fault, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("TOKEN", SECRET)
    monkeypatch.setenv("WHOLE", f"http://ann:{SECRET}@{site.host}/{fault}?token={SECRET}")
    for table in (f"http://ann:$TOKEN@{site.host}/{fault}?token=$TOKEN#x", "$WHOLE"):
        file = tmp_path / "study.yaml"
        file.write_text(json.dumps(study(table)))
        assert main(["check", str(file)]) == 2
        shown = capsys.readouterr()
        assert "aggregate.mine: " in shown.err and SECRET not in shown.out + shown.err
        assert (
            f"http://{site.host}/{fault}?token=***" if "$TOKEN" in table else table
        ) in shown.err


@pytest.mark.parametrize("fault", FAULTS)
def test_no_error_in_python_shows_a_secret(site, fault):
    with pytest.raises(IsolossError) as error:
        read_runs(f"http://ann:{SECRET}@{site.host}/{fault}?token={SECRET}", COLUMNS)
    assert SECRET not in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize(
    "table",
    [
        "http://ann:$TOKEN@[bad/x.csv?token=$TOKEN",
        "http://127.0.0.1:1/x.csv?token=$TOKEN",
        "http://ann:$TOKEN@no.such.host.invalid/x.csv",
        "http://host:$TOKEN/x.csv",
        "http://$TOKEN $TOKEN/x.csv",
        "ftp://ann:$TOKEN@host/x.csv",
        "file:///$TOKEN.csv",
        "data:text/csv,$TOKEN",
        "$TOKEN.csv",
        "$TOKEN/x?token=$TOKEN",
    ],
)
def test_no_address_that_leads_nowhere_shows_a_secret(table, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("TOKEN", SECRET)
    (tmp_path / "study.yaml").write_text(json.dumps(study(table, max_seconds=5)))
    assert main(["check", str(tmp_path / "study.yaml")]) == 2
    output = capsys.readouterr()
    assert "cannot be read" in output.err and SECRET not in output.out + output.err


def test_the_effective_study_keeps_variables_as_they_are_written(
    site, monkeypatch, capsys, tmp_path
):
    monkeypatch.setenv("TOKEN", SECRET)
    table = f"http://{site.host}/good.csv?token=$TOKEN"
    (tmp_path / "study.yaml").write_text(json.dumps(study(table)))
    assert main(["check", str(tmp_path / "study.yaml"), "--effective"]) == 0
    output = capsys.readouterr().out
    assert f"table: {table}\n" in output and "max_seconds: 120" in output and SECRET not in output
    assert f"GET /good.csv?token={SECRET} " in site.requests[-1]


def test_a_value_with_a_dollar_is_not_expanded_again(site, monkeypatch):
    monkeypatch.setenv("TOKEN", "a$HOME~$NOT_SET")
    check.check(study(f"http://{site.host}/good.csv?token=$TOKEN"))
    assert "token=a$HOME~$NOT_SET " in site.requests[-1]


@pytest.mark.parametrize(
    "table", [f"https://ann:{SECRET}@host/x.csv", f"https://host/x.csv?token={SECRET}"]
)
@pytest.mark.parametrize("shape", [lambda table: table, lambda table: [table], lambda t: {"a": t}])
def test_a_secret_that_is_spelled_out_in_a_study_is_refused_and_not_repeated(table, shape):
    with pytest.raises(StudyError) as error:
        check.check(study(shape(table)), fetch=False)
    assert SECRET not in str(error.value)
    if shape(table) is table:
        assert "put it into an environment variable and write $NAME" in str(error.value)


def test_the_front_door_takes_secrets_and_shows_and_writes_none(
    site, capsys, tmp_path, monkeypatch, chinchilla_runs
):
    runs = chinchilla_runs(noise=0.005)[["n_params", "n_samples", "loss"]]
    site.answers["/runs.csv"] = answer(runs.set_axis(["n", "d", "loss"], axis=1).to_csv())
    monkeypatch.chdir(tmp_path)
    url = f"http://ann:{SECRET}@{site.host}/runs.csv?token={SECRET}"
    assert main(["law", url, "--bootstrap", "0", "--max-seconds", "30", "--max-mib", "1"]) == 0
    output = capsys.readouterr()
    assert f"http://{site.host}/runs.csv?token=***: 35 rows" in output.out
    assert len(site.requests) == 1
    assert (tmp_path / "runs-law" / "law.png").is_file()
    assert main(["law", url, "--max-mib", "0.001"]) == 2
    assert main(["law", url, "--max-mib", "-1"]) == 2
    assert main(["law", url, "--columns", "loss=none"]) == 2
    told_too = capsys.readouterr()
    assert "max_mib = 0.001 MiB" in told_too.err
    written = b"".join(f.read_bytes() for f in tmp_path.rglob("*") if f.is_file())
    names = " ".join(map(str, tmp_path.rglob("*")))
    assert SECRET not in output.out + output.err + told_too.out + told_too.err + names
    assert SECRET.encode() not in written


def test_a_frame_needs_no_source():
    frame = pd.DataFrame({"size": [1e6], "seen": [1e8], "val_loss": [3.0]})
    assert len(read_runs(frame, COLUMNS)) == 1
