"""Actions: how they are written, which findings they concern, and that a notice never ends a run."""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.errors import BadChoice, BadValue
from clearsight.core.finding import Finding, Severity, Verdict
from clearsight.debugger.actions import Action, ActionRunner, notify, parse_action


def found(rule: str = "Overfit", severity: Severity = Severity.WARNING, **more: Any) -> Finding:
    return Finding(rule=rule, verdict=Verdict.FOUND, severity=severity, **more)


def test_a_bare_verb_concerns_warnings_and_worse() -> None:
    stop = parse_action("stop")
    assert stop == Action("stop")
    assert stop.concerns(found())
    assert stop.concerns(found(severity=Severity.SEVERE))
    assert not stop.concerns(found(severity=Severity.INFO))
    assert not stop.concerns(Finding(rule="Overfit", verdict=Verdict.CLEAR, severity=Severity.SEVERE))


def test_a_severity_and_a_rule_select() -> None:
    assert not parse_action("severe=stop").concerns(found())
    assert parse_action("info=stop").concerns(found(severity=Severity.INFO))
    assert parse_action("overfit=adjust") == Action("adjust", selector="Overfit")
    assert not parse_action("DeadRelu=stop").concerns(found())


def test_a_notice_takes_a_target_which_may_hold_an_equals_sign() -> None:
    assert parse_action("notify:https://host/path?a=b") == Action("notify", "https://host/path?a=b")
    assert parse_action("severe=notify:mail me").argument == "mail me"


@pytest.mark.parametrize("text", ["stopp", "sever=stop", "Overfitt=stop", ""])
def test_a_typo_gives_the_nearest(text: str) -> None:
    with pytest.raises(BadChoice, match=r"Did you mean|Allowed"):
        parse_action(text)


def test_only_a_notice_takes_an_argument() -> None:
    with pytest.raises(BadValue):
        parse_action("stop:now")


def test_a_command_gets_the_finding_on_its_stdin(tmp_path: Path) -> None:
    script = tmp_path / "listener.py"
    script.write_text(f"import sys; open({str(tmp_path / 'received')!r}, 'w').write(sys.stdin.read())")
    assert "exit code 0" in notify(f"{sys.executable} {script}", found(), {"run": "r"})
    received = json.loads((tmp_path / "received").read_text())
    assert received["run"] == "r"
    assert received["finding"]["rule"] == "Overfit"


def test_a_url_gets_the_finding() -> None:
    received: list[dict[str, Any]] = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Print nothing."""

    with HTTPServer(("127.0.0.1", 0), Listener) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        outcome = notify(f"http://127.0.0.1:{server.server_port}/hook?token=secret", found(), {})
        thread.join()
    assert outcome.endswith("204")
    assert "secret" not in outcome
    assert received[0]["finding"]["rule"] == "Overfit"


def test_a_notice_that_cannot_be_delivered_is_an_outcome_not_an_error() -> None:
    assert "could not notify http://127.0.0.1:1" in notify("http://127.0.0.1:1/x?token=secret", found(), {})
    assert "could not run" in notify("/no/such/program", found(), {})


def test_only_what_the_loop_can_change_is_adjusted() -> None:
    first, second = found(fix={"freeze": "none"}), found("Rate", fix={"lr": 1e-3, "batch_size": 8})
    runner = ActionRunner([Action("adjust")], lambda reason: None)
    outcomes = [record.outcome for record in runner.run([first, second], [first, second], step=1)]
    assert outcomes == ["nothing that can be changed in this way", "requested"]
    assert runner.request is not None
    assert (runner.request.finding, runner.request.changes) == (second, {"lr": 1e-3})


# What was done


def test_an_action_is_taken_once_for_each_rule() -> None:
    stops: list[str] = []
    runner = ActionRunner([Action("stop")], stops.append)
    first, second = found(cause="high"), found("Rate", cause="low")
    assert [record.rule for record in runner.run([first], [first], 1)] == ["Overfit"]
    assert [record.rule for record in runner.run([first, second], [first, second], 2)] == ["Rate"]
    assert stops == ["the debugger found Overfit: high", "the debugger found Rate: low"]
    assert [(record.step, record.outcome) for record in runner.history] == [(1, "stopped"), (2, "stopped")]


def test_the_outcome_of_a_request_is_noted_beside_it_even_where_another_action_followed() -> None:
    runner = ActionRunner([Action("adjust"), Action("notify")], lambda reason: None)
    finding = found(fix={"lr": 0.1})
    list(runner.run([finding], [finding], 3, accuracy=0.4))
    assert runner.request is not None
    runner.complete_request("went on from step 1")
    runner.conclude(0.7)
    adjusted, notified = runner.history
    assert (adjusted.action, adjusted.outcome) == ("adjust", "went on from step 1")
    assert (adjusted.before, adjusted.after) == (0.4, 0.7)
    assert (notified.action, notified.outcome, notified.after) == ("notify", "logged", None)


def test_one_change_is_requested_at_a_time() -> None:
    runner = ActionRunner([Action("adjust")], lambda reason: None)
    findings = [found(fix={"lr": 0.1}), found("Rate", fix={"lr": 0.2}), found("Freeze", fix={"freeze": "none"})]
    outcomes = [record.outcome for record in runner.run(findings, findings, 1)]
    assert outcomes == ["requested", "another change came first", "nothing that can be changed in this way"]
    assert runner.request is not None
    assert runner.request.changes == {"lr": 0.1}
