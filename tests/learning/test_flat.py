"""A model's parameters are views of one vector, whatever else happens to them."""

import copy
import io

import pytest
import torch
from odd_model import Odd
from torch import nn

import ifog
from ifog.learning import Flat


def test_the_vector_holds_every_trained_parameter_once():
    model = Odd()
    before = copy.deepcopy(model)
    flat = Flat(model)
    assert [part.dtype for part in flat] == [torch.float32, torch.bfloat16]
    names = {place.name for part in flat for place in part.places}
    assert names == {n for n, p in model.named_parameters() if p.requires_grad}
    assert "attention.in_proj_weight" in names
    assert flat.numel == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert model.out.weight is model.embed.weight
    tokens = torch.arange(6).view(2, 3)
    assert torch.equal(model(tokens), before(tokens))
    for part in flat:
        for name, view in part.views(part.x).items():
            assert torch.equal(view, before.get_parameter(name))
            assert view.data_ptr() == model.get_parameter(name).data_ptr()


def test_gradients_are_views_of_one_vector_too():
    model = Odd()
    model(torch.arange(6).view(2, 3)).sum().backward()
    apart = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    flat = Flat(model)
    for part in flat:
        g = part.gradient()
        for name, view in part.views(g).items():
            assert torch.equal(view, apart[name])
            assert model.get_parameter(name).grad.data_ptr() == view.data_ptr()
    model.out.weight.grad = None
    begin = next(place.begin for place in flat[0].places if place.name == "embed.weight")
    assert torch.equal(flat[0].gradient()[begin : begin + 28], torch.zeros(28))


def test_channels_last_stays_so():
    model = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    weight = model.weight.detach().clone()
    Flat(model)
    assert model.weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(model.weight, weight)


def test_state_is_saved_and_loaded_in_place():
    model = Odd()
    flat = Flat(model)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    kept = [part.x.clone() for part in flat]
    for part in flat:
        part.x.zero_()
    file.seek(0)
    model.load_state_dict(torch.load(file))
    assert all(torch.equal(part.x, x) for part, x in zip(flat, kept, strict=True))


def test_parameters_that_were_moved_are_brought_back_or_refused():
    model = nn.Linear(2, 2)
    flat = Flat(model)
    model.weight.data = torch.full((2, 2), 5.0)
    flat[0].check()
    assert flat[0].x[:4].tolist() == [5.0] * 4
    model.double()
    with pytest.raises(ifog.ArgumentError, match=r"weight was float32 \[2, 2\] on cpu and is float64 .*model.to"):
        flat[0].check()


@pytest.mark.parametrize("model", [[1.0], nn.ReLU(), nn.Linear(2, 2).requires_grad_(False)])
def test_what_has_nothing_to_train_is_refused(model):
    with pytest.raises(ifog.ArgumentError, match="model"):
        Flat(model)
