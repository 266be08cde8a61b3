"""optuna-dashboard behind our own sign-in: who may see what, and what it shows is true."""

from tuner.dashboard.access import Role
from tuner.dashboard.address import Address
from tuner.dashboard.app import DashboardApp
from tuner.dashboard.credentials import Credential, credential_line, read_credentials
from tuner.dashboard.server import Settings, serve

__all__ = [
    "Address",
    "Credential",
    "DashboardApp",
    "Role",
    "Settings",
    "credential_line",
    "read_credentials",
    "serve",
]
