"""CustomRule: a rule of the user, judged by a process in the environment of the job."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearsight.core.errors import BadValue
from clearsight_sagemaker.rules.rule_configuration import RuleConfiguration
from clearsight_sagemaker.rules.rule_status import CLEAR, ERROR, FOUND, RuleReporter, RuleVerdict, condition_met
from clearsight_sagemaker.training.objects import Objects
from clearsight_sagemaker.training.processes.job_process import JobProcess, Launch, Way
from smdebug.rules.action import parse_actions

_PROGRAM = Path(__file__).with_name("custom_rule_program.py")
_END_SECONDS = 20.0  # for a rule to judge the last steps


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleEnvironment:
    """Environment of custom rules, which is that of the job.

    work: folder for their files.  tensors: folder that smdebug writes.  variables: of the job.
    """

    work: Path
    tensors: Path
    python: Path
    variables: Mapping[str, str]
    way: Way
    no_network: bool


class CustomRule:
    """A rule of the user, whose process runs. Used by one thread.

    locate: returns the folder of an s3:// address. Raises BadValue for what cannot be done here, S3Error where the
    source is missing, OSError where the process does not start, and ValueError for wrong actions.
    """

    def __init__(
        self,
        configuration: RuleConfiguration,
        environment: RuleEnvironment,
        objects: Objects,
        reporter: RuleReporter,
        locate: Callable[[str], Path],
    ) -> None:
        self.configuration = configuration
        self.actions = parse_actions(configuration.actions)
        self.verdict: RuleVerdict | None = None
        if not configuration.source.endswith(".py"):
            raise BadValue(
                f"source_s3_uri {configuration.source}", "must be a file .py: other sources are not run here"
            )
        if not configuration.rule:
            raise BadValue(configuration.name, "has no rule_to_invoke", fix="Name the class of the source.")
        work = environment.work / configuration.name
        (work / "ml").mkdir(parents=True)
        (work / "mounts").mkdir()
        source = work / "custom_rule.py"
        with objects.opened(configuration.source) as (_, file), source.open("wb") as copy:
            shutil.copyfileobj(file, copy)
        self._result = work / "result.json"
        settings = work / "settings.json"
        settings.write_text(json.dumps(self._settings(source, environment, locate)), encoding="utf-8")
        self._process = JobProcess.start(
            Launch(
                command=[str(environment.python), str(_PROGRAM), str(settings)],
                environment=environment.variables,
                folder=str(work),
                work=work,
                way=environment.way,
                no_network=environment.no_network,
            ),
            reporter,
            lambda lines: None,
        )

    def _settings(self, source: Path, environment: RuleEnvironment, locate: Callable[[str], Path]) -> dict[str, Any]:
        parameters = dict(self.configuration.parameters)
        others = [uri.strip() for uri in parameters.pop("other_trials", "").split(",") if uri.strip()]
        return {
            "source": str(source),
            "rule": self.configuration.rule,
            "parameters": parameters,
            "tensors": str(environment.tensors),
            "other_tensors": [str(locate(uri)) for uri in others],
            "result": str(self._result),
        }

    def check_process(self) -> None:
        """Take the verdict of a process that has ended."""
        if self.verdict is None and self._process.wait(0):
            self.verdict = self._read()

    def finish(self) -> RuleVerdict:
        """Return the verdict when training has ended and its end is marked in the folder of the tensors."""
        if self.verdict is None:
            if self._process.wait(_END_SECONDS):
                self.verdict = self._read()
            else:
                self.stop()
                details = f"ClientError: the rule did not end within {_END_SECONDS:g} s after the end of training."
                self.verdict = RuleVerdict(status=ERROR, details=details)
        return self.verdict

    def stop(self) -> None:
        """Kill the process."""
        if not self._process.wait(0):
            self._process.kill()

    def _read(self) -> RuleVerdict:
        outcome = self._process.outcome()
        try:
            result = json.loads(self._result.read_bytes())
        except (OSError, ValueError):
            reason = outcome.problem or f"exit code {outcome.exit_code}"
            return RuleVerdict(status=ERROR, details=f"ClientError: the rule ended without a verdict: {reason}.")
        if "error" in result:
            return RuleVerdict(status=ERROR, details=f"ClientError: {result['error']}")
        if "step" in result:
            return RuleVerdict(status=FOUND, details=condition_met(self.configuration.rule, int(result["step"])))
        return RuleVerdict(status=CLEAR)
