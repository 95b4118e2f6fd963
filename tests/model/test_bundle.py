"""A model's folder is opened whole and unchanged, or not at all."""

from __future__ import annotations

import ast
import json
import math
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tuningfork
from tuningfork.images.preprocess import Preprocess
from tuningfork.model import bundle as bundle_module
from tuningfork.model.bundle import Bundle, BundleError, Network, Outputs, builtin_models, open_bundle, write_bundle
from tuningfork.model.bundle_json import MAX_JSON_BYTES, digest_of
from tuningfork.model.calibration import Calibration
from tuningfork.model.out_of_domain import fit_novelty_detector
from tuningfork.votes.tree import Answer, ClassRule, DecisionTree, Question
from tuningfork.votes.tree_files import load_tree

QUICK = settings(max_examples=60, derandomize=True)
SOURCES = Path(tuningfork.__file__).parent
DOMAIN = fit_novelty_detector(np.random.default_rng(0).normal(size=(300, 15)))

SMALL_TREE = DecisionTree(
    "small",
    "Größe",
    "nobody 2026",
    (Question("smooth", "Is it smooth?", (Answer("yes", "yes", "A"), Answer("no", "no", "B"))),),
    (ClassRule("round", "round", (("A", 0.5),)),),
)


def small(**changes: Any) -> Bundle:
    networks = (
        Network(bytes(range(256)), Preprocess(size=16), "first"),
        Network(b"second network", Preprocess(crop=0.75, size=32, filter="lanczos"), "second"),
    )
    content = {
        "name": "small",
        "title": "A small model",
        "description": "Two networks – an “ensemble”",
        "licence": "CC-BY-4.0",
        "tree": SMALL_TREE,
        "networks": networks,
        "n_views": 4,
        "training": {"galaxies": 3, "sha256": "ab" * 32},
        "figures": {"rmse": {"value": 0.1, "low": 0.09, "high": 1.1e-1}, "none": None},
        "versions": {"numpy": "2.0"},
        "attribution": ("SDSS", "Galaxy Zoo"),
    }
    return Bundle(**{**content, **changes})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bundle(small(), tmp_path / "model")


def rewritten(folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """Change the description and give it the digest of its new content, as an attacker would."""
    path = folder / "bundle.json"
    content = json.loads(path.read_text("utf-8"))
    change(content)
    del content["sha256"]
    content["sha256"] = digest_of(content)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return folder


def refused(folder: Path) -> str:
    with pytest.raises(BundleError) as caught:
        open_bundle(folder)
    message = str(caught.value)
    assert message.startswith(str(folder))
    assert "\n" not in message
    return message


def opened(folder: Path) -> Bundle | str:
    """The bundle, or the reason why it is not opened."""
    try:
        return open_bundle(folder)
    except BundleError as error:
        return str(error)


# ---------------------------------------------------------------- there and back


def test_a_bundle_comes_back_as_it_was(folder: Path) -> None:
    again = open_bundle(folder)
    assert again == small()
    assert again.sha256 == small().sha256
    assert again.networks[1].preprocess == Preprocess(crop=0.75, size=32, filter="lanczos")


def test_a_folder_holds_one_json_and_its_networks(folder: Path) -> None:
    assert sorted(os.listdir(folder)) == ["bundle.json", "network-0.onnx", "network-1.onnx"]
    assert (folder / "network-0.onnx").read_bytes() == bytes(range(256))
    assert open_bundle(str(folder)) == open_bundle(folder)


@given(
    name=st.text(min_size=1, max_size=10),
    figures=st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False, allow_infinity=False) | st.integers()),
    views=st.sampled_from([1, 2, 4, 8]),
    crop=st.floats(0.01, 1),
    data=st.binary(min_size=1, max_size=50),
)
@settings(QUICK, max_examples=30)
def test_any_bundle_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, name: str, figures: dict, views: int, crop: float, data: bytes
) -> None:
    network = Network(data, Preprocess(crop=crop), name)
    bundle = small(name=name, figures=figures, n_views=views, networks=(network,))
    assert open_bundle(write_bundle(bundle, tmp_path_factory.mktemp("any"))) == bundle


@pytest.mark.parametrize("name", builtin_models())
def test_the_models_that_come_with_the_package_can_be_moved(tmp_path: Path, name: str) -> None:
    bundle = open_bundle(name)
    assert open_bundle(write_bundle(bundle, tmp_path / "moved")) == bundle
    assert bundle.tree == load_tree(bundle.tree.name)
    assert bundle.licence
    assert bundle.attribution


def test_a_bundle_may_be_written_over_an_old_one(folder: Path) -> None:
    other = small(networks=small().networks[::-1], title="Another")
    assert open_bundle(write_bundle(other, folder)) == other


def test_every_part_counts_in_the_digest() -> None:
    digests = {
        small().sha256,
        small(title="x").sha256,
        small(n_views=8).sha256,
        small(tree=load_tree("gz2")).sha256,
        small(networks=small().networks[:1]).sha256,
        small(networks=(Network(b"x", Preprocess(size=16), "first"), small().networks[1])).sha256,
        small(networks=(replace(small().networks[0], preprocess=Preprocess(size=17)), small().networks[1])).sha256,
    }
    assert len(digests) == 7


@pytest.mark.parametrize("figures", [{"f1": math.nan}, {"f1": math.inf}, {"f1": np.float32(1)}, {"f1": {1, 2}}])
def test_figures_that_json_cannot_hold_leave_the_old_model(folder: Path, figures: dict) -> None:
    with pytest.raises((ValueError, TypeError)):
        write_bundle(small(figures=figures, networks=(Network(b"new", Preprocess()),)), folder)
    assert open_bundle(folder) == small()


def test_a_full_disk_leaves_no_half_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_bundle(small(), tmp_path / "model")
    assert os.listdir(tmp_path / "model") == []


# ---------------------------------------------------------------- damage


@pytest.mark.slow
def test_any_changed_byte_of_the_description_is_found(folder: Path) -> None:
    path = folder / "bundle.json"
    written = path.read_bytes()
    for at in range(len(written)):
        # One bit; of letters the one between capitals and small ones, of blanks the one between blank and tab.
        flip = 0x20 if written[at : at + 1].isalpha() and at % 2 else 0x01
        path.write_bytes(written[:at] + bytes([written[at] ^ flip]) + written[at + 1 :])
        found = opened(folder)
        assert not isinstance(found, Bundle), at
        assert found.startswith(str(path))


@pytest.mark.parametrize(("old", "new"), [('"views": 4', '"views":\t4'), ("0.09", "9e-2"), ("0.09", "9E-2")])
def test_another_spelling_of_the_same_content_is_not_what_was_written(folder: Path, old: str, new: str) -> None:
    path = folder / "bundle.json"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")
    with pytest.raises(BundleError, match="SHA-256"):
        open_bundle(folder)


def test_any_changed_byte_of_a_network_is_found(folder: Path) -> None:
    path = folder / "network-0.onnx"
    written = path.read_bytes()
    for at in range(len(written)):
        path.write_bytes(written[:at] + bytes([written[at] ^ 1]) + written[at + 1 :])
        with pytest.raises(BundleError, match=r"network-0\.onnx: its bytes differ.*copy the model again"):
            open_bundle(folder)


@given(st.data())
@settings(QUICK, max_examples=40)
def test_changed_bytes_of_a_real_model_are_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    source = SOURCES / "model" / "models" / builtin_models()[0]
    folder = tmp_path_factory.mktemp("real") / "model"
    shutil.copytree(source, folder)
    path = folder / data.draw(st.sampled_from(sorted(entry.name for entry in source.iterdir() if entry.is_file())))
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    found = opened(folder)
    assert found.startswith(str(path)) if isinstance(found, str) else found == open_bundle(source)
    shutil.rmtree(folder)


def test_a_truncated_description_is_refused(folder: Path) -> None:
    path = folder / "bundle.json"
    written = path.read_bytes()
    for end in range(0, len(written) - 1, 7):
        path.write_bytes(written[:end])
        assert refused(folder).startswith(str(path))


@pytest.mark.parametrize("change", [lambda data: b"", lambda data: data[:-1], lambda data: data + b"\0"])
def test_a_network_of_another_length_is_refused(folder: Path, change: Callable[[bytes], bytes]) -> None:
    path = folder / "network-1.onnx"
    path.write_bytes(change(path.read_bytes()))
    assert "network-1.onnx: its bytes differ" in refused(folder)


def test_networks_that_changed_places_are_found(folder: Path) -> None:
    first, second = folder / "network-0.onnx", folder / "network-1.onnx"
    first_bytes = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(first_bytes)
    assert "its bytes differ" in refused(folder)


def test_a_missing_network_is_named(folder: Path) -> None:
    (folder / "network-1.onnx").unlink()
    assert "network-1.onnx: cannot be read: No such file or directory; copy the model again" in refused(folder)


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: os.mkfifo(path)])
def test_a_network_that_is_no_file_does_not_block(folder: Path, make: Callable[[Path], None]) -> None:
    (folder / "network-1.onnx").unlink()
    make(folder / "network-1.onnx")
    assert "network-1.onnx: not a regular file" in refused(folder)


def test_too_large_a_network_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_module, "MAX_NETWORK_BYTES", 255)
    assert "network-0.onnx: larger than 255 bytes" in refused(folder)


@pytest.mark.parametrize("content", [
    b"",
    b"[]",
    b"5",
    b'"text"',
    b"null",
    b"{}",
    b'{"format": "another"}',
    b"{" + b"x" * 100,
    b"\xff\xfe{}",
    b'\xef\xbb\xbf{"format": "tuningfork-bundle"}',
    b"[" * 200_000,
    b'{"a":' * 200_000,
    b'{"format": "tuningfork-bundle", "version": 1, "name": "\\ud800"}',
    b'{"format": "tuningfork-bundle", "version": 1, "sha256": NaN, "x": NaN}',
    b'{"format": "tuningfork-bundle", "version": 1}',
    b'{"format": "tuningfork-bundle", "version": ' + b"9" * 10_000 + b"}",
])  # fmt: skip
def test_another_description_is_refused_with_a_remedy(folder: Path, content: bytes) -> None:
    (folder / "bundle.json").write_bytes(content)
    message = refused(folder)
    assert message.startswith(f"{folder / 'bundle.json'}: ")
    assert "again" in message or "name the folder" in message


def test_a_huge_description_is_not_read(folder: Path) -> None:
    with open(folder / "bundle.json", "wb") as file:
        file.truncate(MAX_JSON_BYTES + 1)
    assert "larger than 16777216 bytes" in refused(folder)


# ---------------------------------------------------------------- what this version cannot do


@pytest.mark.parametrize("version", [4, 0, "1", None, [1], 1.5])
def test_another_format_version_is_told(folder: Path, version: object) -> None:
    rewritten(folder, lambda content: content.update(version=version))
    message = refused(folder)
    assert f"format version {version!r}; this tuningfork reads versions 1…3" in message
    assert "upgrade tuningfork" in message


def test_a_calibration_that_is_not_known_is_told(folder: Path) -> None:
    rewritten(folder, lambda content: content.update(calibration={"kind": "isotonic"}))
    assert "calibrated in a way that this version does not know; upgrade tuningfork" in refused(folder)


@pytest.mark.parametrize("parts", [
    {}, [], 5, True, {"kind": "isotonic"}, {"domain": None, "kind": 1}, {"domain": {}}, {"domain": []}, {"domain": 5},
    {"intervals": {}}, {"intervals": 5}, {"intervals": {"level": 0.9, "voters": 40.0, "views": 4, "questions": {}}},
    {"classes": {}}, {"classes": [1.0]}, {"classes": {"temperature": 0.0, "galaxies": 5}},
    {"domain": {**DOMAIN.to_dict(), "rate": 2}}, {"domain": {**DOMAIN.to_dict(), "statistics": ["sky"]}},
])  # fmt: skip
def test_a_calibration_that_makes_no_sense_is_refused(tmp_path: Path, parts: object) -> None:
    folder = write_bundle(small(calibration=Calibration(domain=DOMAIN)), tmp_path / "model")
    rewritten(folder, lambda content: content.update(calibration=parts))
    assert refused(folder).startswith((f"{folder}/bundle.json: calibration", f"{folder}/bundle.json: intervals"))


def test_a_calibrated_bundle_comes_back_as_it_was(tmp_path: Path) -> None:
    bundle = small(calibration=Calibration(domain=DOMAIN))
    folder = write_bundle(bundle, tmp_path / "calibrated")
    assert open_bundle(folder) == bundle
    assert json.loads((folder / "bundle.json").read_text("utf-8"))["version"] == 3


def test_a_description_too_large_to_open_is_not_written(folder: Path) -> None:
    with pytest.raises(BundleError, match="could not be opened again"):
        write_bundle(small(description="x" * MAX_JSON_BYTES), folder)
    assert open_bundle(folder) == small()


def test_a_calibration_without_parts_is_none(tmp_path: Path) -> None:
    assert open_bundle(write_bundle(small(calibration=Calibration()), tmp_path / "model")) == small()


def test_old_forms_are_written_as_they_were(tmp_path: Path) -> None:
    for name in builtin_models():
        source = SOURCES / "model" / "models" / name
        folder = write_bundle(open_bundle(source), tmp_path / name)
        assert (folder / "bundle.json").read_bytes() == (source / "bundle.json").read_bytes()
    folder = write_bundle(small(outputs=Outputs("sigmoid", False)), tmp_path / "second")
    assert json.loads((folder / "bundle.json").read_text("utf-8"))["version"] == 2


def test_a_preprocessing_that_is_not_known_is_told(folder: Path) -> None:
    rewritten(folder, lambda content: content["networks"][1]["preprocess"].update(zoom=2))
    assert "'zoom' is not known to this version; upgrade tuningfork" in refused(folder)


@pytest.mark.parametrize("key", Preprocess().to_dict())
def test_no_default_stands_for_a_missing_preprocessing(folder: Path, key: str) -> None:
    rewritten(folder, lambda content: content["networks"][0]["preprocess"].pop(key))
    assert f"{key!r} is missing" in refused(folder)


@pytest.mark.parametrize("views", [0, 3, 16, "4", [1], None, 1.0, True])
def test_another_number_of_views_is_told(folder: Path, views: object) -> None:
    rewritten(folder, lambda content: content.update(views=views))
    assert "must be one of 1, 2, 4, 8" in refused(folder)


@pytest.mark.parametrize("name", [
    "../outside.onnx", "/etc/passwd", "sub/network.onnx", "..", ".", "", "bundle.json", "network", "a\0.onnx",
    "x" * 300 + ".onnx", 5, None, ["network-0.onnx"], "C:\\network.onnx", "..\\outside.onnx",
])  # fmt: skip
def test_a_network_outside_the_folder_is_never_read(folder: Path, name: object) -> None:
    (folder.parent / "outside.onnx").write_bytes(b"second network")
    rewritten(folder, lambda content: content["networks"][1].update(file=name))
    assert "its bytes differ" not in refused(folder)


@pytest.mark.parametrize("key", ["name", "title", "description", "licence", "attribution", "tree", "networks", "views",
                                 "calibration", "training", "figures", "versions"])  # fmt: skip
def test_a_missing_entry_is_named(folder: Path, key: str) -> None:
    rewritten(folder, lambda content: content.pop(key))
    message = refused(folder)
    assert f"entry {key!r} is missing" in message
    assert "copy the model again" in message


@pytest.mark.parametrize("value", [5, "text", None, [5], {"a": 5}, [None], [[]], -1.5, True])
@pytest.mark.parametrize("key", ["name", "attribution", "tree", "networks", "training", "figures", "versions"])
def test_an_entry_of_another_form_is_refused(folder: Path, key: str, value: object) -> None:
    rewritten(folder, lambda content: content.update({key: value}))
    allowed = {"name": str, "attribution": list, "training": dict, "figures": dict, "versions": dict}
    if isinstance(value, allowed.get(key, ())):
        assert open_bundle(folder).sha256
    else:
        assert "bundle.json: " in refused(folder)


@pytest.mark.parametrize("key", ["file", "sha256", "architecture", "preprocess"])
def test_a_missing_entry_of_a_network_is_named(folder: Path, key: str) -> None:
    rewritten(folder, lambda content: content["networks"][0].pop(key))
    assert f"entry '{key}' is missing" in refused(folder)


@pytest.mark.parametrize("count", [0, 101])
def test_the_number_of_networks_is_bounded(folder: Path, count: int) -> None:
    rewritten(folder, lambda content: content.update(networks=content["networks"][:1] * count))
    assert f"{count} networks; 1…100 are expected" in refused(folder)


@pytest.mark.parametrize("change", [
    lambda tree: tree.pop("questions"),
    lambda tree: tree.update(questions=[]),
    lambda tree: tree.update(questions=5),
    lambda tree: tree["questions"].append(5),
    lambda tree: tree["questions"][0].update(parent=["A"]),
    lambda tree: tree["questions"][0].update(parent="Z"),
    lambda tree: tree["questions"][0]["answers"][0].update(next="smooth"),
    lambda tree: tree["questions"][0]["answers"][0].update(column="B"),
    lambda tree: tree["classes"][0].update(all_of={"A": "many"}),
    lambda tree: tree["classes"][0].update(all_of=[1]),
    lambda tree: tree.update(values="percent"),
    lambda tree: tree.update(name=5),
])  # fmt: skip
def test_an_impossible_tree_is_refused(folder: Path, change: Callable[[dict], object]) -> None:
    rewritten(folder, lambda content: change(content["tree"]))
    assert "bundle.json: " in refused(folder)


# ---------------------------------------------------------------- no such model


@pytest.mark.parametrize("name", ["none", "", "none/none", "x" * 5000, "a\0b", "default/bundle.json"])
def test_a_name_without_a_model_lists_those_there_are(name: str) -> None:
    with pytest.raises(BundleError, match="neither a model that comes with tuningfork") as caught:
        open_bundle(name)
    assert all(known in str(caught.value) for known in builtin_models())


def test_a_folder_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"nor a folder with a bundle\.json"):
        open_bundle(tmp_path)


# ---------------------------------------------------------------- never unpickled


class Trap:
    sprung = False

    def __reduce__(self) -> tuple:
        return setattr, (Trap, "sprung", True)


def test_a_pickle_in_the_folder_is_never_opened(folder: Path) -> None:
    for name in ("bundle.json", "network-0.onnx", "model.pkl"):
        (folder / name).write_bytes(pickle.dumps(Trap()))
    refused(folder)
    assert not Trap.sprung


UNPICKLING = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


#: Messages between processes that we started ourselves, over private pipes or a cluster's own store; never a file.
OWN_PROCESSES = {"_utils/processes.py", "pipeline/ray/stages.py"}


@pytest.mark.parametrize("path", sorted(SOURCES.rglob("*.py")), ids=lambda path: path.relative_to(SOURCES).as_posix())
def test_nothing_in_the_sources_unpickles(path: Path) -> None:
    allowed = {"pickle"} if path.relative_to(SOURCES).as_posix() in OWN_PROCESSES else set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            assert not (UNPICKLING - allowed) & {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in UNPICKLING
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            told = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert told.get("allow_pickle", "False") == "False"
            assert not called.endswith((".read_pickle", ".unsafe_load"))
            if called in ("torch.load", "torch.hub.load") or called.endswith("load_from_checkpoint"):
                assert told.get("weights_only") == "True", f"line {node.lineno}"


def test_card_and_licences_are_covered(tmp_path: Path) -> None:
    """A changed, lost or unlisted document of a bundle is refused, and changes its digest."""
    texts = {"CARD.md": "# small\n", "LICENSE": "MIT é\n"}
    bundle = small(documents=texts)
    assert bundle.sha256 != small().sha256
    folder = write_bundle(bundle, tmp_path / "model")
    assert open_bundle(folder).documents == texts
    assert open_bundle(folder) == bundle
    for spoil in (lambda p: p.write_text("MIT e\n"), lambda p: p.unlink(), lambda p: p.write_bytes(b"\xff\n")):
        write_bundle(bundle, folder)
        spoil(folder / "LICENSE")
        assert "LICENSE" in refused(folder)


@pytest.mark.parametrize("name", ["../LICENSE", "a/b", "network-0.onnx", "bundle.json"])
def test_documents_of_other_folders_are_refused(folder: Path, name: str) -> None:
    rewritten(folder, lambda content: content.update(documents={name: "0" * 64}))
    assert "not a plain file name" in refused(folder)
