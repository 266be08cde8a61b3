"""ONNX: for ONNX Runtime and others, in nearly any language, also in a browser.

It has no way to cut texts into words that all runtimes share, so that it starts at ids.
"""

from pathlib import Path

from tuner.deliver.artifact import Artifact
from tuner.deliver.export.format import Format, check_size
from tuner.deliver.export.manifest import IDS, PROBABILITIES, Interface, Tensor

#: Name of the file.
FILE = "model.onnx"
TITLE = "ONNX"


def _check(artifact: Artifact) -> None:
    from tuner.deliver.export.onnx_net import OnnxNet

    check_size(artifact, TITLE)
    for classifier in artifact.classifiers:
        OnnxNet(classifier, "model")


def _write(artifact: Artifact, folder: Path) -> Interface:
    import onnx

    from tuner.deliver.export.onnx_graph import Graph
    from tuner.deliver.export.onnx_net import OnnxNet, as_int64

    graph = Graph()
    ids = as_int64(graph, IDS)
    each = [
        OnnxNet(classifier, f"model_{number}").write(graph, ids)
        for number, classifier in enumerate(artifact.classifiers, start=1)
    ]
    graph.add("Mean", *each, output=PROBABILITIES)
    given = Tensor(name=IDS, dtype="int32", shape=("batch", "words"))
    result = Tensor(name=PROBABILITIES, dtype="float32", shape=("batch", len(artifact.classes)))
    model = graph.finish(
        given=(given.name, given.shape), result=(result.name, result.shape), name="classifier"
    )
    onnx.save(model, folder / FILE)
    return Interface(takes="ids", input=given, output=result)


def _runtime() -> str:
    import onnxruntime

    return f"ONNX Runtime {onnxruntime.__version__}"


ONNX = Format(
    name="onnx",
    title=TITLE,
    modules=("onnx", "onnxruntime"),
    runtime=_runtime,
    notes=(
        f"`{FILE}` has operators of ONNX's opset 17 alone, none of a vendor's.",
        "It takes any number of texts at once, padded with 0 on the right to the longest, and cuts "
        "longer ones itself.",
    ),
    check=_check,
    write=_write,
)
