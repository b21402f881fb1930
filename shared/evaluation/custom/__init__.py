"""Benchmarks that users define, as YAML or in Python.

`definition` is what one says, `document` and `checking` read it from a file, `environment` plays
it, `judging` says whether it was solved. Importing this package imports no browser.
"""

from shared.evaluation.custom.criteria import Criterion
from shared.evaluation.custom.definition import CustomBenchmark, CustomTask, Start

__all__ = ["Criterion", "CustomBenchmark", "CustomTask", "Start"]
