"""Wider untouched models: what looks like a width, the value that is as large as the searched model, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from proposing import D2, K3, K5, names, run
from torch import Tensor, nn
from toys import ToyNet

from dashfx.config.run import RunConfig
from dashfx.errors import ConfigError, ModelError
from dashfx.frontend.model import load_model
from dashfx.stages.finalists.widths import nearest, widths

X = torch.zeros(2, 2, 24)


class Many(nn.Module):
    """Arguments of all kinds; only two of them make it larger."""

    def __init__(
        self, width: int = 4, hidden_channels: float = 3.0, in_channels: int = 2, kernel_width: int = 3, base: int = 1
    ) -> None:
        super().__init__()
        self.first = nn.Conv1d(in_channels, width, kernel_width, padding=kernel_width // 2)
        self.second = nn.Conv1d(width, int(hidden_channels), 3)
        self.base = base

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x)).amax(-1)


def test_numbers_that_enlarge_the_model_and_are_called_like_widths() -> None:
    assert widths(load_model(Many), X) == {"width": 4, "hidden_channels": 3.0}
    assert widths(load_model(Many, {"width": 8}), X)["width"] == 8
    assert widths(load_model(ToyNet), X) == {"width": 4}
    assert widths(load_model(ToyNet()), X) == {}


def test_the_nearest_value_is_found_on_both_sides() -> None:
    assert nearest(lambda n: n * n, 2, 24) == 5 and nearest(lambda n: n * n, 2, 31) == 6
    assert nearest(lambda n: n * n, 2, 25) == 5 and nearest(lambda n: n * n, 2, 3) == 2
    assert nearest(lambda n: 1, 2, 10**9) >= 2**14  # a size that does not grow ends


def test_a_wider_model_of_as_many_parameters() -> None:
    result = run(K5, wider={"width": "auto"})
    wider, searched = result.finalist("wider"), result.finalist("searched")
    assert wider and searched and wider.figures and searched.figures
    assert (searched.figures.parameters, wider.figures.parameters) == (151, 143)  # 143 at width 5, 189 at 6
    assert wider.name == "untouched, wider" and set(wider.genotype.values()) == {K3}
    assert any("width=5 has 143 parameters, the searched model 151" in note for note in result.notes)
    assert wider.cost == pytest.approx(wider.figures.flops / result.models["untouched"].flops)


def test_there_is_none_where_the_searched_model_is_no_larger() -> None:
    result = run(D2, wider={"width": "auto"})
    assert names(result) == ["searched", "untouched"]
    assert any("no width above 4 comes nearer" in note for note in result.notes)


def test_a_wider_model_that_is_kept_stands_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dashfx.run.folder import existing_folder
    from dashfx.stages.finalists import decision
    from dashfx.stages.reopen import load_genotype, with_kept_width

    monkeypatch.setattr("dashfx.stages.files.deliver.exported", lambda *_: (None, None))
    monkeypatch.setattr(decision, "best_of", lambda _, trained: trained[-1])
    result = run(K5, out=tmp_path / "run", wider={"width": 6})
    assert result.kept is not None and result.kept.origin == "wider" and result.model.conv1.out_channels == 6
    recipe = RunConfig.parse(yaml.safe_load((tmp_path / "run" / "retrain.yaml").read_text()))
    assert recipe.retrain.model_args == {"width": 6} and recipe.retrain.weights == "fresh"
    assert set(load_genotype(tmp_path / "run" / "genotype-searched.json").values()) == {K5}
    assert result.to_dict()["kept"] == "wider" and set(result.genotype.values()) == {K3}
    again = with_kept_width(*existing_folder(tmp_path / "run")).retrain  # what `dashfx retrain` trains
    assert again.model_args == {"width": 6} and again.weights == "fresh" and again.epochs == 6
    (tmp_path / "run" / "retrain.yaml").unlink()
    assert with_kept_width(*existing_folder(tmp_path / "run")).retrain.model_args == {}


@pytest.mark.parametrize(
    ("wanted", "more", "error", "message"),
    [
        ({"wide": "auto"}, {}, ConfigError, "wide: no whole number to enlarge"),
        ({"dropout": "auto"}, {}, ConfigError, "no whole number.*the class has width"),
        ({"breadth": 3}, {}, ModelError, "^--wider breadth=3: .*takes no argument 'breadth'"),
        ({"width": 4}, {}, ConfigError, "give larger values"),
        ({"width": 2}, {}, ConfigError, "give larger values"),
        ({"width": 6}, {"control": False}, ConfigError, "leave --no-control out"),
    ],
)
def test_refusals_come_before_anything_is_written(
    wanted: dict[str, Any], more: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        run(K5, out=tmp_path / "run", wider=wanted, more=more)
    assert not (tmp_path / "run").exists()
