"""MetricsHistogram under the import path of smdebug."""

from smdebug.profiler.analysis.notebook_utils.histograms import SystemValues as MetricsHistogram

__all__ = ["MetricsHistogram"]
