"""Networks that name other files, or run without end, are refused before any library opens them."""

import numpy as np
import pytest

from tuningfork.model.bundle import open_bundle
from tuningfork.model.onnx_check import NetworkError, check_onnx
from tuningfork.model.runtime import open_network

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper

IMAGES = helper.make_tensor_value_info("pictures", TensorProto.FLOAT, ["N", 3, 4, 4])
LOGITS = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])


def tensor(name="w", *, external=False):
    out = numpy_helper.from_array(np.ones(3, np.float32), name)
    if external:
        out.ClearField("raw_data")
        out.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "../../etc/passwd"), ("offset", "0"), ("length", "12")):
            entry = out.external_data.add()
            entry.key, entry.value = key, value
    return out


def model(nodes=(), initializers=(), **options):
    base = [helper.make_node("ReduceMean", ["pictures"], ["m"], axes=[2, 3], keepdims=0)]
    base += [*nodes, helper.make_node("Identity", ["m"], ["logits"])]
    graph = helper.make_graph(base, "g", [IMAGES], [LOGITS], list(initializers))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8, **options)


def inner_graph(external):
    node = helper.make_node("Constant", [], ["c"], value=tensor(external=external))
    return helper.make_graph([node], "inner", [], [helper.make_tensor_value_info("c", TensorProto.FLOAT, [3])])


def subgraph(external):
    return helper.make_node("Custom", ["m"], ["x"], body=inner_graph(external))


def sparse(external):
    indices = numpy_helper.from_array(np.arange(3, dtype=np.int64), "i")
    values = helper.make_sparse_tensor(tensor(external=external), indices, [3])
    return helper.make_node("Constant", [], ["s"], sparse_value=values)


def function(external):
    node = helper.make_node("Constant", [], ["c"], value=tensor(external=external))
    opset = [helper.make_opsetid("", 13)]
    return helper.make_function("", "F", [], ["c"], [node], opset)


PLACES = {
    "initializer": lambda external: model(initializers=[tensor(external=external)]),
    "attribute": lambda external: model([helper.make_node("Constant", [], ["c"], value=tensor(external=external))]),
    "subgraph": lambda external: model([subgraph(external)]),
    "sparse tensor": lambda external: model([sparse(external)]),
    "function": lambda external: model(functions=[function(external)]),
}


@pytest.mark.parametrize("place", PLACES)
def test_external_data_is_refused_wherever_it_is(place):
    check_onnx(PLACES[place](False).SerializeToString())
    with pytest.raises(NetworkError, match="another file"):
        check_onnx(PLACES[place](True).SerializeToString())
    with pytest.raises(NetworkError, match="another file"):
        open_network(PLACES[place](True).SerializeToString())


def test_a_location_without_its_mark_is_refused_too():
    """ONNX Runtime reads the field that comes last; the check refuses any trace."""
    marked = tensor(external=True)
    marked.data_location = TensorProto.DEFAULT
    with pytest.raises(NetworkError, match="another file"):
        check_onnx(model(initializers=[marked]).SerializeToString())


@pytest.mark.parametrize("operator", ["Loop", "Scan", "If", "SequenceMap"])
def test_control_flow_is_refused(operator):
    node = helper.make_node(operator, ["m"], ["x"], body=inner_graph(False))
    with pytest.raises(NetworkError, match=f"{operator} can run without end"):
        check_onnx(model([node]).SerializeToString())


def test_operators_of_other_libraries_are_refused():
    with pytest.raises(NetworkError, match=r"com\.evil"):
        check_onnx(model([helper.make_node("Run", ["m"], ["x"], domain="com.evil")]).SerializeToString())


def test_graphs_that_are_nested_without_end_are_refused():
    graph = inner_graph(False)
    for _ in range(15):
        graph = helper.make_graph([helper.make_node("Custom", [], ["x"], body=graph)], "g", [], [])
    nested = model([helper.make_node("Custom", ["m"], ["x"], body=graph)])
    with pytest.raises(NetworkError, match="nested"):
        check_onnx(nested.SerializeToString())


def test_no_damage_escapes_as_another_error():
    data = model([sparse(False), subgraph(False)], [tensor()]).SerializeToString()
    rng = np.random.default_rng(0)
    for _ in range(500):
        damaged = bytearray(data)
        for at in rng.integers(0, len(data), 3):
            damaged[at] = rng.integers(256)
        try:
            check_onnx(bytes(damaged[: rng.integers(1, len(data) + 1)]))
        except NetworkError as error:
            assert str(error)  # noqa: PT017


@pytest.mark.parametrize("name", ["default", "fast"])
def test_the_shipped_networks_pass(name):
    for network in open_bundle(name).networks:
        check_onnx(network.onnx)


def test_an_error_while_running_is_one_clear_line():
    network = open_network(model().SerializeToString())
    with pytest.raises(NetworkError, match="failed while running") as caught:
        network.run(["logits"], np.zeros((1, 3, 5, 5), np.float32))
    assert "\n" not in str(caught.value)
