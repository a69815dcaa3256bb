"""Tracing sees every conv as a site or as a skip, takes models that torch.fx cannot follow, and leaves them alone."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from cnns import Layer, Net
from torch import Tensor, nn

from dashfx.errors import ModelError
from dashfx.frontend.tracing import copy_model, trace
from dashfx.space import Candidate, SearchSpace
from dashfx.supernet import rewrite

X = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))


class Block(nn.Module):
    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        y = torch.relu(self.norm(self.conv(x)))
        return x + (y if mask is None else y * mask)


class Branching(Block):
    """Looks at values, which torch.fx cannot follow."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        y = super().forward(x, mask)
        return y if float(x.sum()) > 1e9 else y + 1


class Sizes(nn.Module):
    """One conv at two sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, (1, 3), (2, 1), dilation=2, bias=False, padding=(0, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).mean() + self.conv(x[..., :9]).mean() + self.conv(x).sum()


def test_facts_of_a_site() -> None:
    (site,) = trace(Sizes(), X).sites.values()
    assert (site.name, site.in_channels, site.out_channels, site.groups, site.bias) == ("conv", 3, 3, 1, False)
    assert (site.original, site.stride, site.padding) == (Candidate((1, 3), (2, 2)), (2, 1), ((0, 0), (2, 2)))
    assert site.input_sizes == ((12, 12), (12, 9)) and site.input_size == (12, 9) and site.calls == 3
    assert site.output_size((12, 9)) == (6, 9)


@pytest.mark.parametrize(
    ("options", "padding"),
    [
        ({"padding": "valid"}, ((0, 0), (0, 0))),
        ({"padding": "same"}, ((1, 2), (1, 2))),  # even kernel: the odd one on the right, as torch does
        ({"padding": (2, 0)}, ((2, 2), (0, 0))),
        ({"padding": (2, 1), "padding_mode": "reflect"}, ((2, 2), (1, 1))),
        ({"padding": "same", "padding_mode": "circular"}, ((1, 2), (1, 2))),
    ],
)
def test_padding_as_numbers(options: dict[str, object], padding: tuple[tuple[int, int], ...]) -> None:
    (site,) = trace(nn.Sequential(nn.Conv2d(3, 3, 4, **options)), X).sites.values()
    assert site.padding == padding and site.padding_mode == options.get("padding_mode", "zeros")


def test_the_graph_holds_the_models_own_modules() -> None:
    program = trace(nn.Sequential(Block(), Block()), X)
    assert program.graph_module.get_submodule("0.conv") is program.model[0].conv
    assert torch.equal(program.graph_module(X), program.model(X))
    assert not program.opaque
    targets = [str(n.target) for n in program.graph_module.graph.nodes if n.op == "call_module"]
    assert targets == ["0.conv", "0.norm", "1.conv", "1.norm"]


def test_what_holds_no_conv_stays_whole() -> None:
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    program = trace(nn.Sequential(Block(), head), X)
    assert [str(n.target) for n in program.graph_module.graph.nodes if n.op == "call_module"][-1] == "1"


def test_only_the_innermost_failing_module_becomes_opaque() -> None:
    program = trace(nn.Sequential(Block(), nn.Sequential(Branching(), Block())), X)
    assert list(program.opaque) == ["1.0"]
    assert list(program.sites) == ["0.conv", "1.0.conv", "1.1.conv"]
    assert torch.equal(program.graph_module(X), program.model(X))


def test_a_model_that_fails_as_a_whole_keeps_its_sites() -> None:
    program = trace(Branching(), X)
    assert list(program.opaque) == [""] and list(program.sites) == ["conv"]
    assert program.sites["conv"].input_sizes == ((12, 12),)
    assert torch.equal(program.graph_module(X), program.model(X))


class Alternating(Block):
    """Tracing takes the first call's branch, the real call another one."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return super().forward(x) * (2.0 if isinstance(x, torch.fx.Proxy) else 1.0)


def test_a_graph_with_another_answer_is_not_used() -> None:
    program = trace(Alternating(), X)
    assert "another answer" in program.opaque[""]
    assert torch.equal(program.graph_module(X), program.model(X))


def test_several_arguments_and_defaults() -> None:
    model = Block()
    assert not trace(model, X).opaque  # mask=None takes the branch of an ordinary call
    program = trace(model, (X, torch.zeros(12)))
    assert len(program.example) == 2 and not program.opaque
    assert torch.equal(program.graph_module(X, torch.zeros(12)), X)


def test_the_users_model_stays() -> None:
    model = nn.Sequential(Block(), nn.Dropout(), Branching()).train()
    model[1].eval()
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    program = trace(model, X)
    assert [m.training for m in model] == [m.training for m in program.model] == [True, False, True]
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
    assert {type(m) for m in model[0].modules()} == {Block, nn.Conv2d, nn.BatchNorm2d}


def test_replace_keeps_mode_and_hooks() -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 3)).eval()
    calls: list[nn.Module] = []
    model[0].register_forward_hook(lambda module, *_: calls.append(module))
    program = trace(model, X)
    new = nn.Conv2d(3, 5, 1)
    program.replace("0", new)
    assert program.model[0] is new and program.graph_module.get_submodule("0") is new
    assert not new.training and len(new._forward_hooks) == 1


def test_replace_reaches_every_name() -> None:
    conv = nn.Conv2d(3, 3, 3, padding=1)
    program = trace(nn.Sequential(conv, nn.Sequential(conv), nn.ReLU(), conv), X)
    (site,) = program.sites.values()
    assert site.name == "0" and site.aliases == ("1.0", "3") and site.calls == 3
    new = nn.Identity()
    program.replace("0", new)
    assert program.model[0] is program.model[1][0] is program.model[3] is new


def skipped(model: nn.Module, x: Tensor = X) -> dict[str, str]:
    return {skip.name: skip.reason for skip in trace(model, x).skips}


class Reads(nn.Module):
    """Reads something of its conv."""

    def __init__(self, read: object) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.read = read

    def forward(self, x: Tensor) -> Tensor:
        self.read(self.conv, x)
        return self.conv(x)


@pytest.mark.parametrize(
    ("read", "what"),
    [
        (lambda conv, x: x.to(conv.weight.dtype), "weight"),
        (lambda conv, x: conv.weight.shape, "weight"),
        (lambda conv, x: torch.stack([conv.weight]), "weight"),
        (lambda conv, x: F.conv2d(input=x, weight=conv.weight), "weight"),
        (lambda conv, x: conv.kernel_size[0], "kernel_size"),
        (lambda conv, x: conv.dilation, "dilation"),
        (lambda conv, x: conv.padding, "padding"),
    ],
)
def test_a_conv_that_others_read_is_left_alone(read: object, what: str) -> None:
    reasons = skipped(nn.Sequential(Reads(read)))
    assert reasons["0.conv"] == f"its {what} is read by the code of 0, which would miss the new one"


def test_reading_what_a_search_keeps_is_no_reason() -> None:
    assert not skipped(
        nn.Sequential(Reads(lambda conv, x: (conv.stride, conv.in_channels, conv.groups, conv.training)))
    )


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)
        self.tied = nn.Conv2d(3, 3, 3)
        self.tied.weight = self.used.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.tied(self.used(x))


def test_a_forward_that_was_put_on_an_instance_is_kept() -> None:
    conv = nn.Conv2d(3, 3, 3)
    conv.forward = lambda x: nn.Conv2d.forward(conv, x) * 2
    assert "put on the instance" in skipped(nn.Sequential(conv))["0"]


def test_reasons_for_skips() -> None:
    reasons = skipped(Unused())
    assert "not called" in reasons["unused"]
    assert reasons["used"] == "shares its weight with tied" and reasons["tied"] == "shares its weight with used"
    assert "wrap it in nn.Sequential" in skipped(nn.Conv2d(3, 3, 3))[""]
    up = skipped(nn.Sequential(nn.ConvTranspose2d(3, 3, 2, 2), nn.Conv2d(3, 3, 1)))
    assert "transposed" in up["0"] and "pointwise" in up["1"]
    scripted = nn.Sequential(nn.Conv2d(3, 3, 3), torch.jit.script(nn.Sequential(nn.Conv2d(3, 3, 3))))
    assert "scripted" in skipped(scripted)["1.0"]
    spectral = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 3, 3)))
    assert "spectral norm" in skipped(spectral)["0"]
    complex_conv = nn.Sequential(nn.Conv2d(3, 3, 3, dtype=torch.complex64))
    assert skipped(complex_conv, X.to(torch.complex64))["0"] == "complex weights"


def test_a_site_inside_a_checkpointed_block() -> None:
    class Checkpointed(Block):
        def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
            return torch.utils.checkpoint.checkpoint(super().forward, x, use_reentrant=False)

    assert list(trace(nn.Sequential(Checkpointed()), X).sites) == ["0.conv"]


@pytest.mark.parametrize(
    ("model", "example", "words"),
    [
        (nn.Conv2d, X, "give an instance"),
        (torch.jit.script(nn.Conv2d(3, 3, 3)), X, "scripted"),
        (
            nn.Sequential(Block()),
            torch.zeros(2, 4, 12, 12),
            r"fails in Conv2d '0.conv' on an example of shape 2x4x12x12",
        ),
        (nn.Sequential(Block()), (X, X), "2x3x12x12, 2x3x12x12"),
        (nn.Sequential(Block()), ([X, X],), r"shape \[2x3x12x12, 2x3x12x12\]: "),
        (torch.compile(Block()), X, "the model is compiled"),
        (nn.Sequential(torch.compile(Block())), X, "module '0' is compiled"),
    ],
)
def test_errors_are_one_line(model: nn.Module, example: object, words: str) -> None:
    with pytest.raises(ModelError, match=words) as raised:
        trace(model, example)
    assert "\n" not in str(raised.value)


class Masked(Block):
    def forward(self, x: Tensor, mask: Tensor, scale: float = 1.0) -> Tensor:
        return self.conv(x * mask) * scale


class Silent(Block):
    def forward(self, x: Tensor) -> None:
        self.conv(x)


class Shrinking(Block):
    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.conv(x)[..., self.calls :]


@pytest.mark.parametrize(
    ("model", "example", "words"),
    [
        (Masked(), X, "Masked.forward needs 'mask' beside the example of shape 2x3x12x12"),
        (Masked(), {"x": X}, "needs 'mask' beside"),
        (Masked(), {"mask": X}, "the example lacks 'x'"),
        (Masked(), {"x": X, "maks": X}, "'maks' by name, and Masked.forward takes x, mask, scale"),
        (Silent(), X, "Silent.forward returns NoneType without a tensor"),
        (Shrinking(), X, "returns 2x3x12x.* at one call and 2x3x12x.* at the next"),
    ],
)
def test_models_that_cannot_be_called_as_given(model: nn.Module, example: object, words: str) -> None:
    with pytest.raises(ModelError, match=words) as raised:
        trace(model, example)
    assert "\n" not in str(raised.value)


def test_a_forward_called_by_its_name_is_a_call() -> None:
    class ByName(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 4, 3, padding="same"), nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.second.forward(self.first.forward(x)) + self.second(self.first(x))

    model, x = ByName().double().eval(), X.double()
    supernet = rewrite(model, x, SearchSpace.product([3, 5], [1, 2]), "grow").eval()
    assert {name: site.calls for name, site in trace(model, x).sites.items()} == {"first": 2, "second": 2}
    torch.testing.assert_close(supernet(x), model(x), rtol=1e-10, atol=1e-12)


def test_autocast_in_a_forward_is_kept() -> None:
    class Mixed(Block):
        def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                return super().forward(x)

    program = trace(Mixed(), X)
    assert list(program.sites) == ["conv"] and "gives another answer" in program.opaque[""]


def test_arguments_by_name() -> None:
    program = trace(Masked(), {"mask": X, "x": X, "scale": 2.0})
    assert [type(value) for value in program.example] == [Tensor, Tensor, float] and not program.opaque


class Tries(Block):
    """Falls back where a conv does not take the input."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        try:
            return self.conv(torch.cat([x, x], 1))
        except RuntimeError:
            return torch.conv2d(self.conv(x), torch.ones(1, 3, 3, 3))


def test_a_failure_that_the_model_catches() -> None:
    program = trace(nn.Sequential(Tries(), nn.Conv2d(1, 1, 3)), X)
    assert list(program.sites) == ["0.conv", "1"]
    assert [skip.name for skip in program.skips] == ["0: conv2d"]


def test_a_failing_forward_leaves_flags_alone() -> None:
    model = nn.Sequential(Block()).train()
    with pytest.raises(ModelError):
        trace(model, torch.zeros(1))
    assert model.training and model[0].norm.training


class Keeps(Block):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        self.kept = {"all": [super().forward(x)]}
        return self.kept["all"][0]


def test_copies() -> None:
    model = nn.Sequential(nn.utils.weight_norm(nn.Conv2d(3, 3, 3)), Keeps())
    model(X)
    twin = copy_model(model)
    assert torch.equal(twin(X), model(X))
    assert not set(map(id, twin.parameters())) & set(map(id, model.parameters()))
    model[1].lock = (row for row in ())
    with pytest.raises(ModelError, match="cannot be copied: cannot pickle"):
        copy_model(model)


def test_summary_names_every_conv() -> None:
    text = trace(nn.Sequential(Branching(), nn.Conv2d(3, 4, 1)), X).summary()
    assert "site  0.conv: 3->3 k3 d1" in text and "skip  1: pointwise" in text and "opaque 0: " in text


def test_a_drawn_network_traces_without_opaque_parts() -> None:
    model = Net([Layer(3, padding="chomp"), Layer(2, padding="pad", residual=True)], 1).eval()
    x = torch.randn(2, 4, 20)
    program = trace(model, x)
    assert not program.opaque and torch.equal(program.graph_module(x), model(x))


class Options:
    """Something that torch.fx cannot pass to a module."""


class Unpassable(nn.Module):
    """A leaf that is given what cannot stand in a graph."""

    def forward(self, x: Tensor, options: Options) -> Tensor:
        return x


class GivesOptions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.rest = nn.Conv1d(1, 2, 3, padding=1), Unpassable()

    def forward(self, x: Tensor) -> Tensor:
        return self.rest(self.conv(x), Options())


def test_what_fails_as_a_whole_makes_its_parent_opaque() -> None:
    program = trace(GivesOptions(), torch.randn(2, 1, 8))
    assert set(program.opaque) == {"rest", ""} and set(program.sites) == {"conv"}
