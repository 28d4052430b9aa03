"""Each model has as many parameters as its paper's formula says, and all of them are trained."""

import inspect
import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from ifog.errors import ArgumentError, ProblemError
from ifog.learning import data, models


def dense(*sizes):
    return sum((a + 1) * b for a, b in pairwise(sizes))


def conv(a, b, side, norm=True):
    """A norm has a scale and a shift a channel, a convolution without one a bias."""
    return a * b * side**2 + (2 if norm else 1) * b


def residual(depth, channels=3, classes=10):
    n = (depth - 2) // 6
    first = conv(channels, 16, 3) + 2 * n * conv(16, 16, 3)
    doubling = sum(conv(w // 2, w, 3) + (2 * n - 1) * conv(w, w, 3) for w in (32, 64))
    return first + doubling + dense(64, classes)


def bottlenecks(classes):
    total, wide = conv(3, 64, 7), 64
    for middle, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        total += conv(wide, 4 * middle, 1)
        for _ in range(blocks):
            total += conv(wide, middle, 1) + conv(middle, middle, 3) + conv(middle, 4 * middle, 1)
            wide = 4 * middle
    return total + dense(wide, classes)


def plain(norm):
    widths = (3, 64, 128, 256, 256, 512, 512, 512, 512)
    return sum(conv(a, b, 3, norm) for a, b in pairwise(widths)) + dense(512, 10)


def transformer(vocabulary, context, layers, width):
    layer = dense(width, 3 * width) + dense(width, width) + dense(width, 4 * width, width) + 4 * width
    return (vocabulary + context) * width + layers * layer + 2 * width


PICTURE = (2, 3, 32, 32)
MODELS = {  # how it is made, what goes in, what comes out, how many parameters
    "logistic_regression": (lambda: models.logistic_regression(64, 10), (2, 64), (2, 10), dense(64, 10)),
    "mlp": (lambda: models.mlp(64, (32, 16), 10), (2, 1, 8, 8), (2, 10), dense(64, 32, 16, 10)),
    "lenet": (models.lenet, (2, 1, 28, 28), (2, 10), 156 + 2416 + dense(400, 120, 84, 10)),
    "lenet 8 × 8": (lambda: models.lenet((1, 8, 8)), (2, 1, 8, 8), (2, 10), 156 + 2416 + dense(64, 120, 84, 10)),
    "lenet 32 × 40": (
        lambda: models.lenet((3, 32, 40), 100),
        (2, 3, 32, 40),
        (2, 100),
        conv(3, 6, 5, norm=False) + 2416 + dense(16 * 5 * 7, 120, 84, 100),
    ),
    "resnet20": (models.resnet20, PICTURE, (2, 10), residual(20)),
    "resnet20 group": (lambda: models.resnet20(100, norm="group"), PICTURE, (2, 100), residual(20, classes=100)),
    "resnet20 of 8": (lambda: models.resnet20(depth=8, channels=1), (2, 1, 28, 28), (2, 10), residual(8, channels=1)),
    "resnet20 own": (
        lambda: models.resnet20(norm=lambda c: nn.GroupNorm(1, c, affine=False)),
        PICTURE,
        (2, 10),
        residual(20) - 2 * (7 * 16 + 6 * 32 + 6 * 64),
    ),
    "vgg11": (models.vgg11, PICTURE, (2, 10), plain(norm=False)),
    "vgg11 batch": (lambda: models.vgg11(norm="batch"), (2, 3, 64, 64), (2, 10), plain(norm=True)),
    "resnet50": (models.resnet50, (2, 3, 64, 64), (2, 1000), bottlenecks(1000)),
    "gpt": (models.gpt, (2, 17), (2, 17, 256), transformer(256, 64, 4, 128)),
}


def test_every_model_is_in_the_table():
    made = {n for n, f in vars(models).items() if inspect.isfunction(f) and f.__module__ == models.__name__ and n[0] != "_"}
    assert made - {"parameters", "next_token"} == {name.split()[0] for name in MODELS}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_has_its_papers_shape_and_every_parameter_is_trained(name):
    make, comes, goes, number = MODELS[name]
    torch.manual_seed(0)
    model = make()
    assert models.parameters(model) == number
    x = torch.randint(256, comes) if name == "gpt" else torch.randn(comes)
    out = model(x)
    assert out.shape == goes
    cross_entropy(out.flatten(0, -2), torch.randint(goes[-1], out.shape[:-1]).flatten()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    assert torch.isfinite(out).all()
    assert out.std() < 10, "or training would begin with a leap"


def test_published_numbers_of_parameters():
    assert residual(20) // 10_000 == 26, "0.27 M in the paper"
    assert residual(110) // 100_000 == 17, "1.7 M in the paper"
    assert bottlenecks(1000) == 25_557_032, "as every library has it"


def test_the_same_seed_makes_the_same_model():
    def numbers(seed):
        torch.manual_seed(seed)
        return nn.utils.parameters_to_vector(models.resnet20().parameters())

    assert torch.equal(numbers(1), numbers(1))
    assert not torch.equal(numbers(1), numbers(2))


def test_group_norm_does_not_look_at_the_other_samples_but_batch_norm_does():
    x = torch.randn(4, 3, 32, 32)
    for norm, alone in (("group", True), ("batch", False)):
        model = models.resnet20(depth=8, norm=norm)
        assert torch.allclose(model(x)[:2], model(x[:2]), atol=1e-5) is alone


def test_gpt_does_not_look_ahead():
    model = models.gpt(layers=2)
    tokens = torch.randint(256, (1, 10))
    other = tokens.clone()
    other[0, 6:] = torch.randint(256, (4,))
    assert torch.allclose(model(tokens)[:, :6], model(other)[:, :6], atol=1e-6)
    assert not torch.allclose(model(tokens)[:, 6:], model(other)[:, 6:], atol=1e-6)


def test_gpt_learns_to_write():
    train, test = data.text({"count": "abcdefg" * 40, "back": "gfedcba" * 40}, length=16)
    torch.manual_seed(0)
    model = models.gpt(len(train.classes), 16, layers=1, heads=2, width=32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    first = models.next_token(model(test.x), test.y)
    assert abs(first - math.log(7)) < 0.1, "it begins without an opinion"
    for _ in range(60):
        optimizer.zero_grad()
        models.next_token(model(train.x), train.y).backward()
        optimizer.step()
    assert models.next_token(model(test.x), test.y) < 0.3
    for begin in ("abc", "gfe"):
        written = train.decode(model.write(train.encode(begin), 25, temperature=0.2))
        assert written in ("abcdefg" * 4, "gfedcba" * 4)
    again = [model.write(train.encode("a"), 9, temperature=9, generator=torch.Generator().manual_seed(1)) for _ in range(2)]
    assert torch.equal(*again)
    assert models.next_token(model(test.x), test.y) == cross_entropy(model(test.x).transpose(1, 2), test.y)


@pytest.mark.parametrize("make", [models.mlp, models.lenet, lambda: models.resnet20(depth=8, norm="group"), models.gpt])
def test_many_nodes_fit_into_one_call(make):
    """What the virtual nodes of the trainer need: `vmap` over stacked parameters gives the nodes' own gradients."""
    nodes = [make() for _ in range(3)]
    shape = {models.mlp: (3, 2, 64), models.lenet: (3, 2, 1, 28, 28), models.gpt: (3, 2, 5)}.get(make, (3, 2, 3, 32, 32))
    x = torch.randint(256, shape) if make is models.gpt else torch.randn(shape)
    stacked, _ = torch.func.stack_module_state(nodes)
    stacked = {name: value.detach() for name, value in stacked.items()}

    def loss(parameters, x):
        return torch.func.functional_call(nodes[0], parameters, (x,), tie_weights=True).square().mean()

    together = torch.func.vmap(torch.func.grad(loss))(stacked, x)
    for i, node in enumerate(nodes):
        node(x[i]).square().mean().backward()
        for name, p in node.named_parameters():
            assert torch.allclose(together[name][i], p.grad, rtol=1e-3, atol=1e-5), name


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: models.mlp(hidden=32), r"hidden=32.*tuple.*\(32,\)"),
        (lambda: models.mlp(hidden=(32, 0)), r"hidden=0.*at least 1"),
        (lambda: models.logistic_regression(64, 0), "classes=0"),
        (lambda: models.lenet((28, 28)), r"shape=\(28, 28\).*channels, height, width"),
        (lambda: models.lenet((1, 3, 28)), r"at least 4 × 4"),
        (lambda: models.resnet20(depth=18), r"depth=18.*6 n \+ 2"),
        (lambda: models.resnet20(norm="instance"), "norm='instance'.*'batch', 'group', None"),
        (lambda: models.vgg11(channels=1.5), "channels=1.5.*whole number"),
        (lambda: models.gpt(width=10, heads=4), "width=10.*multiple of heads=4"),
        (lambda: models.gpt().write(torch.zeros(1, dtype=torch.int64), 1, temperature=0), "temperature=0"),
        (lambda: models.gpt(context=4)(torch.zeros(1, 5, dtype=torch.int64)), "context=4"),
    ],
)
def test_what_cannot_be_made_is_refused(call, says):
    with pytest.raises((ArgumentError, ProblemError), match=says):
        call()
