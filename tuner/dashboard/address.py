"""Under which names the dashboard is known to browsers."""

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from tuner.errors import InputError

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where it listens and what people type."""

    #: Name or number of the interface.
    host: str
    #: The port there.
    port: int
    #: Address in a browser, without a path, such as ``https://tuner.example.org``.
    public: str
    #: Values of ``Host`` that are ours.
    hosts: frozenset[str]
    #: Values of ``Origin`` that are ours.
    origins: frozenset[str]

    @classmethod
    def of(cls, host: str, port: int, public_url: str | None) -> "Address":
        """Work out the names.

        Args:
            host: Where it listens.
            port: The port there.
            public_url: ``--public-url``: what a proxy shows it as.

        Raises:
            InputError: The public address is none, or has a path.
        """
        local = _names(host) | ({"localhost", "127.0.0.1", "[::1]"} if serves_here(host) else set())
        origins = {f"http://{_with_port('http', name, port)}" for name in local}
        public = f"http://{_with_port('http', _bracketed(host), port)}"
        if public_url is not None:
            public = _checked(public_url)
            origins = {public} if not is_loopback(host) else origins | {public}
        hosts = {origin.partition("://")[2] for origin in origins}
        for origin in origins:
            scheme, _, name = origin.partition("://")
            if _port_of(name) is None:
                hosts.add(f"{name}:{_DEFAULT_PORTS[scheme]}")
        return cls(
            host=host,
            port=port,
            public=public,
            hosts=frozenset(hosts),
            origins=frozenset(origins),
        )

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach it through TLS."""
        return self.public.startswith("https://")

    @property
    def is_local(self) -> bool:
        """Whether people reach it from this machine alone, also through a container's port."""
        return is_loopback(urlsplit(self.public).hostname or "")

    @property
    def cookie(self) -> str:
        """Name of the cookie: of its own for each port, as browsers share cookies among them.

        That is the port that browsers see, which a container's mapping or a proxy may change.
        """
        parts = urlsplit(self.public)
        name = f"tuner-{parts.port or _DEFAULT_PORTS[parts.scheme]}"
        return f"__Host-{name}" if self.is_secure else name


def is_loopback(host: str) -> bool:
    """Say whether only this machine reaches it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def serves_here(host: str) -> bool:
    """Say whether this machine reaches it by the name localhost."""
    return is_loopback(host) or host in {"0.0.0.0", "::", ""}  # noqa: S104 - asked, not bound


def _names(host: str) -> set[str]:
    return {_bracketed(host.lower())}


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _with_port(scheme: str, name: str, port: int) -> str:
    return name if port == _DEFAULT_PORTS[scheme] else f"{name}:{port}"


def _port_of(name: str) -> str | None:
    return name.rpartition("]")[2].partition(":")[2] or None


def _checked(url: str) -> str:
    wrong = InputError(
        f"--public-url: received {url!r}. Expected scheme and host as people type them, without a "
        f"path, such as https://tuner.example.org: optuna-dashboard cannot live under a path."
    )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise wrong from error
    plain = not (parts.path.strip("/") or parts.query or parts.fragment or parts.username)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or not plain:
        raise wrong
    name = _bracketed(parts.hostname.lower())
    return (
        f"{parts.scheme}://{_with_port(parts.scheme, name, port or _DEFAULT_PORTS[parts.scheme])}"
    )
