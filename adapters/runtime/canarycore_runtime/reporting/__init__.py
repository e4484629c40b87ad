"""Reports of the runner to its developer: misuses at construction, and the troubles of adapters in the log."""

from canarycore_runtime.reporting.inspection import InvalidAdapters
from canarycore_runtime.reporting.troubles import ROLLOUT_LOGGER, TroubleLog

__all__ = ["ROLLOUT_LOGGER", "InvalidAdapters", "TroubleLog"]
