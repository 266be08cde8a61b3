"""Every format by name."""

from collections.abc import Mapping

from tuner.deliver.export.format import Format
from tuner.deliver.export.litert import LITERT
from tuner.deliver.export.manifest import FormatName
from tuner.deliver.export.onnx import ONNX
from tuner.deliver.export.saved_model import SAVED_MODEL

FORMATS: Mapping[FormatName, Format] = {each.name: each for each in (SAVED_MODEL, ONNX, LITERT)}
