"""A model with everything that a vector of parameters may stumble over."""

import torch
from torch import nn


class Odd(nn.Module):
    """Attention, tied weights, something frozen, two dtypes, a parameter of its own beside its children."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.scale = nn.Parameter(torch.ones(()))
        self.frozen = nn.Parameter(torch.ones(4), requires_grad=False)
        self.narrow = nn.Linear(4, 4, bias=False, dtype=torch.bfloat16)
        self.out = nn.Linear(4, 7, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, tokens):
        x = self.embed(tokens) * self.scale + self.frozen
        x, _ = self.attention(x, x, x, need_weights=False)
        return self.out(self.narrow(x.bfloat16()).float())
