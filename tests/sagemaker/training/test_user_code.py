"""The command of a script has the words that the shell of the training toolkit would pass on."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight_sagemaker.training.hyperparameters import Hyperparameters
from clearsight_sagemaker.training.user_code import UserCode, without_quotes

CODE = UserCode(program="train.py", uri="", command=())


def test_a_described_hyperparameter_can_be_passed_on_as_it_is(tmp_path: Path) -> None:
    described = json.dumps("64")  # what describe_training_job and best_estimator().hyperparameters() show
    hyperparameters = Hyperparameters.of({"batch_size": json.dumps(described), "lr": "0.1"})
    command = CODE.script_command(tmp_path, hyperparameters.arguments(), 1)
    assert command == ["python", "train.py", "--batch_size", "64", "--lr", "0.1"]
    assert hyperparameters.arguments()[1] == '"64"', "SM_USER_ARGS keeps the quotes, as in AWS"


@pytest.mark.parametrize("word", ["[1, 2]", '["a", "b"]', '{"a": 1}', "it's", '"', "'a\"", '"a" "b"', "", "a\\b"])
def test_a_word_that_no_pair_of_quotes_encloses_stays(word: str) -> None:
    assert without_quotes(word) == word


@given(st.text(alphabet="ab01 .-/", max_size=6), st.sampled_from("'\""))
def test_a_quoted_word_is_that_of_a_shell(text: str, quote: str) -> None:
    quoted = f"{quote}{text}{quote}"
    assert [without_quotes(quoted)] == shlex.split(quoted)
