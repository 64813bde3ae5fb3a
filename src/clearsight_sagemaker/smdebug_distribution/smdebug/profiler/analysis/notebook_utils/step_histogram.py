"""StepHistogram under the import path of smdebug."""

from smdebug.profiler.analysis.notebook_utils.histograms import StepDurations as StepHistogram

__all__ = ["StepHistogram"]
