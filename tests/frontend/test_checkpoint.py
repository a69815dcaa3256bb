"""A checkpoint meets a model: wrappers and prefixes come off, heads start anew on request, misfits are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import dashfx
from dashfx.errors import CheckpointError
from dashfx.frontend.checkpoint import load_checkpoint


class Net(nn.Module):
    """Small, with the parts that matter: a conv, a norm with its counter, a hidden layer and a head."""

    def __init__(self, classes: int = 4, width: int = 3, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.stem = nn.Sequential(nn.Conv1d(1, width, 3, padding=1), nn.BatchNorm1d(width))
        self.hidden = nn.Linear(width, 5)
        self.head = nn.Linear(5, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.hidden(self.stem(x).mean(-1)).relu())


def saved(path: Path, state: Any) -> Path:
    torch.save(state, path)
    return path


def trained(prefix: str = "", **options: int) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in Net(seed=1, **options).state_dict().items()}


def same(model: nn.Module, state: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model.", "net.", "model.module._orig_mod.", "a.b."])
def test_prefixes(prefix: str, tmp_path: Path) -> None:
    model = Net()
    assert load_checkpoint(model, saved(tmp_path / "w.pt", {"state_dict": trained(prefix)})) == []
    assert same(model, trained())


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod."])
def test_wrappers_inside_names(wrapper: str, tmp_path: Path) -> None:
    state = {key.replace("stem.", f"stem.{wrapper}"): value for key, value in trained().items()}
    model = Net()
    load_checkpoint(model, saved(tmp_path / "w.pt", state))
    assert same(model, trained())


def test_a_model_that_is_wrapped_itself(tmp_path: Path) -> None:
    model = nn.Sequential()
    model.module = Net()
    load_checkpoint(model, saved(tmp_path / "w.pt", trained()))
    assert same(model.module, trained())


def test_wrappers_stay_where_names_would_coincide(tmp_path: Path) -> None:
    model = nn.Sequential()
    model.module = nn.Linear(2, 2)
    model.weight = nn.Parameter(torch.zeros(2, 2))
    state = {key: torch.randn_like(value) for key, value in model.state_dict().items()}
    load_checkpoint(model, saved(tmp_path / "w.pt", state))
    assert same(model, state)


def test_lightning_with_other_tensors_beside_the_model(tmp_path: Path) -> None:
    model = Net()
    state = {**trained("model."), "loss.weight": torch.ones(4), "metric.total": torch.zeros(1)}
    (note,) = load_checkpoint(model, saved(tmp_path / "w.ckpt", {"state_dict": state, "epoch": 2}))
    assert "begins with 'model.' is taken; 2 other tensors are not: 'loss.weight', 'metric.total'" in note
    assert same(model, trained())


def test_counters_of_wrappers_are_no_misfits(tmp_path: Path) -> None:
    averaged = {**trained("module."), "n_averaged": torch.tensor(9), "module.head.total_ops": torch.zeros(1)}
    assert load_checkpoint(Net(), saved(tmp_path / "w.pt", averaged)) == []
    bare = {key: value for key, value in trained().items() if "num_batches" not in key}
    assert load_checkpoint(Net(), saved(tmp_path / "b.pt", bare)) == []


def test_two_models_in_one_file(tmp_path: Path) -> None:
    other = {f"teacher.{key}": value + 1 for key, value in trained().items()}
    path = saved(tmp_path / "w.pt", {**trained("student."), **other})
    with pytest.raises(
        CheckpointError, match="2 times, under 'student', 'teacher'; choose one, such as --set checkpoint"
    ):
        load_checkpoint(Net(), path)
    model = Net()
    load_checkpoint(model, path, key="student")
    assert same(model, trained())


def _normed(kind: str) -> nn.Module:
    torch.manual_seed(0)
    norm = parametrizations.weight_norm if kind == "new" else nn.utils.weight_norm
    return nn.Sequential(norm(nn.Conv1d(1, 3, 3)), nn.ReLU(), norm(nn.Linear(4, 4)))


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(("theirs", "ours"), [("old", "new"), ("new", "old"), ("old", "old"), ("new", "new")])
def test_weight_norm_of_either_kind(theirs: str, ours: str, tmp_path: Path) -> None:
    source, model = _normed(theirs), _normed(ours)
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.add_(0.5)
    load_checkpoint(model, saved(tmp_path / "w.pt", source.state_dict()))
    x = torch.randn(2, 1, 6)
    assert torch.allclose(model(x), source(x))


def test_tied_tensors_may_be_there_once(tmp_path: Path) -> None:
    source, model = nn.Sequential(Net(seed=1)), nn.Sequential(Net())
    for each in (source, model):
        each.append(each[0])
    save_model(source, str(tmp_path / "w.safetensors"))
    load_checkpoint(model, tmp_path / "w.safetensors")
    assert same(model, source.state_dict())


def test_lazy_layers_take_their_shape_from_the_checkpoint(tmp_path: Path) -> None:
    model = nn.Sequential(nn.LazyConv1d(3, 3))
    load_checkpoint(model, saved(tmp_path / "w.pt", {"0.weight": torch.ones(3, 2, 3), "0.bias": torch.ones(3)}))
    assert model[0].weight.shape == (3, 2, 3)


class Counting(nn.Linear):
    """A layer with a state that is no tensor."""

    def get_extra_state(self) -> dict[str, int]:
        return {"calls": 3}

    def set_extra_state(self, state: dict[str, int]) -> None:
        raise AssertionError("nothing but tensors is loaded")


def test_a_state_that_is_no_tensor_is_left_alone(tmp_path: Path) -> None:
    model = nn.Sequential(Counting(2, 2))
    state = {**model.state_dict(), "0.weight": torch.ones(2, 2)}
    load_checkpoint(model, saved(tmp_path / "w.pt", state))
    assert float(model[0].weight.sum()) == 4


# ---- heads ----------------------------------------------------------------------------------------------------------


def test_a_head_of_other_classes_needs_to_be_asked_for(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pt", trained(classes=7))
    with pytest.raises(CheckpointError, match=r"'head\.weight' is \(7, 5\).*--new-head starts 'head' anew"):
        load_checkpoint(Net(), path)
    model = Net()
    (note,) = load_checkpoint(model, path, new_head=True)
    assert "'head.weight', 'head.bias' start anew" in note
    assert torch.equal(model.head.weight, Net().head.weight)
    assert torch.equal(model.hidden.weight, trained()["hidden.weight"])


def test_a_new_head_also_where_the_old_one_would_fit_or_is_missing(tmp_path: Path) -> None:
    headless = {key: value for key, value in trained().items() if "head" not in key}
    for state in (trained(), headless):
        model = Net()
        (note,) = load_checkpoint(model, saved(tmp_path / "w.pt", state), new_head=True)
        assert "'head.weight', 'head.bias' start anew" in note
        assert torch.equal(model.head.weight, Net().head.weight)
    with pytest.raises(CheckpointError, match=r"2 of 11 names are missing.*--new-head"):
        load_checkpoint(Net(), tmp_path / "w.pt")


def test_a_head_of_two_names_is_new_under_both(tmp_path: Path) -> None:
    source, model = Net(classes=4, seed=1), Net()
    for each in (source, model):
        each.classifier = each.head
    (note,) = load_checkpoint(model, saved(tmp_path / "w.pt", source.state_dict()), new_head=True)
    assert "'classifier.weight'" in note and torch.equal(model.head.weight, Net().head.weight)
    other = Net(classes=9)
    other.classifier = other.head
    load_checkpoint(model, saved(tmp_path / "o.pt", other.state_dict()), new_head=True)
    assert torch.equal(model.head.weight, Net().head.weight)


@pytest.mark.parametrize("new_head", [False, True])
def test_another_width_is_no_head(new_head: bool, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="have another shape") as raised:
        load_checkpoint(Net(), saved(tmp_path / "w.pt", trained(width=6)), new_head=new_head)
    assert "--new-head" not in str(raised.value)


def test_another_vocabulary_is_no_head(tmp_path: Path) -> None:
    def model(words: int) -> nn.Module:
        return nn.Sequential(nn.Embedding(words, 4), nn.Linear(4, 2))

    with pytest.raises(CheckpointError, match=r"'0\.weight' is \(9, 4\), the model's is \(8, 4\)"):
        load_checkpoint(model(8), saved(tmp_path / "w.pt", model(9).state_dict()), new_head=True)


# ---- what does not fit ----------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_named_and_changes_nothing(tmp_path: Path) -> None:
    model = Net()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = {**trained(), "hiden.weight": torch.zeros(1), "stem.1.bias": torch.zeros(7)}
    del state["hidden.weight"]
    with pytest.raises(CheckpointError) as raised:
        load_checkpoint(model, saved(tmp_path / "w.pt", state))
    message = str(raised.value)
    assert "1 of 11 names are missing: 'hidden.weight' (did you mean 'hiden.weight'?)" in message
    assert "1 are unknown to the model: 'hiden.weight' (did you mean 'hidden.weight'?)" in message
    assert "'stem.1.bias' is (7,), the model's is (3,)" in message
    assert same(model, before)


def test_a_deeper_model_is_not_cut_short(tmp_path: Path) -> None:
    deep = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    with pytest.raises(CheckpointError, match=r"2 are unknown to the model: '2\.weight'.*of a larger model"):
        load_checkpoint(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), saved(tmp_path / "w.pt", deep.state_dict()))


def test_half_of_the_names_missing(tmp_path: Path) -> None:
    half = dict(list(trained("module.").items())[::2])
    with pytest.raises(CheckpointError, match=r"5 of 11 names are missing.* and more$"):
        load_checkpoint(Net(), saved(tmp_path / "w.pt", half))


def test_a_checkpoint_of_another_model_is_one_short_line(tmp_path: Path) -> None:
    state = {f"blocks.{i}.attention.weight": torch.zeros(1) for i in range(500)}
    with pytest.raises(CheckpointError, match="500 are unknown to the model") as raised:
        load_checkpoint(Net(), saved(tmp_path / "w.pt", state))
    assert len(str(raised.value)) < 700 and "\n" not in str(raised.value)


def test_tensors_that_are_not_finite_are_named(tmp_path: Path) -> None:
    state = trained()
    state["hidden.weight"][0, 0] = torch.nan
    (note,) = load_checkpoint(Net(), saved(tmp_path / "w.pt", state))
    assert "1 tensors hold NaN or infinity" in note and "'hidden.weight'" in note


def test_the_weights_of_a_searched_model_say_what_they_are(tmp_path: Path) -> None:
    searched = trained()
    searched["stem.0.weight"] = torch.zeros(3, 1, 9)
    save_file(searched, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"as in the result of a dashfx search: give load_model\.py:load as the"):
        load_checkpoint(Net(), tmp_path / "model.safetensors")


@pytest.mark.slow
def test_a_searched_model_can_be_searched_again(tmp_path: Path) -> None:
    config = {
        "search": {"epochs": 1, "autotune": False},
        "retrain": {"epochs": 1},
        "space": {"kernels": [7], "dilations": [1], "keep_original": False},
        "limit": 32,
        "control": False,
    }
    dashfx.search("dashfx.backbones:WRN1d", "planted", config={**config, "model_args": MODEL}, out=tmp_path / "run")
    again = dashfx.search(f"{tmp_path}/run/load_model.py:load", "planted", config=config)
    assert all(site.original.kernel == (7,) for site in again.sites.values())


MODEL = {"num_classes": 4, "width": 2}


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.complex64])
def test_codes_in_the_place_of_floats_are_refused(dtype: torch.dtype, tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.save({**before, "0.weight": before["0.weight"].to(dtype)}, tmp_path / "w.pt")
    name = str(dtype).removeprefix("torch.")
    with pytest.raises(CheckpointError, match=f"other numbers than the model: '0.weight' is {name}, not float32"):
        load_checkpoint(model, tmp_path / "w.pt")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_other_floats_and_integers_are_taken(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    torch.save({name: value.half() for name, value in model.state_dict().items()}, tmp_path / "w.pt")
    assert load_checkpoint(model, tmp_path / "w.pt") == []
