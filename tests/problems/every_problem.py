"""Every registered problem, in a few forms: what all of them are held to."""

import torch

from ifog import problems

F64 = torch.float64

FORMS = {
    "averaging": [{}, {"d": 1}],
    "quadratic": [{}, {"d": 1}, {"condition": 1000, "heterogeneity": 4.0}, {"noise": 0.5}],
    "least_squares": [{}, {"d": 3, "samples": 4, "heterogeneity": 0, "noise": 0}],
    "logistic": [{}, {"nonconvex": 0.05}, {"l2": 0, "nonconvex": 0.001, "heterogeneity": 0.2}],
    "lasso": [{}, {"l1": 0}, {"l1": 0.5, "d": 7}],
    "digits": [{"hidden": (5,)}, {"hidden": ()}, {"hidden": [6, 4], "alpha": 0.1}],
}
CASES = [(name, form) for name in problems.all() for form in FORMS.get(name, [{}])]
IDS = [f"{name}-{index}" for name in problems.all() for index in range(len(FORMS.get(name, [{}])))]
BITS = [(name, form) for name, form in CASES if name != "digits"]  # whose products are rounded by BLAS


def somewhere(problem, nodes, seed=0):
    """An iterate [k, d] whose row depends on the node alone."""
    rows = torch.randn(problem.n, problem.d, dtype=F64, generator=torch.Generator().manual_seed(seed))
    return rows[list(nodes)].to(problem.dtype)
