"""The fit loop: it learns, continues interrupted runs bit for bit, keeps the best weights, says what went wrong."""

from __future__ import annotations

import math
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toys import ToyNet, toy_data

from dashfx.config.run import RetrainConfig
from dashfx.errors import ConfigError, RunFolderError, TrainingError
from dashfx.task import evaluate, load_task
from dashfx.train.averaging import Average
from dashfx.train.checkpoints import Fitted, write_atomically
from dashfx.train.fit import Supervised, derive_seed, fit, validate
from dashfx.train.processes import finite, make_accelerator
from dashfx.train.progress import Epoch, Observer
from dashfx.train.recipe import OPTIMISERS, make_optimiser, prepared

DATA = toy_data()
TASK = load_task(None, DATA)


def learner(**options: Any) -> Supervised:
    torch.manual_seed(0)
    config = RetrainConfig.parse({"epochs": 4, "batch_size": 16, "lr": 0.02, **options})
    return Supervised(ToyNet(), TASK, config, make_accelerator("cpu"))


def weights(fitted: Supervised) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in fitted.model.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class Recorder(Observer):
    def __init__(self, stop_after: int | None = None) -> None:
        self.epochs: list[Epoch] = []
        self.steps: list[tuple[int, int]] = []
        self.stop_after = stop_after

    def step(self, stage: str, epoch: int, step: int, steps: int) -> None:
        self.steps.append((step, steps))

    def epoch(self, facts: Epoch) -> None:
        self.epochs.append(facts)
        if len(self.epochs) == self.stop_after:
            raise KeyboardInterrupt


def test_it_learns_and_tells() -> None:
    recorder, trained = Recorder(), learner(epochs=12)
    fitted = fit(trained, DATA, stage="retrain", observer=recorder)
    assert fitted.history[-1].loss < 0.7 * fitted.history[0].loss and fitted.best > 0.6
    assert recorder.epochs == fitted.history and [e.epoch for e in fitted.history] == list(range(12))
    steps = len(DATA.train) // 16  # the last batch that is not full is left out
    assert recorder.steps[:steps] == [(i + 1, steps) for i in range(steps)]
    assert fitted.seconds > 0 and all(e.steps_per_second > 0 for e in fitted.history)


def test_an_epoch_tells_the_rate_of_its_middle() -> None:
    fitted = fit(learner(epochs=2, lr=0.1, schedule="cosine"), DATA, stage="retrain")
    expected = [0.05 * (1 + math.cos(math.pi * progress)) for progress in (0.25, 0.75)]
    assert [epoch.lr for epoch in fitted.history] == pytest.approx(expected)


def test_the_best_epochs_weights_are_kept() -> None:
    trained = learner(epochs=6, lr=0.1)
    fitted = fit(trained, DATA, stage="retrain")
    assert fitted.best == max(e.metric for e in fitted.history) == fitted.history[fitted.best_epoch].metric
    assert [e.best for e in fitted.history] == [max(e.metric for e in fitted.history[: i + 1]) for i in range(6)]
    trained.model.load_state_dict(fitted.best_weights)
    assert validate(trained, DATA) == fitted.best


def test_of_equal_epochs_the_latest_is_kept() -> None:
    still = learner(epochs=4, lr=1e-12)  # no answer changes, the weights do
    fitted = fit(still, DATA, stage="retrain")
    assert len({epoch.metric for epoch in fitted.history}) == 1 and fitted.best_epoch == 3
    assert same(fitted.best_weights, weights(still))


def test_a_start_that_is_better_than_every_epoch_is_kept_where_it_counts(tmp_path: Path) -> None:
    trained = learner(epochs=12)
    trained.model.load_state_dict(fit(trained, DATA, stage="retrain").best_weights)
    start = weights(trained)

    def spoiled(resume: bool, observer: Recorder) -> Fitted:
        again = learner(epochs=2, lr=0.5)
        again.model.load_state_dict(start)
        options: dict[str, Any] = {"folder": tmp_path, "resume": resume, "observer": observer}
        return fit(again, DATA, stage="retrain", from_start=True, **options)

    with pytest.raises(KeyboardInterrupt):
        spoiled(False, Recorder(stop_after=1))
    fitted = spoiled(True, Recorder())
    assert fitted.best_epoch == -1 and fitted.best > max(e.metric for e in fitted.history)
    assert same(fitted.best_weights, start) and [e.best for e in fitted.history] == [fitted.best] * 2


@pytest.mark.parametrize("optimizer", OPTIMISERS)
def test_an_interrupted_run_continues_bit_for_bit(optimizer: str, tmp_path: Path) -> None:
    straight = learner(optimizer=optimizer, fraction=0.7)
    expected = fit(straight, DATA, stage="retrain", seed=5)

    with pytest.raises(KeyboardInterrupt):
        fit(
            learner(optimizer=optimizer, fraction=0.7),
            DATA,
            stage="retrain",
            seed=5,
            folder=tmp_path,
            observer=Recorder(stop_after=2),
        )
    torch.manual_seed(99)  # whatever came between
    resumed = learner(optimizer=optimizer, fraction=0.7)
    nn.init.zeros_(resumed.model.fc.weight)
    recorder = Recorder()
    fitted = fit(resumed, DATA, stage="retrain", seed=5, folder=tmp_path, resume=True, observer=recorder)

    assert [e.epoch for e in recorder.epochs] == [2, 3]
    assert same(weights(resumed), weights(straight)) and same(fitted.best_weights, expected.best_weights)
    assert [(e.loss, e.metric, e.lr) for e in fitted.history] == [(e.loss, e.metric, e.lr) for e in expected.history]
    assert not list(tmp_path.glob("*.part"))


def test_a_finished_stage_is_not_trained_again(tmp_path: Path) -> None:
    first = learner()
    fit(first, DATA, stage="retrain", folder=tmp_path)
    again, recorder = learner(), Recorder()
    fitted = fit(again, DATA, stage="retrain", folder=tmp_path, resume=True, observer=recorder)
    assert not recorder.epochs and len(fitted.history) == 4 and same(weights(again), weights(first))


def test_the_seed_decides_and_nothing_else() -> None:
    def trained(seed: int) -> dict[str, Tensor]:
        made = learner()
        torch.rand(seed)  # the random state before does not matter
        fit(made, DATA, stage="retrain", seed=seed)
        return weights(made)

    assert same(trained(1), trained(1)) and not same(trained(1), trained(2))


def test_stages_have_seeds_of_their_own() -> None:
    seeds = {
        derive_seed(seed, stage, epoch) for seed in range(3) for stage in ("search", "retrain") for epoch in range(9)
    }
    assert len(seeds) == 54 and all(0 <= seed < 2**32 for seed in seeds)
    assert derive_seed(0, "search", 1) == derive_seed(0, "search", 1)


def test_the_checkpoint_of_another_run(tmp_path: Path) -> None:
    fit(learner(), DATA, stage="retrain", folder=tmp_path)
    other = Supervised(ToyNet(width=6), TASK, RetrainConfig(), make_accelerator("cpu"))
    with pytest.raises(RunFolderError, match=r"retrain-last\.pt does not fit this run") as raised:
        fit(other, DATA, stage="retrain", folder=tmp_path, resume=True)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"half a file"])
def test_a_broken_checkpoint(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "retrain-last.pt").write_bytes(content)
    with pytest.raises(RunFolderError, match=r"retrain-last\.pt is damaged") as raised:
        fit(learner(), DATA, stage="retrain", folder=tmp_path, resume=True)
    assert "\n" not in str(raised.value)


@contextmanager
def small_disk(size: int) -> Iterator[None]:
    """Files end after so many bytes, as on a disk that is full: the system says it in the middle of a write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_is_full_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    write_atomically({"epoch": 1}, path)
    with small_disk(10_000), pytest.raises(RunFolderError, match=r"File too large; the last complete one is kept") as e:
        write_atomically({"epoch": torch.zeros(100_000)}, path)
    assert "--resume" in str(e.value) and "\n" not in str(e.value)
    assert torch.load(path, weights_only=True) == {"epoch": 1} and list(tmp_path.iterdir()) == [path]


def test_a_save_that_is_interrupted_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomically({"epoch": 1}, tmp_path / "a.pt")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dashfx.train.checkpoints.os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically({"epoch": 2}, tmp_path / "a.pt")
    assert torch.load(tmp_path / "a.pt", weights_only=True) == {"epoch": 1} and len(list(tmp_path.iterdir())) == 1


def test_weights_that_are_not_finite_are_not_kept(tmp_path: Path) -> None:
    class Poisoned(Supervised):
        """The last step of the third epoch spoils a weight that no loss of that epoch sees any more."""

        def train_mode(self) -> None:
            super().train_mode()
            self.begun = getattr(self, "begun", 0) + 1

        def step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
            loss = super().step(batch)
            if self.begun == 3:
                nn.init.constant_(self.model.fc.weight, float("inf"))
                return torch.zeros(())
            return loss

    made = learner()
    made.__class__ = Poisoned
    with pytest.raises(TrainingError, match="weights are no longer finite in epoch 3, the checkpoint before"):
        fit(made, DATA, stage="retrain", folder=tmp_path)
    state = torch.load(tmp_path / "retrain-last.pt", weights_only=True)
    assert len(state["history"]) == 2 and finite(state["learner"]["model"].values())


def test_a_loss_that_is_not_finite_is_an_error() -> None:
    with pytest.raises(TrainingError, match=r"stage retrain: the loss is .* in epoch \d.*--set retrain.lr="):
        fit(learner(optimizer="sgd", lr=1e30, clip=0, epochs=8), DATA, stage="retrain")


@pytest.mark.parametrize(("stage", "block"), [("one-by-one", "search"), ("control", "retrain"), ("tune", "retrain")])
def test_a_diverged_stage_names_the_rate_that_it_is_set_by(stage: str, block: str) -> None:
    with pytest.raises(TrainingError, match=rf"stage {stage}: .*--set {block}\.lr="):
        fit(learner(optimizer="sgd", lr=1e30, clip=0, epochs=8), DATA, stage=stage)


def test_norms_and_biases_carry_no_weight_decay() -> None:
    model = ToyNet()
    optimiser = make_optimiser(model.parameters(), RetrainConfig(weight_decay=0.3))
    decay = {id(p): group["weight_decay"] for group in optimiser.param_groups for p in group["params"]}
    assert {name for name, p in model.named_parameters() if decay[id(p)]} == {
        "conv1.weight",
        "conv2.weight",
        "fc.weight",
    }
    assert len(decay) == len(list(model.parameters()))


def test_frozen_parameters_stay() -> None:
    model = ToyNet()
    model.conv1.weight.requires_grad_(False)
    before = model.conv1.weight.clone()
    fit(Supervised(model, TASK, RetrainConfig(epochs=1), make_accelerator("cpu")), DATA, stage="retrain")
    assert torch.equal(model.conv1.weight, before)


def test_gradients_are_clipped() -> None:
    trained = learner(optimizer="sgd", clip=1e-3, lr=1.0, momentum=0.0, weight_decay=0.0)
    before = weights(trained)
    x, y = DATA.train.__getitems__(range(16))
    trained.model.train()
    trained.step((x, y))
    moved = sum(float((weights(trained)[n] - before[n]).square().sum()) for n, _ in trained.model.named_parameters())
    assert moved**0.5 == pytest.approx(1e-3, rel=1e-3)


def test_validation_leaves_no_trace() -> None:
    trained = learner()
    before = weights(trained)
    assert validate(trained, DATA) == validate(trained, DATA)
    assert same(weights(trained), before)


@pytest.mark.parametrize(
    ("device", "amp", "words"),
    [("gpu", "no", "choose auto, cpu or cuda"), ("cpu", "fp16", "needs a GPU")],
)
def test_devices(device: str, amp: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make_accelerator(device, amp)


@pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without a GPU")
def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="torch sees no GPU here"):
        make_accelerator("cuda")


def test_half_precision_on_the_cpu() -> None:
    trained = Supervised(ToyNet(), TASK, RetrainConfig(epochs=1), make_accelerator("cpu", "bf16"))
    assert fit(trained, DATA, stage="retrain").history[0].loss < 3
    assert all(p.dtype is torch.float32 for p in trained.model.parameters())


def test_nothing_fitted_yet() -> None:
    assert Fitted().seconds == 0 and Fitted().best_epoch == -1


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_an_average_is_judged_kept_and_resumed_bit_for_bit(ema: float, tmp_path: Path) -> None:
    straight, plain = learner(ema=ema), learner()
    expected = fit(straight, DATA, stage="retrain")
    fit(plain, DATA, stage="retrain")
    assert same(weights(straight), weights(plain))  # training itself goes on as without
    assert same(expected.best_weights, weights(plain)) is False or not ema
    with pytest.raises(KeyboardInterrupt):
        fit(learner(ema=ema), DATA, stage="retrain", folder=tmp_path, observer=Recorder(stop_after=2))
    resumed = learner(ema=ema)
    fitted = fit(resumed, DATA, stage="retrain", folder=tmp_path, resume=True)
    assert same(fitted.best_weights, expected.best_weights) and same(weights(resumed), weights(straight))
    resumed.model.load_state_dict(fitted.best_weights)
    assert fitted.best == pytest.approx(evaluate(resumed.model.eval(), DATA.loader("valid", 64), TASK))


def test_an_average_forgets_the_start_and_then_moves_slowly() -> None:
    model = nn.Linear(1, 1, bias=False)
    average = Average(model, 0.9)
    seen = []
    for step in range(200):
        nn.init.constant_(model.weight, 1.0 if step < 100 else 2.0)
        average.update(model)
        with average.in_place_of(model):
            seen.append(float(model.weight.detach()))
    assert seen[99] == pytest.approx(1.0, abs=1e-3) and model.weight == 2
    assert seen[100] == pytest.approx(0.9 * seen[99] + 0.1 * 2) and seen[-1] == pytest.approx(2.0, abs=1e-3)


def test_an_average_takes_what_is_no_float_as_it_is() -> None:
    model = nn.BatchNorm1d(1)
    average = Average(model, 0.9)
    model.num_batches_tracked.fill_(5)
    average.update(model)
    assert average.state_dict()["state"]["num_batches_tracked"] == 5


def test_training_stops_where_it_no_longer_gets_better() -> None:
    fitted = fit(learner(epochs=50, lr=1e-12, patience=3), DATA, stage="retrain")
    better = next(i for i, epoch in enumerate(fitted.history) if epoch.metric == fitted.best)
    assert len(fitted.history) == better + 4 < 50 and "no better accuracy for 3 epochs" in fitted.stopped


def test_dropout_and_memory_layout_are_set() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Dropout2d(0.5), nn.Conv3d(2, 4, 3), nn.Linear(2, 2))
    prepared(model, RetrainConfig(dropout=0.2, channels_last=True))
    assert model[1].p == 0.2 and model[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert model[2].weight.is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.slow
def test_a_compiled_model_learns_the_same() -> None:
    plain, compiled = (learner(epochs=1, dropout=0.0, compile=wanted) for wanted in (False, True))  # each draws its own
    expected, fitted = (fit(each, DATA, stage="retrain") for each in (plain, compiled))
    assert fitted.history[0].loss == pytest.approx(expected.history[0].loss, rel=1e-3)
    assert fitted.best_weights.keys() == expected.best_weights.keys()
