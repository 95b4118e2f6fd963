"""Security check of ONNX files: nothing outside the file is read, and nothing can run without end.

The file is walked as protobuf wire format (https://protobuf.dev/programming-guides/encoding), with the field numbers
of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, so that neither the `onnx` package nor ONNX Runtime has
to trust it first.
"""

from __future__ import annotations

from collections.abc import Iterator

from .._utils.errors import TuningforkError

__all__ = ["NetworkError", "RuntimeUnavailable", "check_onnx"]

#: Operators that run a graph of their own, perhaps for ever; an exported image network has none.
CONTROL_FLOW = frozenset({"Loop", "Scan", "If", "SequenceMap"})
#: Domains of standard operators; others are code of some library.
DOMAINS = frozenset({"", "ai.onnx"})
MAX_NODES = 100_000
MAX_DEPTH = 20
MAX_NAME = 200

#: message → field → message that the field holds; other fields cannot hold a tensor.
_MESSAGES = {
    "Model": {7: "Graph", 20: "TrainingInfo", 25: "Function"},
    "TrainingInfo": {1: "Graph", 2: "Graph"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Function": {7: "Node", 11: "Attribute"},
    "Node": {5: "Attribute"},
    "Attribute": {
        5: "Tensor",
        6: "Graph",
        10: "Tensor",
        11: "Graph",
        22: "SparseTensor",
        23: "SparseTensor",
    },
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_OPERATOR, _DOMAIN = 4, 7


class RuntimeUnavailable(TuningforkError, ValueError):
    """The precision, device or engine is not available here; the message says what is missing."""


class NetworkError(TuningforkError, ValueError):
    """A network that cannot be opened or run; the message gives the reason."""


def check_onnx(onnx: bytes) -> None:
    """Raise NetworkError unless an ONNX file is complete in itself and has standard operators only.

    Tensors may not be EXTERNAL, in any graph, subgraph, function or attribute: another file's content is not covered
    by the SHA-256 of a bundle, and its path could name any file of the machine.
    """
    nodes = 0
    stack = [("Model", memoryview(onnx), 0)]
    while stack:
        message, content, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise NetworkError(f"its graphs are nested more than {MAX_DEPTH} deep")
        for number, value in _fields(content):
            if message == "Tensor" and (number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0)):
                raise NetworkError("a tensor lies in another file (EXTERNAL data); export the network as one file")
            if message == "Node" and number in (_OPERATOR, _DOMAIN):
                text = _text(value)
                if number == _DOMAIN and text not in DOMAINS:
                    raise NetworkError(f"operators of domain {text!r} are not run; only standard ones of ONNX")
                if number == _OPERATOR and text in CONTROL_FLOW:
                    raise NetworkError(f"operator {text} can run without end; export the network without control flow")
            inner = _MESSAGES[message].get(number)
            if inner and isinstance(value, memoryview):
                nodes += inner == "Node"
                if nodes > MAX_NODES:
                    raise NetworkError(f"more than {MAX_NODES} operators")
                stack.append((inner, value, depth + 1))


def _text(value: int | memoryview) -> str:
    return "" if isinstance(value, int) else bytes(value[:MAX_NAME]).decode("utf-8", "replace")


def _fields(content: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Field numbers of a message with their values: an integer, or the bytes of a message, text or array."""
    at, end = 0, len(content)
    while at < end:
        tag, at = _varint(content, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = _varint(content, at)
            yield number, value
            continue
        if kind not in (1, 2, 5):
            raise NetworkError("it is no ONNX file, or damaged")
        length = {1: 8, 5: 4}.get(kind)
        if length is None:
            length, at = _varint(content, at)
        if at + length > end:
            raise NetworkError("it is no ONNX file, or cut off")
        yield number, content[at : at + length]
        at += length


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(content):
            break
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise NetworkError("it is no ONNX file, or damaged")
