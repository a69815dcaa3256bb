"""Methods that see nothing but what genotypes are worth; how many are tried is a size of ours, not a paper's."""

from __future__ import annotations

from typing import Any

from dashfx.config.methods.base import Method

SHORT: dict[str, Any] = {"evaluator": "train", "epochs": 3, "evaluations": 60}
TRAININGS = "60 trainings of 3 epochs, which --workers share"

BLACK_BOX: dict[str, Method] = {
    "evolution": Method(
        "The fittest of a few has a child, the oldest goes; what one is worth a short training tells.",
        {
            "search": {"strategy": "evolution"},
            "blackbox": {**SHORT, "population": 20, "tournament": 5},
        },
        "Real et al., Regularized Evolution for Image Classifier Architecture Search, AAAI 2019",
        TRAININGS,
        "a population of 20 in place of 100",
    ),
    "local": Method(
        "A step to the first neighbour that does better in a short training.",
        {"search": {"strategy": "local"}, "blackbox": SHORT},
        "White et al., Exploring the Loss Landscape in Neural Architecture Search, UAI 2021",
        TRAININGS,
        "the first better neighbour in place of the best one",
    ),
    "gennas": Method(
        "Evolution by how well untrained weights can be fitted to signals, without labels.",
        {"search": {"strategy": "evolution"}, "blackbox": {"evaluator": "gennas", "evaluations": 200}},
        "Li et al., Generic Neural Architecture Search via Regression, NeurIPS 2021",
        "200 short regressions",
    ),
    "robot": Method(
        "Proxies are weighed by what short trainings say of the choices that they prefer.",
        {"search": {"strategy": "robust"}, "blackbox": {**SHORT, "evaluations": 20}},
        "He et al., Robustifying and Boosting Training-Free Neural Architecture Search, ICLR 2024",
        "20 trainings of 3 epochs, which --workers share, and six proxies of 100 choices",
    ),
    "instatune": Method(
        "All choices learn from the model's answers while it is fine-tuned; evolution picks one by the shared weights.",
        {
            "search": {"strategy": "evolution", "init": "grow", "update": "sandwich", "cost_weight": 0.0},
            "blackbox": {"evaluator": "supernet", "evaluations": 200, "population": 50, "tournament": 10},
        },
        "Sarah et al., InstaTune: Instantaneous Neural Architecture Search During Fine-Tuning, 2023",
        "a trained model, as --checkpoint; a task whose models can be averaged",
        "evolution by accuracy alone in place of LINAS",
    ),
}
