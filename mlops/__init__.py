"""The public face: submit work and read what came of it.

import mlops

job = mlops.submit({"job": "run_benchmark", "models": ["my-agent@1.0.0"], "seeds": [1, 2, 3]})
job.wait()
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlops.client import Job, submit
    from mlops.config_manager import ConfigManager
    from mlops.cost_monitor import MLOpsCostMonitor
    from mlops.drift_detector import DataDriftDetector
    from mlops.experiment_tracker import ExperimentTracker
    from mlops.feature_store import FeatureStore
    from mlops.metrics import MetricsCollector
    from mlops.model_registry import ModelRegistry
    from shared.evaluation.custom import Criterion, CustomBenchmark, CustomTask, Start

__all__ = [
    "ConfigManager",
    "Criterion",
    "CustomBenchmark",
    "CustomTask",
    "DataDriftDetector",
    "ExperimentTracker",
    "FeatureStore",
    "Job",
    "MLOpsCostMonitor",
    "MetricsCollector",
    "ModelRegistry",
    "Start",
    "submit",
]

_MODULES = {
    "ConfigManager": "mlops.config_manager",
    "DataDriftDetector": "mlops.drift_detector",
    "ExperimentTracker": "mlops.experiment_tracker",
    "Job": "mlops.client",
    "MLOpsCostMonitor": "mlops.cost_monitor",
    "MetricsCollector": "mlops.metrics",
    "ModelRegistry": "mlops.model_registry",
    "FeatureStore": "mlops.feature_store",
    "submit": "mlops.client",
}


def __getattr__(name: str) -> Any:
    # `import mlops` costs nothing until something of it is used.
    if name in __all__:
        module = importlib.import_module(_MODULES.get(name, "shared.evaluation.custom"))
        return getattr(module, name)
    raise AttributeError(f"module 'mlops' has no attribute {name!r}")
