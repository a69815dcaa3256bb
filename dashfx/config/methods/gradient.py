"""Methods that train mixtures: how weights and architecture parameters move, and how a choice is read from them.

Rates, batch sizes and lengths stay those of dashfx, so that two methods differ in the method alone; a share of the rows
that is held out belongs to the method. No method but DASH has a cost in its loss here.
"""

from __future__ import annotations

from typing import Any

from dashfx.config.methods.base import Method

HALF = "half of the training rows, which the weights do not see"
TWICE = f"{HALF}; operations that can be differentiated twice; several times the time of a first-order step"
BILEVEL: dict[str, Any] = {
    "strategy": "dash",
    "relaxation": "softmax",
    "update": "first-order",
    "rule": "argmax",
    "alpha_optimizer": "adam:beta1=0.5",
    "held_out": 0.5,
    "warmup": 0.0,
    "cost_weight": 0.0,
}
ONE_LEVEL: dict[str, Any] = {"strategy": "dash", "relaxation": "soft-gumbel", "update": "one-level", "rule": "argmax"}
DARTS = "Liu et al., DARTS: Differentiable Architecture Search, ICLR 2019"
DASH = "Shen et al., Efficient Architecture Search for Diverse Tasks, NeurIPS 2022"

GRADIENT: dict[str, Method] = {
    "dash": Method(
        "Soft Gumbel mixtures and weights learn in one backward pass on the training loss.",
        {"search": ONE_LEVEL},
        DASH,
        ours="a mild cost on wide spans stands in the loss; search.cost_weight=0 takes it out",
    ),
    "dash-tied": Method(
        "DASH with one choice for all convs of the same candidates.",
        {"search": {**ONE_LEVEL, "tie": "all"}},
        DASH,
        ours="the tie",
    ),
    "darts": Method(
        "Mixtures descend on the held-out loss of weights that are a step ahead.",
        {"search": {**BILEVEL, "update": "unrolled"}},
        DARTS,
        TWICE,
        "second derivatives are exact, not finite differences",
    ),
    "darts-first-order": Method(
        "Weights and mixtures take turns, mixtures on held-out rows.", {"search": BILEVEL}, DARTS, HALF
    ),
    "gdas": Method(
        "One candidate a step by Gumbel-max, with the gradient of the softmax, from hot to cold.",
        {"search": {**BILEVEL, "relaxation": "gdas:hot=10,cold=0.1"}},
        "Dong and Yang, Searching for a Robust Neural Architecture in Four GPU Hours, CVPR 2019",
        HALF,
    ),
    "gaea": Method(
        "Coefficients are points of the simplex and move by factors.",
        {
            "search": {
                **BILEVEL,
                "relaxation": "simplex",
                "alpha_optimizer": "expgrad",
                "alpha_lr": 0.1,
            }
        },
        "Li et al., Geometry-Aware Gradient Algorithms for Neural Architecture Search, ICLR 2021",
        HALF,
    ),
    "darts-pt": Method(
        "First-order DARTS, of which each conv keeps the candidate that is missed most, with training in between.",
        {"search": {**BILEVEL, "rule": "perturbation", "discretise": "one-by-one", "recovery": 1.0}},
        "Wang et al., Rethinking Architecture Selection in Differentiable NAS, ICLR 2021",
        f"{HALF}; an epoch of training and a look per candidate for each conv",
        "an epoch after each choice in place of ten, and the loss in place of the accuracy",
    ),
    "r-darts": Method(
        "DARTS that goes back and decays weights more where the curvature of the held-out loss rises.",
        {"search": {**BILEVEL, "update": "unrolled", "monitors": ["curvature:returns=3"]}},
        "Zela et al., Understanding and Robustifying Differentiable Architecture Search, ICLR 2020",
        TWICE,
        "of the paper's variants DARTS-ADA",
    ),
    "darts-plus": Method(
        "First-order DARTS that ends when no conv's order of candidates has changed for ten epochs.",
        {"search": {**BILEVEL, "monitors": ["rank-stable:epochs=10"]}},
        "Liang et al., DARTS+: Improved Differentiable Architecture Search with Early Stopping, 2019",
        HALF,
    ),
    "amended": Method(
        "DARTS whose gradient takes the Hessian of the training loss for its inverse.",
        {"search": {**BILEVEL, "update": "amended"}},
        "Bi et al., Stabilizing DARTS with Amended Gradient Estimation, 2019",
        TWICE,
    ),
    "rarts": Method(
        "Two copies of the weights, one on each half of the rows, pull at each other and at the mixtures.",
        {"search": {**BILEVEL, "update": "relaxed"}},
        "Xue and Xin, RARTS: An Efficient First-Order Relaxed Architecture Search Method, 2020",
        f"{HALF}; a second copy of the weights",
    ),
    "dropnas": Method(
        "Candidates leave at random by groups of like size while weights and mixtures learn together.",
        {"search": {**ONE_LEVEL, "relaxation": "grouped-drop", "cost_weight": 0.0}},
        "Hong et al., DropNAS: Grouped Operation Dropout, IJCAI 2020",
        ours="groups are thirds of the candidates by their taps",
    ),
    "sharpdarts": Method(
        "The strongest candidate has weight 1 and no gradient; the rate falls along a power of a cosine.",
        {"search": {**BILEVEL, "relaxation": "max-w", "schedule": "cosine-power"}},
        "Hundt et al., sharpDARTS: Faster and More Accurate Differentiable Architecture Search, 2019",
        HALF,
    ),
    "sp-darts": Method(
        "Mixtures are sharp or softer by chance, and sharp more often as time goes on.",
        {"search": {**BILEVEL, "relaxation": "sparse-noisy", "warmup": 0.1}},
        "Zhang et al., Small Temperature is All You Need for Differentiable Architecture Search, 2023",
        HALF,
        "the temperature is a share of the logits' spread",
    ),
    "fbnet": Method(
        "Soft Gumbel mixtures, hot to cold, with the loss times a power of the logarithm of the expected latency.",
        {
            "search": {
                **BILEVEL,
                "relaxation": "soft-gumbel:tau=5,end=0.09",
                "terms": ["cost-log:cost=latency"],
                "rule": "best-of:draws=10",
                "held_out": 0.2,
                "warmup": 0.1,
            }
        },
        "Wu et al., FBNet: Hardware-Aware Efficient ConvNet Design via Differentiable NAS, CVPR 2019",
        "a fifth of the training rows, which the weights do not see; a minute in which candidates are timed",
        "latency is counted in thousandths of the untouched model's",
    ),
    "proxylessnas": Method(
        "Weights learn on one drawn path; of two drawn candidates a conv, mixtures learn which would be better.",
        {
            "search": {
                **BILEVEL,
                "relaxation": "categorical",
                "update": "two-path",
                "alpha_optimizer": "adam:beta1=0",
                "held_out": 0.2,
                "warmup": 0.2,
            }
        },
        "Cai et al., ProxylessNAS: Direct Neural Architecture Search on Target Task and Hardware, ICLR 2019",
        "a fifth of the training rows, which the weights do not see",
        "no latency in the loss; add search.terms=[cost-power:cost=latency]",
    ),
    "manas": Method(
        "A bandit at each conv hears the held-out loss of what all of them drew, without a gradient.",
        {"search": {**BILEVEL, "relaxation": "categorical", "update": "agents"}},
        "Lopes et al., MANAS: Multi-Agent Neural Architecture Search, 2019",
        HALF,
        "losses are shares of the largest so far",
    ),
    "autohas": Method(
        "Candidates and factors of the learning rate are drawn together and judged by a step that is taken back.",
        {"search": {**BILEVEL, "relaxation": "categorical", "update": "autohas", "warmup": 0.1}},
        "Dong et al., AutoHAS: Efficient Hyperparameter and Architecture Search, 2020",
        HALF,
        "of the recipe the learning rate alone",
    ),
    "d-darts": Method(
        "Each candidate has a gate of its own, which a term drives to 0 or to 1.",
        {"search": {**BILEVEL, "relaxation": "gates", "terms": ["separation"]}},
        "Heuillet et al., D-DARTS: Distributed Differentiable Architecture Search, 2021",
        HALF,
        "marginal contributions, which have no gradient in the paper's code, are left out",
    ),
    "sd-darts": Method(
        "First-order DARTS whose supernet stays near the mean answer of its last three epochs.",
        {"search": {**BILEVEL, "terms": ["self-distillation"]}},
        "Improving Differentiable Architecture Search via Self-Distillation, 2023",
        f"{HALF}; three copies of the weights, and a pass of each a step",
        "weight and temperature, both 1",
    ),
    "hardcore": Method(
        "Frank-Wolfe steps keep mixtures within the budgets at any time.",
        {"search": {**BILEVEL, "relaxation": "simplex", "alpha_optimizer": "frank-wolfe"}},
        "Nayman et al., HardCoRe-NAS: Hard Constrained diffeRentiable Neural Architecture Search, ICML 2021",
        f"{HALF}; budgets, as --max latency=0.7x",
        "all convs move at once, not in turn",
    ),
    "rc-darts": Method(
        "First-order DARTS whose mixtures are led back into the budgets after each step.",
        {"search": {**BILEVEL, "update": "projected"}},
        "Jin et al., RC-DARTS: Resource Constrained Differentiable Architecture Search, 2019",
        f"{HALF}; budgets, as --max params=0.7x",
        "the way back is by gradient steps on what is too much",
    ),
    "single-path": Method(
        "All candidates of a conv are taps of one kernel, and latency stands in the loss.",
        {
            "space": {"families": ["nested"]},
            "search": {**ONE_LEVEL, "cost": "latency", "cost_weight": 0.1},
        },
        "Stamoulis et al., Single-Path NAS: Designing Hardware-Efficient ConvNets in less than 4 Hours, 2019",
        "a minute in which candidates are timed",
        "coefficients in place of thresholds on the norms of taps, latency in place of its logarithm",
    ),
}
