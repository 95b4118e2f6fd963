"""From a trained network to ONNX with 16-bit weights, checked against PyTorch."""

from __future__ import annotations

import io
import logging
import warnings

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ..model.bundle import Outputs
from ..model.ensemble import FEATURES, INPUT, OUTPUT
from ..votes import fractions as votes
from ..votes.fractions import softmax
from ..votes.tree import DecisionTree
from .network import MorphologyNetwork

__all__ = ["deviation", "halved", "to_onnx", "with_features"]

#: Smaller tensors (biases, depthwise filters, early layers) keep 32 bits: they weigh little and reach far. Of a trained
#: MobileNetV2 (256 galaxies) 10,000 moved a fraction by 1.7e-3 at 4.9 MB, 60,000 by 7.6e-4 at 6.0 MB.
_LEAST = 60_000


def to_onnx(network: MorphologyNetwork, size: int) -> bytes:
    """ONNX bytes of a network: `images` (N, 3, size, size) float32 → `logits` (N, A + C), `features` (N, D) float32.

    Features are what the linear head stands on.
    """
    network = network.eval().cpu().to(memory_format=torch.contiguous_format)
    example = torch.zeros(2, 3, size, size)
    stream = io.BytesIO()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            verbose=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        )
        program.save(stream)
    model = onnx.load_from_string(stream.getvalue())
    del model.metadata_props[:]
    for node in model.graph.node:
        # The exporter notes source lines of its own run; they are no part of the model.
        del node.metadata_props[:]
        node.doc_string = ""
    return with_features(model.SerializeToString())


def with_features(data: bytes) -> bytes:
    """The same network with what its last layer stands on as a second output, `features`: a name, no computation.

    Raises
    ------
    ValueError
        If its logits do not come from a linear layer on (N, D) features.
    """
    model = onnx.load_from_string(data)
    graph = model.graph
    if FEATURES in [output.name for output in graph.output]:
        return data
    head = next(node for node in graph.node if OUTPUT in node.output)
    inner = head.input[0]
    shapes = {
        value.name: value.type.tensor_type.shape.dim
        for value in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    width = shapes[inner][-1].dim_value if head.op_type == "Gemm" and len(shapes.get(inner, ())) == 2 else 0
    if not width:
        raise ValueError(f"the logits come from {head.op_type}, not from a linear layer on pooled features")
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == inner:
                    names[place] = FEATURES
    # What the exporter noted of the tensor's shape under its former name.
    for value in [value for value in graph.value_info if value.name == inner]:
        graph.value_info.remove(value)
    batch = graph.output[0].type.tensor_type.shape.dim[0].dim_param
    graph.output.append(helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, [batch, width]))
    onnx.checker.check_model(model)
    return model.SerializeToString()


def halved(data: bytes) -> bytes:
    """The same network with its large float32 weights stored in 16 bits, widened again when it is opened."""
    model = onnx.load_from_string(data)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or int(np.prod(tensor.dims)) < _LEAST:
            continue
        values = numpy_helper.to_array(tensor)
        if np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    for position, node in enumerate(casts):
        model.graph.node.insert(position, node)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def deviation(
    network: MorphologyNetwork, tree: DecisionTree, outputs: Outputs, data: bytes, images: NDArray[np.float32]
) -> float:
    """Largest difference between PyTorch's and the ONNX bytes' fractions and probabilities of (N, 3, S, S) inputs."""
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (onnx_logits,) = session.run([OUTPUT], {INPUT: images})
    with torch.no_grad():
        torch_logits = network.eval()(torch.from_numpy(images)).numpy()
    answers, classes = outputs.widths(tree)
    largest = 0.0
    if answers:
        fractions = [
            votes.cumulative_from_logits(z[:, :answers], tree, outputs.votes) for z in (onnx_logits, torch_logits)
        ]
        largest = float(np.abs(fractions[0] - fractions[1]).max())
    if classes:
        chances = [softmax(z[:, answers:].astype(np.float64)) for z in (onnx_logits, torch_logits)]
        largest = max(largest, float(np.abs(chances[0] - chances[1]).max()))
    return largest
