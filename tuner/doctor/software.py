"""Python and its packages: are they those that tuner was made for?"""

import importlib.util
import platform
from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tuner.doctor.finding import Finding, fail, ok, unchecked
from tuner.doctor.probing import Probed
from tuner.host import PACKAGES

#: Packages that bring `import tensorflow`: two of them overwrite each other's files.
TENSORFLOWS = ("tensorflow", "tensorflow-cpu", "tf-nightly", "tf-nightly-cpu")
#: Shown besides those that change what a trial learns.
_SHOWN = (*PACKAGES, "sqlalchemy", "psycopg")
_AGAIN = "Install tuner again into a fresh virtual environment, as its README says."


def check_python() -> Iterator[Finding]:
    """Compare Python with the range that tuner is tested with."""
    here, package = platform.python_version(), _tuner()
    wanted = package["Requires-Python"] if package is not None else None
    if wanted is None:
        yield ok("Python", here)
    elif SpecifierSet(wanted).contains(here, prereleases=True):
        yield ok("Python", f"{here} (tuner needs {wanted})")
    else:
        yield fail(
            "Python",
            f"{here}, but tuner needs {wanted}.",
            "Make a virtual environment with such a Python and install tuner there.",
        )


def _tuner() -> metadata.PackageMetadata | None:
    try:
        return metadata.metadata("tuner")
    except metadata.PackageNotFoundError:
        return None


def check_packages() -> Iterator[Finding]:
    """Compare the packages that are installed with those that tuner asks for."""
    if _tuner() is None:
        yield unchecked("packages", "tuner itself is not installed, it runs from its sources")
        return
    wrong = []
    for line in metadata.requires("tuner") or ():
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        version = _version(wanted.name)
        if version is None and wanted.name == "tensorflow":  # the smaller wheel is as good
            version = _version("tensorflow-cpu")
        if version is None:
            wrong.append(f"{wanted.name} is missing, tuner needs {wanted.specifier}")
        elif not wanted.specifier.contains(version, prereleases=True):
            wrong.append(f"{wanted.name} is {version}, tuner needs {wanted.specifier}")
    if wrong:
        yield fail(
            "packages",
            f"{'; '.join(wrong)}.",
            _AGAIN,
        )
        return
    found = [f"{name} {version}" for name in _SHOWN if (version := _version(name))]
    yield ok("packages", ", ".join(found))


def check_tensorflow_packages() -> Iterator[Finding]:
    """See whether exactly one package brings TensorFlow."""
    found = [f"{name} {version}" for name in TENSORFLOWS if (version := _version(name))]
    names = " ".join(name for name in TENSORFLOWS if _version(name))
    if len(found) > 1:
        yield fail(
            "TensorFlow package",
            f"{' and '.join(found)} are both installed, and share one folder: whichever came last "
            f"has overwritten parts of the other.",
            f"`pip uninstall -y {names}`, then install the one you want: `tensorflow`, "
            f"or `tensorflow[and-cuda]` for GPUs.",
        )
    elif found:
        yield ok("TensorFlow package", found[0])
    else:
        here = " (`import tensorflow` finds one that no package brought)"
        yield fail(
            "TensorFlow package",
            f"none is installed{here if importlib.util.find_spec('tensorflow') else ''}.",
            _AGAIN,
        )


def check_tensorflow(probed: Probed) -> Iterator[Finding]:
    """Say whether TensorFlow can be imported.

    Args:
        probed: What became of it in a trainer's environment.
    """
    if probed.tensorflow:
        build = (
            f"built for CUDA {probed.cuda} and cuDNN {probed.cudnn}" if probed.cuda else "no CUDA"
        )
        yield ok(
            "TensorFlow",
            f"{probed.tensorflow} with Keras {probed.keras}, imported in {probed.seconds:.1f} s, "
            f"{build}",
        )
        return
    mend = _AGAIN
    if probed.death == "signal SIGILL":
        mend = "This build needs a processor with AVX: use another machine or another build."
    words = f": {probed.words}" if probed.words else ""
    yield fail("TensorFlow", f"`import tensorflow` ended with {probed.death}{words}.", mend)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
