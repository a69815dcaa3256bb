"""MLflow and W&B: a run's scalars and its trials stand where they should, without a server; skipped without them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dashfx.errors import ConfigError
from dashfx.train.loggers.mlflow import EXPERIMENT, PARENT, MLflow
from dashfx.train.loggers.wandb import WandB
from dashfx.train.progress import Epoch, Observer

EPOCH = Epoch("search", 0, 2, 0.5, 0.75, 0.75, 0.1, 1.0, 9.0, {"layer1.conv": (0.4, "k3 d1")})


def tell(observer: Observer) -> None:
    observer.epoch(EPOCH)
    observer.trial(0, {"lr": 0.1, "augment": None}, 0.8, "complete")
    observer.trial(1, {"lr": 9.0, "augment": "flip"}, None, "pruned")
    observer.stage_done("export", 1.0)


def test_mlflow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    board = MLflow(tmp_path / "run" / "mlflow", "run")
    assert not (tmp_path / "run").exists()
    tell(board)
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'run' / 'mlflow' / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])
    parents = [run for run in runs if PARENT not in run.data.tags]
    children = {run.data.params["lr"]: run for run in runs if PARENT in run.data.tags}
    assert len(parents) == 1 and parents[0].data.metrics["search/loss"] == 0.5
    assert parents[0].data.metrics["search mixtures/layer1.conv"] == 0.4
    assert set(children) == {"0.1", "9.0"} and children["0.1"].data.metrics == {"metric": 0.8}
    assert {run.data.tags[PARENT] for run in children.values()} == {parents[0].info.run_id}
    assert children["9.0"].info.status == "KILLED" and children["9.0"].data.metrics == {}


def test_wandb(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    board = WandB(tmp_path / "run" / "wandb", "run")
    assert not (tmp_path / "run").exists()
    tell(board)
    assert len(list((tmp_path / "run" / "wandb").glob("wandb/offline-run-*"))) == 3  # the run and its two trials


@pytest.mark.parametrize(("kind", "package"), [(MLflow, "mlflow"), (WandB, "wandb")])
def test_without_the_package_it_says_what_to_install(
    kind: type[MLflow] | type[WandB], package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"pip install 'dashfx\[{package}\]'"):
        kind(tmp_path, "run")
