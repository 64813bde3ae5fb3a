"""Views: a model without some of its parts, sharing all the others."""

from __future__ import annotations

import pickle
from collections import OrderedDict

import pytest
import torch
from torch import nn

from clearsight.core.errors import BadChoice
from clearsight.models.dissection import Dissection, Family, classifier_inputs, drop_dropout, without
from clearsight.models.families import FAMILIES


def model() -> nn.Sequential:
    body = nn.Sequential(OrderedDict(drop=nn.Dropout(), fc=nn.Linear(4, 2)))
    return nn.Sequential(OrderedDict(body=nn.Linear(3, 4), head=body)).eval()


def test_a_view_leaves_parts_out_and_shares_the_rest() -> None:
    whole = model()
    view = without(whole, "head.fc")
    images = torch.randn(5, 3)
    assert torch.equal(view(images), whole.get_submodule("body")(images))
    assert [id(p) for p in view.parameters()] == [id(p) for p in whole.get_submodule("body").parameters()]
    assert whole(images).shape == (5, 2), "the model itself is whole"


def test_a_view_of_a_view_copies_and_pickles() -> None:
    view = without(without(model(), "head.fc"), "head.drop")
    images = torch.randn(5, 3)
    assert torch.equal(pickle.loads(pickle.dumps(view))(images), view(images))


def test_a_view_can_drop_a_parameter() -> None:
    layer = nn.Linear(3, 4)
    assert [name for name, _ in without(layer, "bias").named_parameters()] == ["weight"]
    assert layer.bias is not None


def test_only_a_linear_layer_can_be_replaced() -> None:
    assert classifier_inputs(model(), "mine", "head.fc") == 4
    assert classifier_inputs(nn.Sequential(nn.Conv2d(7, 2, 1)), "mine", "0") == 7
    for other in (model().get_submodule("head"), nn.Conv2d(7, 2, 3)):
        with pytest.raises(BadChoice, match="--model mine: it does not end in one linear layer"):
            classifier_inputs(nn.Sequential(other), "mine", "0")


def test_dropping_dropout_keeps_parameter_names() -> None:
    whole = model()
    before = list(whole.state_dict())
    drop_dropout(whole.get_submodule("head"), ["drop", "fc"])
    assert isinstance(whole.get_submodule("head.drop"), nn.Identity)
    assert list(whole.state_dict()) == before


def test_every_family_follows_the_protocol_and_recognises_no_other_model() -> None:
    for name, family in FAMILIES:
        assert isinstance(family, Family), name
        assert not family.recognises(nn.Linear(1, 1)), name
    assert Dissection((), "fc").head == "fc"
