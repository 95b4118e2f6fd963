"""A model as one ONNX file: whatever the views, batch and outputs, its numbers are the package's."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")

import onnxruntime
from PIL import Image

import tuningfork
from tuningfork.images.preprocess import Preprocess
from tuningfork.model.bundle import Bundle, Network, Outputs
from tuningfork.model.calibration import Calibration
from tuningfork.model.class_calibration import ClassCalibration
from tuningfork.model.ensemble import FEATURES, INPUT, OUTPUT
from tuningfork.model.export import ExportError, export_onnx
from tuningfork.model.graph import GraphBuilder
from tuningfork.model.model import Model
from tuningfork.model.options import InferenceOptions
from tuningfork.simulation import draw, render
from tuningfork.votes.class_labels import class_tree

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "export.md"


def network(width: int, size: int, seed: int, *, opset: int = 18, features: bool = True) -> bytes:
    """A convolution that turned images change, a mean, a linear layer."""
    rng = np.random.default_rng(seed)
    graph = GraphBuilder(opset)
    graph.input(INPUT, np.float32, ["batch", 3, size, size])
    kernel = rng.normal(size=(6, 3, 3, 3)).astype(np.float32)
    seen = graph.add("Relu", graph.add("Conv", INPUT, kernel, strides=[2, 2]))
    flat = graph.add("Flatten", graph.add("GlobalAveragePool", seen))
    logits = graph.add("Gemm", flat, rng.normal(0, 2, (6, width)).astype(np.float32))
    graph.output(OUTPUT, logits, np.float32, ["batch", width])
    if features:
        graph.output(FEATURES, flat, np.float32, ["batch", 6])
    return graph.finish("small", {})


def bundle_of(tree, outputs=Outputs(), sizes=(16,), calibration=None, **options) -> Bundle:
    width = sum(outputs.widths(tree))
    networks = tuple(
        Network(network(width, size, seed, **options), Preprocess(size=size), "small")
        for seed, size in enumerate(sizes)
    )
    return Bundle(
        "small", "Small", "For a test", "BSD-3-Clause", tree, networks, outputs=outputs, calibration=calibration
    )


def differences(bundle: Bundle, file: bytes, n_views: int, batches=(0, 1, 3, 8)) -> float:
    """The largest one of any output and batch; every output is that of the package."""
    model = Model(bundle, threads=1, device="cpu")
    rows = [model.read(render(draw(3, index))) for index in range(max(batches))]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    largest = 0.0
    for count in batches:
        stacks = {
            each.name: np.stack([row.inputs[i] for row in rows])[:count] for i, each in enumerate(session.get_inputs())
        }
        got = dict(zip([each.name for each in session.get_outputs()], session.run(None, stacks), strict=True))
        whole = model.predict_loaded(rows[:count], InferenceOptions(n_views, embeddings="features" in got))
        for name, values in got.items():
            expected = whole.embeddings if name == "features" else getattr(whole, name)
            assert values.shape == expected.shape, name
            if count:
                largest = max(largest, float(np.abs(values - expected).max()))
        for name in ("cumulative", "class_probability", "no_class_probability", "rotation_spread", "network_spread"):
            assert name in got or np.isnan(getattr(whole, name)).all(), name
    return largest


def test_a_shipped_model_is_equal():
    bundle = tuningfork.load("fast").bundle
    assert differences(bundle, export_onnx(bundle, n_views=2), 2) < 1e-6


@pytest.mark.parametrize("kind", ["both", "votes", "sigmoid", "classes", "calibrated network", "calibrated votes"])
@pytest.mark.parametrize("n_views", [1, 2, 4, 8])
def test_all_outputs_and_ensembles_are_equal(gz2, kind, n_views):
    outputs = {"votes": Outputs("tree", False), "sigmoid": Outputs("sigmoid", True), "classes": Outputs("", True)}
    outputs["calibrated network"] = Outputs("", True)
    calibrations = {
        "calibrated network": ClassCalibration(0.6, (0.3,) * 3 + (-0.2,) * 4, source="network"),
        "calibrated votes": ClassCalibration(1.3, (-0.2, 0.9, 1.5, 0.1, 2.0, -0.6, 0.5), slope_above=0.6),
    }
    calibration = Calibration(classes=calibrations[kind]) if kind in calibrations else None
    bundle = bundle_of(gz2, outputs.get(kind, Outputs()), sizes=(16, 24, 16), calibration=calibration)
    assert differences(bundle, export_onnx(bundle, n_views=n_views), n_views) < 1e-6
    assert differences(bundle, export_onnx(bundle, n_views=n_views, tail="float32"), n_views) < 1e-5


@pytest.mark.parametrize("tree", ["gz_decals", "gz1", "own classes"])
def test_other_trees_and_networks_without_features(tree):
    tree = class_tree(["ring", "disc", "smooth"]) if tree == "own classes" else tuningfork.load_tree(tree)
    bundle = bundle_of(tree, Outputs("tree", bool(tree.classes)), features=False)
    assert differences(bundle, export_onnx(bundle, n_views=2), 2) < 1e-6


@pytest.mark.parametrize("opset", [17, 20])
def test_networks_of_other_opsets_are_brought_to_18(gz2, opset):
    bundle = bundle_of(gz2, opset=opset)
    file = export_onnx(bundle)
    assert [each.version for each in onnx.load_from_string(file).opset_import] == [18]
    assert differences(bundle, file, 1) < 1e-6


def test_an_operator_that_18_lacks_is_named(gz2):
    graph = GraphBuilder(20)
    graph.input(INPUT, np.float32, ["batch", 3, 16, 16])
    flat = graph.add("Flatten", graph.add("GlobalAveragePool", graph.add("Gelu", INPUT)))
    graph.output(OUTPUT, graph.add("Gemm", flat, np.ones((3, 44), np.float32)), np.float32, ["batch", 44])
    bundle = replace(bundle_of(gz2), networks=(Network(graph.finish("gelu", {}), Preprocess(size=16), "gelu"),))
    with pytest.raises(ExportError, match="operator Gelu is not in opset 18"):
        export_onnx(bundle)


def test_the_metadata_say_what_is_in_the_file(gz2):
    bundle = tuningfork.load("fast").bundle
    about = {each.key: each.value for each in onnx.load_from_string(export_onnx(bundle, n_views=4)).metadata_props}
    assert (about["licence"], about["sha256"], about["views"]) == (bundle.licence, bundle.sha256, "4")
    assert json.loads(about["columns"]) == list(gz2.columns)
    assert json.loads(about["inputs"])["images"] == bundle.networks[0].preprocess.to_dict()


def test_wrong_options_are_refused(gz2):
    for options in ({"n_views": 3}, {"tail": "float16"}):
        with pytest.raises(ValueError, match=r"n_views = 3|tail 'float16'"):
            export_onnx(bundle_of(gz2), **options)


def test_a_picture_of_another_size_is_refused(gz2):
    session = onnxruntime.InferenceSession(export_onnx(bundle_of(gz2)))
    with pytest.raises(Exception, match=r"images.*\n?.*16"):
        session.run(None, {"images": np.zeros((1, 17, 17, 3), np.uint8)})


def test_the_command_and_the_program_of_the_page(tmp_path, run, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    # An image to be mirrored, which its four rotations do not make up for.
    exif = Image.Exif()
    exif[0x0112] = 2
    Image.fromarray(render(draw(1, 4))).save("galaxy.jpg", quality=95, exif=exif)
    run("export", "fast", "-o", "model.onnx", "--views", "4")
    run("export", "fast", "-o", "model.onnx", code=1)  # exists
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    assert "tuningfork" not in program
    capsys.readouterr()
    exec(compile(program, "page", "exec"), {})
    votes, classes = capsys.readouterr().out.strip().splitlines()
    expected = tuningfork.load("fast", device="cpu").predict("galaxy.jpg", n_views=4)
    shown = json.loads(votes.replace("'", '"'))
    np.testing.assert_allclose(list(shown.values()), expected.cumulative, atol=5.1e-4)
    assert classes == f"{expected.class_name} {max(expected.classes.values()):.3f}"


def test_standard_output_holds_the_file_alone_and_quiet_is_quiet(tmp_path, monkeypatch, run):
    monkeypatch.setattr("tuningfork.model.export.export_onnx", lambda *_, **__: b"ONNX")
    done = run("export", "fast", "-o", "-", "--json")
    assert done.stdout == "ONNX"
    assert json.loads(done.stderr)["bytes"] == 4
    assert run("export", "fast", "-o", tmp_path / "a.onnx", "--quiet").output == ""
