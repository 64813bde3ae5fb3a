"""The catalogue: names without torch once they are known, facts of a model, speeds of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clearsight.models.catalogue import Catalogue, ModelFacts, matching, weights_at_hand
from clearsight.models.weights_file import downloaded, on_disk

NAMES = ["alexnet", "resnet18", "resnet101", "timm/resnet18", "timm/vit_base_patch16_224", "tiny"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("resnet*", ["resnet18", "resnet101", "timm/resnet18"]),
        ("timm/resnet*", ["timm/resnet18"]),
        ("RESNET18", ["resnet18", "timm/resnet18"]),
        ("vit", ["timm/vit_base_patch16_224"]),
        ("resnet1?", ["resnet18", "timm/resnet18"]),
        ("*", NAMES),
        ("efficientformer", []),
    ],
)
def test_a_pattern_matches_with_and_without_the_prefix(pattern: str, found: list[str]) -> None:
    assert matching(NAMES, pattern) == found


def test_facts_of_a_model(tmp_path: Path) -> None:
    tiny, resnet, timm = Catalogue(tmp_path, "cpu", "machine").facts(["tiny", "resnet18", "timm/mobilenetv2_100"])
    assert tiny is not None
    assert resnet is not None
    assert timm is not None
    assert (tiny.input_size, tiny.download) == (32, "")
    # 11,689,512 parameters and 1.814 G multiply-adds: torchvision's documentation of ResNet18_Weights
    assert (resnet.parameters, resnet.input_size) == (11_689_512, 224)
    assert resnet.operations == pytest.approx(2 * 1.814e9, rel=0.01)
    assert resnet.download.startswith("torch:resnet18-")
    assert (timm.parameters, timm.licence) == (3_504_872, "apache-2.0")
    assert timm.download.startswith("hf:timm/mobilenetv2_100.")


def test_a_second_look_needs_no_torch(tmp_path: Path) -> None:
    first = Catalogue(tmp_path, "cpu", "machine")
    first.names()
    first.facts(["tiny"])
    script = f"""
import sys
from pathlib import Path
from clearsight.models.catalogue import Catalogue
catalogue = Catalogue(Path({str(tmp_path)!r}), "cpu", "machine")
assert len(catalogue.names()) > 1000 and catalogue.facts(["tiny"])[0].input_size == 32
assert "torch" not in sys.modules and "timm" not in sys.modules
"""
    subprocess.run(
        [sys.executable, "-c", script], check=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )


def test_other_versions_list_the_names_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model_names.json").write_text('{"versions": {"timm": "0.1"}, "names": ["old"], "facts": {}}')
    monkeypatch.setattr("clearsight.models.zoo.names", lambda: ["new"])
    assert Catalogue(tmp_path, "cpu", "machine").names() == ["new"]


def test_a_damaged_cache_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model_names.json").write_text("{")
    monkeypatch.setattr("clearsight.models.zoo.names", lambda: ["new"])
    assert Catalogue(tmp_path, "cpu", "machine").names() == ["new"]


def test_a_measurement_counts_for_its_machine(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path, "cpu", "machine")
    facts = catalogue.facts(["tiny"])[0]
    assert facts is not None
    assert catalogue.measured("tiny") is None
    speeds = catalogue.measure(facts)
    assert 0 < speeds["train"] < speeds["forward"]
    assert Catalogue(tmp_path, "cpu", "machine").measured("tiny") == speeds
    assert Catalogue(tmp_path, "cpu", "another").measured("tiny") is None


def test_an_estimate_follows_from_the_operations(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path, "cpu", "machine")
    tiny = catalogue.facts(["tiny"])[0]
    assert tiny is not None
    speeds = catalogue.measure(tiny)
    twice = ModelFacts(
        name="other", parameters=1, operations=2 * tiny.operations, input_size=32, licence="", download=""
    )
    assert catalogue.estimate(twice) == pytest.approx({kind: speed / 2 for kind, speed in speeds.items()})
    unknown = ModelFacts(name="other", parameters=1, operations=0, input_size=32, licence="", download="")
    assert catalogue.estimate(unknown) is None


def test_weights_at_hand_are_files_and_downloads(tmp_path: Path) -> None:
    facts = ModelFacts(
        name="resnet18", parameters=1, operations=1, input_size=224, licence="", download="torch:resnet18-f3.pth"
    )
    assert weights_at_hand(facts, [tmp_path], tmp_path / "torch") == ""
    hub = tmp_path / "torch" / "checkpoints" / "resnet18-f3.pth"
    hub.parent.mkdir(parents=True)
    hub.touch()
    assert weights_at_hand(facts, [tmp_path], tmp_path / "torch") == str(hub)
    own = tmp_path / "resnet18.safetensors"
    own.touch()
    assert weights_at_hand(facts, [tmp_path], tmp_path / "torch") == str(own)
    assert on_disk(["resnet18", "resnet34"], [tmp_path]) == {"resnet18"}
    assert downloaded("", tmp_path) is None


# --- its cache


@pytest.mark.parametrize("damage", ["flipped digit", "zeroed", "cut short", "of another shape"])
def test_damaged_facts_are_made_again_with_a_note(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (facts,) = Catalogue(tmp_path, "cpu", "machine").facts(["tiny"])
    path = tmp_path / "model_facts.jsonl"
    whole = path.read_bytes()
    content = {
        "flipped digit": whole.replace(b'"parameters": 3', b'"parameters": 9'),
        "zeroed": bytes(len(whole)),
        "cut short": whole[: len(whole) // 2],
        "of another shape": b'{"versions": [], "facts": 3}',
    }[damage]
    assert content != whole
    path.write_bytes(content)
    assert Catalogue(tmp_path, "cpu", "machine").facts(["tiny"]) == [facts]
    assert "facts about models" in caplog.text
    assert path.read_bytes() == whole


def test_without_a_folder_to_write_to_facts_and_speeds_are_known_for_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    catalogue = Catalogue(tmp_path / "file" / "cache", "cpu", "machine")
    (facts,) = catalogue.facts(["tiny"])
    assert facts is not None
    assert catalogue.measure(facts) == catalogue.measured("tiny")
    assert len(caplog.messages) == 1


def test_a_folder_of_weights_that_cannot_be_read_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    (tmp_path / "resnet18.safetensors").write_bytes(b"")
    assert on_disk(["resnet18"], [tmp_path]) == {"resnet18"}
    monkeypatch.setattr(Path, "iterdir", refused)
    monkeypatch.setattr("os.scandir", refused)
    assert on_disk(["resnet18"], [tmp_path]) == set()
    assert downloaded("torch:resnet18.pth", tmp_path) is None
