"""Runs in Evidently's environment: its `DataDriftPreset` on columns that lie in a folder.

For each line, a folder and the method for numbers (`default` for Evidently's own choice), it
answers with the CPU seconds of one report. The columns are read, and everything is imported,
before the first of them; a folder's columns are read once.
"""

from __future__ import annotations

import gc
import sys
import time
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset

CATEGORIES = ("error",)


@lru_cache(maxsize=2)
def windows(folder: str) -> tuple[Dataset, Dataset]:
    """The baseline and the current window."""
    return read(Path(folder) / "baseline"), read(Path(folder) / "current")


def read(folder: Path) -> Dataset:
    columns = {path.stem: np.load(path) for path in sorted(folder.glob("*.npy"))}
    numbers = [name for name in columns if name not in CATEGORIES]
    kinds = DataDefinition(numerical_columns=numbers, categorical_columns=list(CATEGORIES))
    return Dataset.from_pandas(pd.DataFrame(columns), data_definition=kinds)


def cpu_seconds(folder: str, method: str) -> float:
    """Of one report on all columns. ValueError where it does not tell of each of them."""
    baseline, current = windows(folder)
    preset = (
        DataDriftPreset()
        if method == "default"
        else DataDriftPreset(num_method=method, cat_method="chisquare")
    )
    gc.collect()
    begun = time.process_time()
    told = Report([preset]).run(current, baseline).dict()
    took = time.process_time() - begun
    columns = [row for row in told["metrics"] if "ValueDrift" in str(row["metric_name"])]
    if len(columns) != len(baseline.as_dataframe().columns):
        raise ValueError(f"a report on {len(columns)} columns")
    return took


def main() -> None:
    for line in sys.stdin:
        print(cpu_seconds(*line.split()), flush=True)


if __name__ == "__main__":
    main()
