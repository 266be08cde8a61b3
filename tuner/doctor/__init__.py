"""Looks at a machine, its storage and a study, and says of each thing how it is to be mended."""

from tuner.doctor.examination import Examination, Patient
from tuner.doctor.finding import Finding, Status, exit_code

__all__ = ["Examination", "Patient", "Finding", "Status", "exit_code"]
