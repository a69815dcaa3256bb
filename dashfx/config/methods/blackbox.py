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
    "parzc": Method(
        "A network learns from short trainings which conv's share of a proxy tells, and picks what is trained next.",
        {"search": {"strategy": "parametric"}, "blackbox": {**SHORT, "evaluations": 30}},
        "Dong et al., ParZC: Parametric Zero-Cost Proxies for Efficient NAS, 2024",
        "30 trainings of 3 epochs, which --workers share, and three proxies of 100 choices",
        "two hidden layers in place of a mixer",
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
    "bananas": Method(
        "Draws from networks that disagree pick what is trained next, among mutants and random choices.",
        {
            "search": {
                "strategy": "surrogate:predictor=ensemble,acquire=thompson,start=10,top=10,parents=5,features=one-hot"
            },
            "blackbox": SHORT,
        },
        "White et al., BANANAS: Bayesian Optimization with Neural Architectures for NAS, AAAI 2021",
        TRAININGS,
        "one code a conv in place of paths, since all choices have the same paths; half of the pool is random",
    ),
    "nas-bowl": Method(
        "A Gaussian process on how often motifs of choices stand in the network picks what is trained next.",
        {"search": {"strategy": "bowl:start=20"}, "blackbox": SHORT},
        "Ru et al., Interpretable NAS via BO with Weisfeiler-Lehman Kernels, ICLR 2021",
        TRAININGS,
        "the graph is the chain of the searched convs, without what joins branches",
    ),
    "optiproxy": Method(
        "Points between the choices climb the gradient of networks that were fitted to short trainings.",
        {"search": {"strategy": "ascent"}, "blackbox": SHORT},
        "OptiProxy-NAS: Optimization Proxy based End-to-End Neural Architecture Search, 2025",
        TRAININGS,
        "the form of networks and climbs, from the paper's abstract alone",
    ),
    "fbnetv3": Method(
        "A predictor that knows sizes before it sees a value picks what is trained next.",
        {"search": {"strategy": "pretrained"}, "blackbox": SHORT},
        "Dai et al., FBNetV3: Joint Architecture-Recipe Search using Predictor Pretraining, CVPR 2021",
        TRAININGS,
        "taps, spans and dilations in place of FLOPs and parameters; the convs alone, without the recipe",
    ),
    "epnas": Method(
        "Convs open from the first to the last, and a surrogate's scores are probabilities of what is trained next.",
        {"search": {"strategy": "progressive"}, "blackbox": SHORT},
        "Perez-Rua et al., Efficient Progressive Neural Architecture Search, BMVC 2018",
        TRAININGS,
        "ridge regression in place of a recurrent network, each choice trained by itself",
    ),
    "lanas": Method(
        "Linear models halve what is known again and again, and the next is drawn from the most promising part.",
        {"search": {"strategy": "lanas"}, "blackbox": SHORT},
        "Wang et al., Sample-Efficient Neural Architecture Search by Learning Action Space, 2019",
        TRAININGS,
        "a tree of depth 3, learned anew at each draw",
    ),
    "mcts": Method(
        "Conv after conv is decided by how well the choices below have done, then at random.",
        {"search": {"strategy": "mcts"}, "blackbox": SHORT},
        "Negrinho and Gordon, DeepArchitect: Automatically Designing and Training Deep Architectures, 2017",
        TRAININGS,
        "the weight of the bound's width",
    ),
    "reinforce": Method(
        "A distribution a conv moves towards what did better than usual in a short training.",
        {"search": {"strategy": "reinforce"}, "blackbox": SHORT},
        "Dong et al., AutoHAS: Efficient Hyperparameter and Architecture Search, 2020",
        TRAININGS,
        "the controller alone, by trainings of their own in place of shared weights",
    ),
    "differential": Method(
        "Differences of choices challenge others; what one is worth a short training tells.",
        {"search": {"strategy": "differential:members=10"}, "blackbox": SHORT},
        "Awad et al., Differential Evolution for Neural Architecture Search, ICLR workshop 2020",
        TRAININGS,
        "10 members in place of 20",
    ),
}
