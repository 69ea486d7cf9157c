"""The quality of a video: figures computed here, without a download, and gates for broken ones.

`METRICS` says of each what it is; the formulas are in the module of each family.
"""

from .measure import METRICS, gates, measure, measure_and_gate, not_run
from .metric import Metric

__all__ = ["METRICS", "Metric", "gates", "measure", "measure_and_gate", "not_run"]
