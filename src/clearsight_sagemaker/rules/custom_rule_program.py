"""Program that judges a job by a rule of the user, in the environment of the job. It needs the package `smdebug`.

It reads a JSON object from the file that its argument names: source, rule, parameters, tensors, other_tensors, result;
and it writes the end of the rule to the file `result`: {"step": S} where its condition is met, {} where it is not,
{"error": text} where it fails.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import sys
from types import TracebackType


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        settings = json.load(file)
    result_path = str(settings["result"])

    def fail(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        sys.__excepthook__(kind, error, trace)  # into the log of the job
        write_result(result_path, {"error": f"{kind.__name__}: {error}"})

    sys.excepthook = fail  # the user's code can raise anything
    write_result(result_path, judge(settings))


def write_result(path: str, result: dict[str, object]) -> None:
    """Write the end of the rule; readers see the whole file or none."""
    part = path + ".part"
    with open(part, "w", encoding="utf-8") as file:
        json.dump(result, file)
    os.replace(part, path)


def judge(settings: dict[str, object]) -> dict[str, object]:
    """Return the end of the rule; raises what the user's code raises."""
    from smdebug.exceptions import NoMoreData, RuleEvaluationConditionMet
    from smdebug.rules import invoke_rule
    from smdebug.trials import create_trial

    kind = load_rule(str(settings["source"]), str(settings["rule"]))
    parameters: dict[str, object] = dict(settings["parameters"])  # type: ignore[call-overload]
    accepted = inspect.signature(kind).parameters
    if settings["other_tensors"]:
        parameters["other_trials"] = [create_trial(path) for path in settings["other_tensors"]]  # type: ignore[attr-defined]
    if "action_str" in accepted:
        parameters["action_str"] = ""
    trial = create_trial(str(settings["tensors"]))
    try:
        invoke_rule(kind(trial, **parameters), raise_eval_cond=True)
    except RuleEvaluationConditionMet as met:
        return {"step": met.step}
    except NoMoreData:
        return {}
    return {}


def load_rule(source: str, name: str) -> type:
    """Return the class of a file. Raises ValueError where it has none of that name."""
    spec = importlib.util.spec_from_file_location("custom_rule", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["custom_rule"] = module
    spec.loader.exec_module(module)
    kind = getattr(module, name, None)
    if not isinstance(kind, type):
        names = ", ".join(sorted(key for key, value in vars(module).items() if isinstance(value, type)))
        raise ValueError(f"rule_to_invoke {name}: the source has no class of that name. It has: {names or 'none'}.")
    return kind


if __name__ == "__main__":
    main()
