"""A server that answers as Amazon's S3 does, and what clients need to find it."""

import itertools
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import fsspec
from moto.server import ThreadedMotoServer

#: What a person would set: nobody needs the secret but who stores and reads.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "id-of-nobody",
    "AWS_SECRET_ACCESS_KEY": "hidden-from-trainers",
    "AWS_DEFAULT_REGION": "us-east-1",
}
_NUMBERS = itertools.count()


@contextmanager
def server() -> Iterator[str]:
    """Run one; give its address."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # each request would be a line
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    try:
        host, port = running.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        running.stop()


def new_bucket() -> str:
    """Make an empty bucket; give the URL of a folder in it."""
    name = f"bucket-{next(_NUMBERS)}"
    fsspec.filesystem("s3").mkdir(name)
    return f"s3://{name}/studies"


def names(url: str) -> list[str]:
    """List what lies below a URL, relative to it."""
    system, path = fsspec.core.url_to_fs(url)
    system.invalidate_cache()
    return sorted(name.removeprefix(f"{path}/") for name in system.find(path))
