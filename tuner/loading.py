"""Load TensorFlow and Keras, and nothing beside them that takes time and memory."""

import importlib
import sys
from types import ModuleType


def load_tensorflow() -> None:
    """Load TensorFlow and Keras without scikit-learn, which Keras takes along where there is one.

    Only `keras.wrappers` needs it, which nothing here uses. It takes three tenths of the time in
    which both load, and 60 MB. scikit-learn itself can be imported afterwards.
    """
    if "sklearn" in sys.modules:
        return
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]  # None: not there
    modules["sklearn"] = None
    try:
        importlib.import_module("tensorflow")
        importlib.import_module("keras")
    finally:
        del modules["sklearn"]
