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
        "All choices learn from the model's answers while it is fine-tuned; LINAS picks one by the shared weights.",
        {
            "search": {"strategy": "linas:population=50", "init": "grow", "update": "sandwich", "cost_weight": 0.0},
            "blackbox": {"evaluator": "supernet", "evaluations": 200, "objectives": ["valid", "macs"]},
        },
        "Sarah et al., InstaTune: Instantaneous Neural Architecture Search During Fine-Tuning, 2023",
        "a trained model, as --checkpoint; a task whose models can be averaged",
        "of the front the most accurate is retrained",
    ),
    "linas": Method(
        "Light predictors of accuracy and latency are searched by NSGA-II, and what looks best there is evaluated.",
        {
            "search": {"strategy": "linas:population=50"},
            "blackbox": {"evaluator": "supernet", "evaluations": 200, "objectives": ["valid", "latency"]},
        },
        "Cummings et al., A Hardware-Aware Framework for Accelerating NAS Across Modalities, 2022",
        "a trained supernet, which mixtures make; a minute in which candidates are timed",
        "200 evaluations, 500 predictions a round; of the front the most accurate is retrained",
    ),
    "bohb": Method(
        "Brackets of short and longer trainings, whose choices a model of the longest ones draws.",
        {"search": {"strategy": "bohb"}, "blackbox": SHORT},
        "Falkner et al., BOHB: Robust and Efficient Hyperparameter Optimization at Scale, ICML 2018",
        "60 trainings of 1 to 3 epochs, which --workers share",
        "the convs alone; --strategy joint has the recipe beside them; TPE draws where the paper has its own densities",
    ),
    "neural-predictor": Method(
        "A predictor of 20 short trainings picks what is trained next.",
        {"search": {"strategy": "surrogate:predictor=gp,start=20"}, "blackbox": SHORT},
        "Wen et al., Neural Predictor for Neural Architecture Search, ECCV 2020",
        TRAININGS,
        "a Gaussian process in place of a graph network, fitted again after each five",
    ),
    "gbdt-nas": Method(
        "Boosted trees of 20 short trainings pick what is trained next.",
        {"search": {"strategy": "surrogate:predictor=boosting,start=20"}, "blackbox": SHORT},
        "Luo et al., Neural Architecture Search with GBDT, 2020",
        TRAININGS,
        "candidates by their sizes, not one by one",
    ),
    "differential": Method(
        "Differences of choices challenge others; what one is worth a short training tells.",
        {"search": {"strategy": "differential:members=10"}, "blackbox": SHORT},
        "Awad et al., Differential Evolution for Neural Architecture Search, ICLR workshop 2020",
        TRAININGS,
        "10 members in place of 20",
    ),
}
