"""Passwords and tokens are left out of everything that is written or shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.errors import BadValue
from clearsight.core.run import Provenance
from clearsight.core.secrets import hide, redact, redact_command, without_secrets

SCHEMES = ("postgresql", "mysql+pymysql", "postgresql+psycopg2", "redis", "https")


@pytest.mark.parametrize(
    ("url", "shown", "stored"),
    [
        ("postgresql://anna:pw@host/db", "postgresql://anna:***@host/db", "postgresql://anna@host/db"),
        (
            "postgresql://anna:p@s/s@host:5432/db",
            "postgresql://anna:***@host:5432/db",
            "postgresql://anna@host:5432/db",
        ),
        ("postgresql://a@b.org:pw@host/db", "postgresql://a@b.org:***@host/db", "postgresql://a@b.org@host/db"),
        ("redis://:pw@host/0", "redis://:***@host/0", "redis://@host/0"),
        ("mysql://host/db?password=pw&ssl=1", "mysql://host/db?password=***&ssl=1", "mysql://host/db?ssl=1"),
        ("sqlite:///study.db?sslpassword=pw", "sqlite:///study.db?sslpassword=***", "sqlite:///study.db"),
        ("https://h/x?X-Amz-Signature=ab12", "https://h/x?X-Amz-Signature=***", "https://h/x"),
        (
            "postgresql://anna:pw@host/db#study",
            "postgresql://anna:***@host/db#study",
            "postgresql://anna@host/db#study",
        ),
        ("postgresql://anna@host/db", "postgresql://anna@host/db", "postgresql://anna@host/db"),
        ("sqlite:////home/anna/a@b/study.db", "sqlite:////home/anna/a@b/study.db", "sqlite:////home/anna/a@b/study.db"),
        ("ray://host:10001", "ray://host:10001", "ray://host:10001"),
    ],
)
def test_a_url_keeps_its_place_and_loses_its_secret(url: str, shown: str, stored: str) -> None:
    assert redact(url) == shown
    assert redact(shown) == shown
    assert without_secrets(url) == stored


@given(
    scheme=st.sampled_from(SCHEMES),
    password=st.text(
        st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="*"), min_size=6, max_size=20
    ),
)
def test_no_password_survives_whatever_its_letters(scheme: str, password: str) -> None:
    url = f"{scheme}://anna:{password}@host/db"
    assert password not in redact(f"--storage {url} does not answer")
    assert password not in redact_command(["tune", "--storage", url])[2]
    assert password not in without_secrets(url)
    assert password not in hide(f"could not connect with {password}", url)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["tune", "--storage", "postgresql://a:p w@h/d"], ["tune", "--storage", "postgresql://a:***@h/d"]),
        (["tune", "--storage=postgresql://a:pw@h/d"], ["tune", "--storage=postgresql://a:***@h/d"]),
        (["python", "t.py", "--wandb-api-key", "k1"], ["python", "t.py", "--wandb-api-key", "***"]),
        (["t.py", "--hf_token=k1", "--password", "x"], ["t.py", "--hf_token=***", "--password", "***"]),
        (["env", "WANDB_API_KEY=k1", "python"], ["env", "WANDB_API_KEY=***", "python"]),
        (["curl", "-H", "Authorization: Bearer k1"], ["curl", "-H", "Authorization: Bearer ***"]),
        (
            ["--on-finding", "severe=notify:https://hooks.x.org/T/k1"],
            ["--on-finding", "severe=notify:https://hooks.x.org***"],
        ),
        (["git+https://ghp_k1@github.com/x"], ["git+https://***@github.com/x"]),
        (["--max-tokens", "5", "--keyboard", "us", "--monkey=3", "--bypass", "x", "a@b.org", "C:@"],) * 2,
    ],
)
def test_a_command_line_keeps_its_words_and_loses_its_secrets(words: list[str], shown: list[str]) -> None:
    assert redact_command(words) == shown


def test_a_message_quotes_no_password() -> None:
    error = BadValue("--warm-start postgresql://anna:pw@host/db#s", "no such study", fix="See https://u:pw@h/help.")
    assert str(error) == "--warm-start postgresql://anna:***@host/db#s: no such study. See https://u:***@h/help."


def test_the_provenance_of_a_run_has_no_password() -> None:
    made_with = Provenance(command=["clearsight", "tune", "--storage", "postgresql://anna:pw@host/db"])
    assert made_with.command[-1] == "postgresql://anna:***@host/db"
