"""Configuration: schedules, their precedence, reductions, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smdebug import CollectionKeys, ReductionConfig, SaveConfig, SaveConfigMode, modes
from smdebug.core.collection import Collection
from smdebug.core.collection_manager import CollectionManager
from smdebug.core.json_config import read_hook_config
from smdebug.exceptions import SMDebugError, SMDebugTypeError, SMDebugValueError

STEPS = st.integers(0, 60)
SCHEDULES = st.builds(
    SaveConfigMode, st.integers(1, 20), STEPS, st.none() | STEPS, st.lists(STEPS, max_size=4) | st.none()
)


@given(SCHEDULES, STEPS)
def test_a_step_is_saved_by_list_or_by_interval(schedule: SaveConfigMode, step: int) -> None:
    end = 10**9 if schedule.end_step is None else schedule.end_step
    in_interval = schedule.start_step <= step < end and step % schedule.save_interval == 0
    assert schedule.should_save_step(step) == (step in schedule.save_steps or in_interval)


@given(SCHEDULES, SCHEDULES)
def test_collections_come_back_from_their_file(train: SaveConfigMode, default: SaveConfigMode) -> None:
    manager = CollectionManager()
    config = SaveConfig({modes.TRAIN: train})
    config.merge_default_save_config(SaveConfig.from_save_config_mode(default))
    manager.add(Collection("activations", ["relu"], {"relu_output_0"}, ReductionConfig(norms=["l1"]), config))
    read = CollectionManager.load_from_string(manager.to_json())
    assert read == manager
    assert read.get("activations").save_config == config


def read(tmp_path: Path, content: Any) -> Any:
    path = tmp_path / "debughookconfig.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_hook_config(str(path))


def test_the_plain_interval_of_a_collection_overrides_the_hooks_interval_of_a_mode(tmp_path: Path) -> None:
    """What a rule brings wins over what the user asks of the hook: the trap of section "precedence"."""
    config = read(
        tmp_path,
        {
            "HookParameters": {"train.save_interval": "100", "eval.save_interval": "10"},
            "CollectionConfigurations": [
                {"CollectionName": "losses", "CollectionParameters": {"save_interval": "500"}},
                {"CollectionName": "weights", "CollectionParameters": {"save_interval": "500", "eval.end_step": "9"}},
                {"CollectionName": "gradients", "CollectionParameters": None},
            ],
        },
    )
    manager = CollectionManager()
    config.configure(manager)

    def interval(name: str, mode: modes) -> int:
        save_config = manager.get(name).save_config
        assert save_config is not None
        return save_config.get_save_config(mode).save_interval

    assert [interval("losses", mode) for mode in (modes.TRAIN, modes.EVAL)] == [500, 500]
    assert [interval("gradients", mode) for mode in (modes.TRAIN, modes.EVAL, modes.PREDICT)] == [100, 10, 500]
    weights = manager.get("weights").save_config
    assert weights is not None
    assert weights.get_save_config(modes.EVAL).end_step == 9
    assert config.out_dir == "/opt/ml/output/tensors"


def test_reductions_of_a_job_are_strings(tmp_path: Path) -> None:
    parameters = {"reductions": "mean, abs_max,l2_norm,abs_l1_norm", "save_raw_tensor": "True"}
    config = read(tmp_path, {"HookParameters": parameters}).reduction_config()
    assert config.pairs() == [("mean", False), ("l2", False), ("max", True), ("l1", True)]
    assert config.save_raw_tensor
    assert ReductionConfig.from_dict(config.to_json_dict()) == config


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "the file is no JSON"),
        ({"HookParameters": {"train.save_interval": "often"}}, "save_interval='often': must be a whole number"),
        ({"HookParameters": {"save_interval": "0"}}, "save_interval=0: must be 1 or more"),
        ({"HookParameters": {"save_steps": "1;2"}}, r"save_steps='1;2': must be whole numbers"),
        ({"CollectionConfigurations": [{}]}, "has no CollectionName"),
    ],
)
def test_wrong_configurations_are_refused_by_name(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(SMDebugValueError, match=message):
        read(tmp_path, content)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(SMDebugValueError, match="'median' is not one of min, max"):
        ReductionConfig(reductions=["median"])
    with pytest.raises(SMDebugTypeError):
        SaveConfig.parse("often")
    with pytest.raises(SMDebugError, match="has not been created"):
        CollectionManager().get("nowhere", create=False)
    with pytest.raises(SMDebugTypeError):
        CollectionManager().get(CollectionKeys.LOSSES).include(3)  # type: ignore[arg-type]
