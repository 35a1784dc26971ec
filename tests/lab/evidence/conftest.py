"""Run folders as for the tests of reports."""

from tests.lab.report.conftest import make_run

__all__ = ["make_run"]
