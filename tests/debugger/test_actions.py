"""What is done about findings: the words for it, whom it concerns, and that a notice never ends a run."""

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
from clearsight.debugger.actions import Action, adjustment, notify, parse_action


def found(rule: str = "Overfit", severity: Severity = Severity.WARNING, **more: Any) -> Finding:
    return Finding(rule=rule, verdict=Verdict.FOUND, severity=severity, **more)


def test_a_bare_verb_answers_warnings_and_worse() -> None:
    stop = parse_action("stop")
    assert stop == Action("stop")
    assert stop.answers(found())
    assert stop.answers(found(severity=Severity.SEVERE))
    assert not stop.answers(found(severity=Severity.INFO))
    assert not stop.answers(Finding(rule="Overfit", verdict=Verdict.CLEAR, severity=Severity.SEVERE))


def test_a_severity_and_a_rule_select() -> None:
    assert not parse_action("severe=stop").answers(found())
    assert parse_action("info=stop").answers(found(severity=Severity.INFO))
    assert parse_action("overfit=adjust") == Action("adjust", selector="Overfit")
    assert not parse_action("DeadRelu=stop").answers(found())


def test_a_notice_takes_a_target_which_may_hold_an_equals_sign() -> None:
    assert parse_action("notify:https://host/path?a=b") == Action("notify", "https://host/path?a=b")
    assert parse_action("severe=notify:mail me").argument == "mail me"


@pytest.mark.parametrize("text", ["stopp", "sever=stop", "Overfitt=stop", ""])
def test_a_typo_gives_the_nearest(text: str) -> None:
    with pytest.raises(BadChoice, match=r"Did you mean|allowed"):
        parse_action(text)


def test_only_a_notice_takes_an_argument() -> None:
    with pytest.raises(BadValue):
        parse_action("stop:now")


def test_a_command_gets_the_finding_on_its_stdin(tmp_path: Path) -> None:
    script = tmp_path / "tell.py"
    script.write_text(f"import sys; open({str(tmp_path / 'told')!r}, 'w').write(sys.stdin.read())")
    assert "exit code 0" in notify(f"{sys.executable} {script}", found(), {"run": "r"})
    told = json.loads((tmp_path / "told").read_text())
    assert told["run"] == "r"
    assert told["finding"]["rule"] == "Overfit"


def test_a_url_gets_the_finding() -> None:
    seen: list[dict[str, Any]] = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Listener) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        answer = notify(f"http://127.0.0.1:{server.server_port}/hook?token=secret", found(), {})
        thread.join()
    assert answer.endswith("204")
    assert "secret" not in answer
    assert seen[0]["finding"]["rule"] == "Overfit"


def test_a_notice_that_cannot_be_delivered_is_an_answer_not_an_error() -> None:
    assert "could not tell http://127.0.0.1:1" in notify("http://127.0.0.1:1/x?token=secret", found(), {})
    assert "could not run" in notify("/no/such/program", found(), {})


def test_only_what_the_loop_can_change_is_adjusted() -> None:
    first, second = found(fix={"freeze": "none"}), found("Rate", fix={"lr": 1e-3, "batch_size": 8})
    assert adjustment([first, second]) == (second, {"lr": 1e-3})
    assert adjustment([first]) is None
