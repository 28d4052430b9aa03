"""Models to train, as plain torch modules: each function makes one, with numbers drawn by torch's own generator.

>>> import torch
>>> model = resnet20()
>>> model(torch.zeros(2, 3, 32, 32)).shape
torch.Size([2, 10])
>>> parameters(model), parameters(resnet20(norm="group"))
(269722, 269722)

Batch norm keeps statistics of the samples it has seen. Where nodes have different classes these differ too, and no averaging of
parameters makes up for it: ``norm="group"`` looks at one sample alone. Hsieh, Phanishayee, Mutlu, Gibbons, *The non-IID data
quagmire of decentralized machine learning*, 2020, https://arxiv.org/abs/1910.00189
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu, pad, relu

from ..errors import ArgumentError
from ..problems.arguments import real, whole

Norm = str | Callable[[int], nn.Module] | None
"""``"batch"``, ``"group"``, None, or a function that makes a layer for so many channels."""


def parameters(model: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


# ---- small ones ----------------------------------------------------------------------------------------------------------


def logistic_regression(inputs: int = 64, classes: int = 10) -> nn.Sequential:
    """Softmax regression: linear in what comes in, so that the loss is convex. It starts at zero."""
    linear = nn.Linear(_whole("inputs", inputs), _whole("classes", classes))
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return nn.Sequential(nn.Flatten(), linear)


def mlp(
    inputs: int = 64, hidden: Sequence[int] = (32,), classes: int = 10, *, activation: Callable[[], nn.Module] = nn.ReLU
) -> nn.Sequential:
    """Layers in which everything is connected. ``hidden`` are the sizes of those between what comes in and the classes."""
    if not isinstance(hidden, tuple | list):
        raise ArgumentError(f"hidden={hidden!r}: it must be a tuple of the sizes of the hidden layers, such as (32,), or ()")
    sizes = [_whole("inputs", inputs), *(_whole("hidden", size) for size in hidden)]
    layers: list[nn.Module] = [nn.Flatten()]
    for wide, out in pairwise(sizes):
        layers += [nn.Linear(wide, out), activation()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], _whole("classes", classes)))


def lenet(shape: tuple[int, int, int] = (1, 28, 28), classes: int = 10) -> nn.Sequential:
    """LeNet-5, with ReLU and the maximum of each square of four: for pictures of the ``shape`` (channels, height, width).

    Pictures are padded to 32 × 32 as MNIST's are in the paper; those below 12 also before the second convolution.
    LeCun, Bottou, Bengio, Haffner, *Gradient-based learning applied to document recognition*, 1998,
    https://doi.org/10.1109/5.726791
    """
    channels, height, width = _shape(shape)
    first = 2 if min(height, width) < 32 else 0
    second = 2 if min(height, width) < 12 else 0
    rows, columns = (((side + 2 * first - 4) // 2 + 2 * second - 4) // 2 for side in (height, width))
    if min(rows, columns) < 1:
        raise ArgumentError(f"shape={shape}: pictures must be at least 4 × 4, and nothing is left of these")
    return nn.Sequential(
        nn.Conv2d(channels, 6, 5, padding=first),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5, padding=second),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * rows * columns, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, _whole("classes", classes)),
    )


# ---- deep ones for pictures ----------------------------------------------------------------------------------------------


def resnet20(classes: int = 10, *, channels: int = 3, depth: int = 20, norm: Norm = "batch") -> nn.Sequential:
    """The residual network for CIFAR's pictures: 0.27 million parameters, or with another ``depth`` 6 n + 2 more of them.

    Three stages of n blocks with 16, 32 and 64 channels; shortcuts have no parameters (option A).
    He, Zhang, Ren, Sun, *Deep residual learning for image recognition*, 2016, section 4.2, https://arxiv.org/abs/1512.03385
    """
    if _whole("depth", depth) < 8 or (depth - 2) % 6:
        raise ArgumentError(f"depth={depth}: it must be 6 n + 2: 8, 14, 20, 32, 44, 56, 110 …")
    layers: list[nn.Module] = [*_convolution(_whole("channels", channels), 16, 3, norm=norm), nn.ReLU()]
    wide = 16
    for out in (16, 32, 64):
        for _ in range((depth - 2) // 6):
            layers.append(_Block(wide, out, norm))
            wide = out
    return _start(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide, _whole("classes", classes))))


def resnet50(classes: int = 1000, *, channels: int = 3, norm: Norm = "batch") -> nn.Sequential:
    """The residual network for ImageNet's pictures: 25.6 million parameters.

    Where a stage begins, its 3 × 3 convolution takes every second pixel, as is usual today; in the paper it is the 1 × 1 one.
    He, Zhang, Ren, Sun, *Deep residual learning for image recognition*, 2016, https://arxiv.org/abs/1512.03385
    """
    first = _convolution(_whole("channels", channels), 64, 7, stride=2, norm=norm)
    layers: list[nn.Module] = [*first, nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1)]
    wide = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            layers.append(_Bottleneck(wide, 64 << stage, 2 if stage and not block else 1, norm))
            wide = 256 << stage
    return _start(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide, _whole("classes", classes))))


def vgg11(classes: int = 10, *, channels: int = 3, norm: Norm = None) -> nn.Sequential:
    """Eight convolutions and one linear layer, as is usual for CIFAR's pictures: 9.2 million parameters.

    Pictures are at least 32 × 32; of larger ones the mean over what is left of them is taken. The paper's three linear layers
    for ImageNet would have 124 million parameters more.
    Simonyan, Zisserman, *Very deep convolutional networks for large-scale image recognition*, 2015,
    https://arxiv.org/abs/1409.1556
    """
    layers: list[nn.Module] = []
    wide = _whole("channels", channels)
    for outs in ((64,), (128,), (256, 256), (512, 512), (512, 512)):
        for out in outs:
            layers += [*_convolution(wide, out, 3, norm=norm), nn.ReLU()]
            wide = out
        layers.append(nn.MaxPool2d(2))
    return _start(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide, _whole("classes", classes))))


class _Block(nn.Module):
    """x + two convolutions of it. Where channels double, the shortcut takes every second pixel, and zeros for the new ones."""

    def __init__(self, wide: int, out: int, norm: Norm) -> None:
        super().__init__()
        self.stride, self.new = out // wide, out - wide
        self.body = nn.Sequential(
            *_convolution(wide, out, 3, stride=self.stride, norm=norm), nn.ReLU(), *_convolution(out, out, 3, norm=norm)
        )

    def forward(self, x: Tensor) -> Tensor:
        short = x[:, :, :: self.stride, :: self.stride]
        short = pad(short, (0, 0, 0, 0, self.new // 2, self.new // 2)) if self.new else short
        return relu(short + self.body(x))


class _Bottleneck(nn.Module):
    """x + three convolutions of it, of which the middle one sees neighbours; four times ``middle`` channels come out."""

    def __init__(self, wide: int, middle: int, stride: int, norm: Norm) -> None:
        super().__init__()
        out = 4 * middle
        self.body = nn.Sequential(
            *_convolution(wide, middle, 1, norm=norm),
            nn.ReLU(),
            *_convolution(middle, middle, 3, stride=stride, norm=norm),
            nn.ReLU(),
            *_convolution(middle, out, 1, norm=norm),
        )
        self.short = nn.Sequential(*(_convolution(wide, out, 1, stride=stride, norm=norm) if wide != out else ()))

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.short(x) + self.body(x))


def _convolution(wide: int, out: int, side: int, *, stride: int = 1, norm: Norm) -> list[nn.Module]:
    """A convolution and what normalises it; without that it has a bias of its own."""
    made = nn.Conv2d(wide, out, side, stride=stride, padding=side // 2, bias=norm is None)
    if norm is None:
        return [made]
    if norm == "batch":
        return [made, nn.BatchNorm2d(out)]
    if norm == "group":  # 32 groups, as Wu, He 2018; of two channels where there are fewer than 64
        return [made, nn.GroupNorm(min(32, out // 2), out)]
    if callable(norm):
        return [made, norm(out)]
    raise ArgumentError(f"norm={norm!r}: it must be 'batch', 'group', None, or a function from channels to a layer")


def _start(model: nn.Sequential) -> nn.Sequential:
    """Convolutions as He, Zhang, Ren, Sun, *Delving deep into rectifiers*, 2015: a signal keeps its size through ReLUs."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


# ---- text ----------------------------------------------------------------------------------------------------------------


class GPT(nn.Module):
    """Made by `gpt`: tokens [batch, time] to the logits of each one's successor [batch, time, vocabulary]."""

    def __init__(self, vocabulary: int, context: int, layers: int, heads: int, width: int) -> None:
        super().__init__()
        self.context = context
        self.tokens = nn.Embedding(vocabulary, width)
        self.places = nn.Embedding(context, width)
        self.layers = nn.Sequential(*(_Layer(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight  # tied: what a token means when it is read and when it is guessed
        for name, p in self.named_parameters():
            if p.dim() > 1:  # what is added to the stream, twice in a layer, begins smaller
                added = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(p, std=0.02 / math.sqrt(2 * layers) if added else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(p)

    def forward(self, tokens: Tensor) -> Tensor:
        """The logits: what is guessed at each place from the tokens up to it."""
        time = tokens.shape[1]
        if time > self.context:
            raise ArgumentError(f"tokens has the shape {tuple(tokens.shape)}: this model was made for context={self.context}")
        x = self.tokens(tokens) + self.places(torch.arange(time, device=tokens.device))
        logits: Tensor = self.head(self.norm(self.layers(x)))
        return logits

    @torch.no_grad()
    def write(
        self, tokens: Tensor, count: int, *, temperature: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """The tokens [time], and ``count`` more, each drawn from what is guessed; the smaller ``temperature``, the bolder."""
        count, temperature = whole("count", count, error=ArgumentError), real("temperature", temperature, above=0)
        for _ in range(count):
            logits = self(tokens[None, -self.context :])[0, -1] / temperature
            drawn = torch.multinomial(logits.softmax(-1).cpu(), 1, generator=generator)
            tokens = torch.cat([tokens, drawn.to(tokens.device)])
        return tokens


class _Layer(nn.Module):
    """x + attention to what came before, and + a small network of each token alone."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, time, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, time, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        # Softmax of q kᵀ / √d, written out: torch's fused attention has no rule for many nodes in one call (`vmap`)
        later = torch.ones(time, time, dtype=torch.bool, device=x.device).triu(1)
        weights = (q @ k.transpose(-2, -1) / math.sqrt(width // self.heads)).masked_fill(later, -math.inf).softmax(-1)
        seen = weights @ v
        x = x + self.out(seen.transpose(1, 2).reshape(batch, time, width))
        added: Tensor = self.down(gelu(self.up(self.norm2(x))))
        return x + added


def gpt(vocabulary: int = 256, context: int = 64, *, layers: int = 4, heads: int = 4, width: int = 128) -> GPT:
    """A transformer that guesses the next token from up to ``context`` earlier ones; 0.84 million parameters as it is.

    Norms stand before attention and network, as in GPT-2, and the last layer shares its numbers with the first. No dropout.
    Radford, Wu, Child, Luan, Amodei, Sutskever, *Language models are unsupervised multitask learners*, 2019
    """
    if _whole("width", width) % _whole("heads", heads):
        raise ArgumentError(f"width={width}: it must be a multiple of heads={heads}")
    return GPT(_whole("vocabulary", vocabulary), _whole("context", context), _whole("layers", layers), heads, width)


def next_token(logits: Tensor, tokens: Tensor) -> Tensor:
    """The loss of a `gpt`: cross entropy, the mean over all places of all samples. For `fit`: ``loss=models.next_token``."""
    return cross_entropy(logits.flatten(0, -2), tokens.flatten())


# ---- arguments -----------------------------------------------------------------------------------------------------------


def _whole(name: str, value: Any) -> int:
    return whole(name, value, minimum=1, error=ArgumentError)


def _shape(shape: Any) -> tuple[int, int, int]:
    if not isinstance(shape, tuple | list | torch.Size) or len(shape) != 3:
        raise ArgumentError(f"shape={shape!r}: it must be (channels, height, width), such as (1, 28, 28)")
    channels, height, width = (_whole("shape", side) for side in shape)
    return channels, height, width
