"""Condition of StalledTrainingRule: a job that saves nothing any more."""

from __future__ import annotations

import json

from pydantic import Field

from clearsight_sagemaker.rules.conditions.condition import Condition, SavedSteps


class StalledTrainingCondition(Condition):
    """Met where no tensor was saved for `threshold` seconds.

    stop_training_on_fire: stop the one job whose name begins with training_job_name_prefix.
    """

    threshold: float = Field(1800.0, gt=0)
    stop_training_on_fire: bool = False
    training_job_name_prefix: str = ""

    def at_step(self, saved: SavedSteps, step: int) -> str:
        self._points += 1
        return ""

    def when_idle(self, seconds: float) -> str:
        if seconds <= self.threshold:
            return ""
        return f"no tensor was saved for {seconds:.0f} s, longer than threshold={self.threshold:g}"

    @property
    def actions(self) -> str:
        """Return the actions that its parameters ask for, as JSON; "" for none."""
        if not self.stop_training_on_fire or not self.training_job_name_prefix:
            return ""
        return json.dumps({"name": "stoptraining", "training_job_prefix": self.training_job_name_prefix})
