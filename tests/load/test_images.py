"""Images from IDX files to rows: content, sides, duplicates, and files that cannot be used."""

from __future__ import annotations

import gzip
from collections import Counter
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hub_site import HubSite, only_hub
from idx_files import NAMES, idx, small_images, write_images

from isoloss.core import registry, tables
from isoloss.core.problems import IsolossError, StudyError, TableError
from isoloss.core.tokens import map_tokens, token_writer
from isoloss.datasets import fashion_mnist, idx_images
from isoloss.expand import job as expand_job
from isoloss.load import Writers, identity, job, load_rows
from isoloss.load import pieces as pieces_module
from isoloss.load.content import refresh
from isoloss.study import check
from isoloss.tasks._dataset import read_dataset


def load(out, card="idx_images", **options):
    """Rows, audit and the dataset of a card's options."""
    dataset = {"card": card, "options": registry.defaults("dataset", card) | options}
    files = job.run(
        {
            "dataset": {**dataset, "valid_fraction": 0.3, "on_bad_row": "stop"},
            "seed": 7,
            "content": None,
        },
        out,
        {},
        out,
    )
    rows, audit = tables.frame(files[0], "rows"), tables.frame(files[1], "audit")
    return rows, audit, read_dataset(files[0], files[3])


@pytest.mark.parametrize("packed", [False, True])
def test_an_image_is_a_row_with_its_pixels_label_class_and_side(tmp_path, packed):
    options = write_images(tmp_path, packed=packed)
    rows, _, dataset = load(tmp_path / "out", **options)
    assert list(rows["split"]) == ["valid"] * 20 + ["train"] * 60
    images, labels = (
        np.concatenate(both) for both in zip(small_images(20, 2), small_images(60, 1), strict=True)
    )
    assert np.array_equal(dataset.tokens.values, images)
    assert np.array_equal(dataset.labels, labels)
    assert dataset.tokens.values.dtype == np.uint8
    assert [list(features) for features in rows["features"]] == images.reshape(80, -1).tolist()
    assert rows["label"].tolist() == labels.tolist()
    assert [dict(tags) for tags in rows["tags"]] == [{"class": str(label)} for label in labels]
    assert set(rows["n_tokens"]) == {1}
    assert rows["text"].isna().all()
    assert dataset.held_out["row"].to_pylist() == list(range(20))


def test_the_identity_of_an_image_is_the_hash_of_its_pixels_and_label(tmp_path):
    rows, _, _ = load(tmp_path / "out", **write_images(tmp_path))
    one = rows.iloc[5]
    content = one["features"] + int(one["label"]).to_bytes(8, "little", signed=True)
    assert one["row_id"] == blake2b(content, digest_size=16).hexdigest()


def test_classes_have_the_names_that_are_given(tmp_path):
    names = [f"thing {i}" for i in range(10)]
    rows, audit, _ = load(tmp_path / "out", **write_images(tmp_path), classes=names)
    assert [dict(t)["class"] for t in rows["tags"]] == [names[int(i)] for i in rows["label"]]
    counts = Counter(rows["label"])
    by_name = audit.set_index("tag_value")["rows_after"]
    assert all(by_name[names[int(label)]] == n for label, n in counts.items())


def test_without_test_files_a_share_of_the_images_is_the_validation_side(tmp_path):
    options = write_images(tmp_path)
    rows, _, _ = load(tmp_path / "out", images=options["images"], labels=options["labels"])
    assert len(rows) == 60
    assert 5 < (rows["split"] == "valid").sum() < 32


def test_a_training_image_that_is_in_the_test_files_is_dropped_and_reported(tmp_path, capsys):
    options = write_images(tmp_path)
    images, labels = small_images(60, 1)
    test_images, test_labels = small_images(20, 2)
    images[7], labels[7] = test_images[3], test_labels[3]
    images[9], labels[9] = test_images[4], test_labels[4] + 1  # another label: another row
    images[11], labels[11] = images[12], labels[12]  # on one side
    Path(options["images"]).write_bytes(idx(images))
    Path(options["labels"]).write_bytes(idx(labels))
    rows, audit, _ = load(tmp_path / "out", **options)
    assert rows["split"].value_counts().to_dict() == {"train": 58, "valid": 20}
    assert (audit["rows_before"].sum(), audit["rows_after"].sum()) == (80, 78)
    assert "1 row is left out: repeats a row of the other side (1)" in capsys.readouterr().err


def test_a_mixture_of_classes_is_a_weighting(tmp_path):
    options = write_images(tmp_path, n=400)
    rows, _, _ = load(tmp_path / "out", **options)
    weights = {"class": {"3": 2.0, "4": 0.0}}
    specification = {"weights": weights, "seed": 7}
    index, audit, _ = expand_job.run(
        specification, tmp_path / "out/rows.parquet", tmp_path / "expand", {}
    )
    index = tables.frame(index, "index")
    label = rows["label"].to_numpy()[index["row"]]
    assert set(label) == set(range(10)) - {4}
    assert (index["copies"].to_numpy() == np.where(label == 3, 2, 1)).all()
    counts = tables.frame(audit, "audit").set_index("tag_value")
    assert counts.loc["3", "tokens_after"] == 2 * (label == 3).sum()


def harmed(path: str, change) -> None:
    Path(path).write_bytes(change(Path(path).read_bytes()))


FAULTS = {
    "cut off": ("images", lambda c: c[:-5], r"byte 971: ends here, where 976 bytes are announced"),
    "cut off in its head": ("labels", lambda c: c[:6], "byte 6: ends here, where 8 bytes"),
    "empty": ("labels", lambda c: b"", "byte 0: ends here"),
    "longer": ("images", lambda c: c + b"x", "byte 976: goes on where its 960 values end"),
    "magic": ("images", lambda c: b"PK" + c[2:], "byte 0: begins with 504b0803; give an IDX file"),
    "axes": ("labels", lambda c: idx(small_images(60, 1)[0]), "byte 0: begins with 00000803"),
    "type": ("images", lambda c: c[:2] + b"\x0d" + c[3:], "byte 0: begins with 00000d03"),
    "nothing": ("images", lambda c: idx(np.zeros((0, 4, 4))), "byte 4: its size is 0 x 4 x 4"),
    "huge": ("images", lambda c: c[:4] + b"\xff" * 12, "byte 4: its size is 4294967295 x"),
    "lengths": ("labels", lambda c: idx(np.zeros(59)), "has 59 labels, where .* has 60 images"),
    "label": ("test_labels", lambda c: c[:-1] + b"\x0a", "byte 27: label 10 of image 19"),
    "packed, cut off": ("images", lambda c: gzip.compress(c)[:-20], "cannot be read"),
    "packed, damaged": (
        "images",
        lambda c: (p := bytearray(gzip.compress(c)), p.__setitem__(40, p[40] ^ 255))[0],
        "cannot be read",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_cannot_be_used_is_told_with_its_place(tmp_path, fault):
    option, change, message = FAULTS[fault]
    options = write_images(tmp_path)
    harmed(options[option], change)
    with pytest.raises(IsolossError, match=message) as error:
        load(tmp_path / "out", **options, classes=list("abcdefghij"))
    assert NAMES[option] in str(error.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_files_that_are_not_there_are_told_by_option(tmp_path):
    options = write_images(tmp_path)
    for option in options:
        with pytest.raises(IsolossError, match=f"idx_images, {option}: no file .*nowhere"):
            identity(
                "idx_images",
                registry.defaults("dataset", "idx_images") | options | {option: "nowhere"},
            )
    options["test_labels"] = ""
    with pytest.raises(IsolossError, match="test_labels: names no file; name both"):
        identity("idx_images", registry.defaults("dataset", "idx_images") | options)


def test_two_classes_of_one_name_are_refused_before_anything_is_read(tmp_path):
    dataset = {"card": "idx_images", "options": write_images(tmp_path)}
    dataset["options"]["classes"] = ["bag", "coat", "bag"]
    with pytest.raises(StudyError) as error:
        check.check({"study": "a", "load": {"clothes": dataset}})
    assert "load.clothes" in str(error.value)
    assert "labels 0 and 2 are both called 'bag'; give every class" in str(error.value)


def test_test_images_of_another_size_are_refused_with_their_file(tmp_path):
    (other := tmp_path / "other").mkdir()
    options = write_images(tmp_path)
    test = {k: v for k, v in write_images(other, size=5).items() if k.startswith("test")}
    with pytest.raises(IsolossError) as error:
        load(tmp_path / "out", **options | test)
    assert str(error.value) == (
        f"{test['test_images']}: its images are 5 x 5, where {options['images']} has images of"
        " 4 x 4; give test images of 4 x 4, or leave out the test files"
    )


def test_images_of_another_size_than_the_first_are_bad_rows(monkeypatch):
    kinds = [((4, 4), "u1"), ((4, 5), "u1"), ((4, 4), "u2"), ((4, 4), "u1")]
    pieces = [
        {"features": np.full(shape, i, kind), "label": i, "file": "a.png", "line": i + 1}
        | {"split": "train" if i else "valid"}
        for i, (shape, kind) in enumerate(kinds)
    ]
    monkeypatch.setattr(pieces_module, "BATCH_BYTES", 1)  # every piece is a batch
    monkeypatch.setattr(idx_images, "pieces", lambda **_: iter(pieces))
    dataset = {"card": "idx_images", "options": {}, "valid_fraction": 0.5, "on_bad_row": "stop"}
    kept, dropped = [], []
    writers = Writers(lambda rows, examples: kept.append(examples), dropped.append)
    with pytest.raises(IsolossError) as error:
        load_rows(dataset, 0, writers)
    reason = "an image of another size"
    assert f"2 rows cannot be used: {reason} (2)" in str(error.value)
    assert f"a.png:2: {reason} (4 x 5, where the first has 4 x 4)" in str(error.value)
    assert f"a.png:3: {reason} (4 x 4 uint16, where the first has 4 x 4)" in str(error.value)
    kept.clear()
    load_rows(dataset | {"on_bad_row": "drop"}, 0, writers)
    assert [len(examples) for examples in kept] == [1, 1]


def test_training_images_that_are_all_in_the_test_files_are_told_as_such(tmp_path):
    options = write_images(tmp_path)
    options |= {"images": options["test_images"], "labels": options["test_labels"]}
    with pytest.raises(IsolossError) as error:
        load(tmp_path / "out", **options)
    assert "all rows in the split 'train' repeat rows of the other side" in str(error.value)
    assert "valid_fraction" not in str(error.value)


def test_a_card_that_gives_all_rows_one_side_is_told_as_such(monkeypatch):
    one = {"features": np.zeros((4, 4), np.uint8), "label": 1, "tags": {}, "group": "a"}
    monkeypatch.setattr(idx_images, "pieces", lambda **_: iter([{**one, "split": "train"}]))
    dataset = {"card": "idx_images", "options": {}, "valid_fraction": 0.5, "on_bad_row": "stop"}
    with pytest.raises(IsolossError, match="puts none of its rows in the split 'valid'; give it"):
        load_rows(dataset, 0, Writers(lambda rows, examples: None, lambda dropped: None))


def test_images_of_several_shapes_do_not_go_into_one_file(tmp_path):
    with (
        pytest.raises(TableError, match=r"uint8 \(4, 5\) follows uint8 \(4, 4\)"),
        token_writer(tmp_path / "tokens.npy") as writer,
    ):
        writer.append(np.zeros((2, 4, 4), np.uint8))
        writer.append(np.zeros((2, 4, 5), np.uint8))
    assert not (tmp_path / "tokens.npy").exists()


@pytest.mark.parametrize("kind", ["uint8", "uint16", "int64"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 5)])
def test_whole_numbers_of_any_type_and_shape_are_mapped_as_they_were_written(tmp_path, kind, shape):
    values = np.random.default_rng(0).integers(0, 200, (7, *shape)).astype(kind)
    with token_writer(tmp_path / "tokens.npy") as writer:
        writer.append(values[:3])
        writer.append(values[3:])
    mapped = map_tokens(tmp_path / "tokens.npy").values
    assert mapped.dtype == values.dtype and np.array_equal(mapped, values)
    assert np.array_equal(np.load(tmp_path / "tokens.npy"), values)


@pytest.mark.parametrize("shape", ["(-2, -3)", "(2, 4)", "(6.0,)", "()"])
def test_a_file_whose_shape_is_not_that_of_its_numbers_is_refused(tmp_path, shape):
    with token_writer(path := tmp_path / "tokens.npy") as writer:
        writer.append(np.zeros((2, 3), np.uint8))
    head = path.read_bytes()
    assert b"(2, 3), " in head
    room = len("(2, 3), ") + 8
    before, after = b"(2, 3), }" + b" " * 8, f"{shape}, }}".encode()
    path.write_bytes(head.replace(before, after.ljust(room + 1), 1))
    with pytest.raises(TableError, match=r"tokens.npy.*is damaged"):
        map_tokens(path)


# Fashion-MNIST


def test_fashion_mnist_that_is_not_there_is_told_with_the_line_that_installs_it(tmp_path):
    with pytest.raises(IsolossError, match=r"no file t10k-.*apt-get install dataset-fashion-mnist"):
        identity("fashion_mnist", {"source": "files", "folder": str(tmp_path)}, fetched=tmp_path)


@pytest.mark.parametrize("packed", [False, True])
def test_fashion_mnist_is_read_from_a_folder(tmp_path, packed):
    write_images(tmp_path, packed=packed)
    rows, _, dataset = load(tmp_path / "out", "fashion_mnist", folder=str(tmp_path))
    assert list(rows["split"]) == ["valid"] * 20 + ["train"] * 60
    names = fashion_mnist.CLASSES.split()
    assert [dict(t)["class"] for t in rows["tags"]] == [names[i] for i in dataset.labels]


def test_fashion_mnist_has_its_70_000_images_and_7000_of_every_class(
    tmp_path, fashion_mnist_folder, capsys
):
    rows, audit, dataset = load(tmp_path, "fashion_mnist", folder=fashion_mnist_folder)
    assert dataset.tokens.values.shape == (70_000, 28, 28)
    assert rows["split"].value_counts().to_dict() == {"train": 60_000, "valid": 10_000}
    assert (np.bincount(dataset.labels) == 7000).all()
    assert (audit["rows_after"] == 7000).all()
    assert "dropped" not in capsys.readouterr().out  # it has no image twice
    # the mean pixel of the training images, as everybody normalises them
    assert dataset.tokens.values[10_000:].mean() / 255 == pytest.approx(0.2860, abs=1e-4)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub on loopback that has small sides."""
    datasets = pytest.importorskip("datasets")
    image = pytest.importorskip("PIL.Image")
    datasets.disable_progress_bars()
    names = [f"name {i}" for i in range(10)]  # the hub's own are not used
    kinds = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=names))
    files = {}
    for side, given in {"test": small_images(20, 2), "train": small_images(60, 1)}.items():
        columns = {"image": [image.fromarray(i) for i in given[0]], "label": given[1].tolist()}
        file = tmp_path / f"{side}.parquet"
        datasets.Dataset.from_dict(columns, features=kinds).to_parquet(str(file))
        files[f"{side}-00000-of-00001.parquet"] = file.read_bytes()
    with HubSite(fashion_mnist.HUB) as site:
        site.commit(files)
        only_hub(monkeypatch, site.url, tmp_path)
        yield site


def test_fashion_mnist_of_the_hub_is_that_of_the_files(tmp_path, hub):
    write_images(tmp_path)
    files, _, of_files = load(tmp_path / "files", "fashion_mnist", folder=str(tmp_path))
    rows, _, of_hub = load(tmp_path / "hub", "fashion_mnist", source="hub")
    pd.testing.assert_frame_equal(rows.drop(columns="file"), files.drop(columns="file"))
    assert np.array_equal(of_hub.tokens.values, of_files.tokens.values)
    asked = len(hub.requests)
    options = {"source": "hub", "folder": ""}
    assert identity("fashion_mnist", options, fetched=tmp_path / "hub")
    assert len(hub.requests) == asked  # it is kept
    refresh("fashion_mnist", options, tmp_path / "hub")
    assert len(hub.requests) > asked


def test_a_hub_without_its_package_or_without_network_is_told_with_what_to_do(
    tmp_path, monkeypatch
):
    options = {"source": "hub", "folder": ""}
    only_hub(monkeypatch, "http://127.0.0.1:9", tmp_path)
    with pytest.raises(IsolossError, match=r"127.0.0.1:9: cannot be reached .*check the network"):
        identity("fashion_mnist", options, fetched=tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(IsolossError, match=r"not installed; `pip install 'isoloss\[hub\]'` helps"):
        identity("fashion_mnist", options, fetched=tmp_path)
