"""Each peer of GenNAS against its formula, worked out by hand on a network of two layers."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from dashfx.errors import ConfigError, ModelError, ProxyError
from dashfx.proxy import load_proxy
from dashfx.proxy.named import PEERS

ROWS, WIDTH, HIDDEN, CLASSES = 5, 4, 6, 3
X = torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 2, 1, 1, 0])


class TwoLayers(nn.Module):
    """y = V relu(W x), with the ReLU in place so that a proxy which keeps the wrong tensor shows."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.second = nn.Linear(WIDTH, HIDDEN, bias=False), nn.Linear(HIDDEN, CLASSES, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(F.relu(self.first(x), inplace=True))


class SmallConv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv, self.norm, self.fc = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Linear(3, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.relu(self.norm(self.conv(x))).mean((-2, -1)))


def gradients() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """W and V in float64 with the gradients of the cross-entropy, by the chain rule."""
    net = TwoLayers().double()
    w, v = net.first.weight.detach(), net.second.weight.detach()
    x = X.double()
    pre = x @ w.T
    hidden = pre.clamp_min(0)
    wrong = (torch.softmax(hidden @ v.T, 1) - F.one_hot(Y, CLASSES)) / ROWS  # dL/dy
    return w, ((wrong @ v) * (pre > 0)).T @ x, v, wrong.T @ hidden


def test_snip_and_grad_norm_by_the_chain_rule() -> None:
    w, dw, v, dv = gradients()
    assert load_proxy("snip").score(TwoLayers(), (X, Y)) == pytest.approx(
        float((w * dw).abs().sum() + (v * dv).abs().sum()), rel=1e-5
    )
    assert load_proxy("grad_norm").score(TwoLayers(), (X, Y)) == pytest.approx(float(dw.norm() + dv.norm()), rel=1e-5)


def test_grasp_by_a_difference_of_gradients() -> None:
    net = TwoLayers().double()

    def gradient(step: float) -> Tensor:
        """The gradient at theta + step * g, all weights in one vector."""
        weights = [net.first.weight.detach(), net.second.weight.detach()]
        moved = [(t + step * s).requires_grad_(True) for t, s in zip(weights, slope, strict=True)]
        loss = F.cross_entropy((X.double() @ moved[0].T).clamp_min(0) @ moved[1].T, Y)
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, moved)])

    slope: list[Tensor] = [torch.zeros(()), torch.zeros(())]
    flat = gradient(0.0)
    slope = [flat[: HIDDEN * WIDTH].reshape(HIDDEN, WIDTH), flat[HIDDEN * WIDTH :].reshape(CLASSES, HIDDEN)]
    hg = (gradient(1e-6) - gradient(-1e-6)) / 2e-6
    theta = torch.cat([net.first.weight.detach().flatten(), net.second.weight.detach().flatten()])
    assert load_proxy("grasp").score(net, (X.double(), Y)) == pytest.approx(float(-(theta * hg).sum()), rel=1e-5)


def test_synflow_is_the_sum_over_paths_of_absolute_weights() -> None:
    net = TwoLayers().double()
    paths = float((net.second.weight.detach().abs() @ net.first.weight.detach().abs()).sum())
    # R is linear in each layer, so theta dR/dtheta summed over a layer is R
    assert load_proxy("synflow").score(net, X) == pytest.approx(2 * paths, rel=1e-10)


def test_synflow_leaves_batch_norm_out_and_folds_weight_norm() -> None:
    plain, images = SmallConv(), torch.rand(2, 2, 8, 8)
    score = load_proxy("synflow").score(plain, images)
    plain.norm.running_var.fill_(9.0)
    plain.norm.weight.data.fill_(5.0)
    assert load_proxy("synflow").score(plain, images) == score
    normed = SmallConv()
    parametrizations.weight_norm(normed.conv)
    assert load_proxy("synflow").score(normed, images) == pytest.approx(score)
    assert "conv.parametrizations.weight.original0" in normed.state_dict()  # the module itself keeps it
    normed(images)


def test_fisher_by_hand_on_linear_layers_and_on_a_conv() -> None:
    _, _, v, _ = gradients()
    w = TwoLayers().double().first.weight.detach()
    pre = X.double() @ w.T
    answer = pre.clamp_min(0) @ v.T
    wrong = (torch.softmax(answer, 1) - F.one_hot(Y, CLASSES)) / ROWS
    expected = sum(0.5 * (a * g).square().mean(0).sum() for a, g in ((pre, (wrong @ v) * (pre > 0)), (answer, wrong)))
    assert load_proxy("fisher").score(TwoLayers(), (X, Y)) == pytest.approx(float(expected), rel=1e-5)
    # channels stand last in a linear layer over positions and second in a 1x1 conv: the same network, the same score
    torch.manual_seed(0)
    conv, linear = nn.Conv1d(3, 4, 1), nn.Linear(3, 4)
    linear.weight.data, linear.bias.data = conv.weight.data[..., 0], conv.bias.data  # type: ignore[union-attr]

    class LastAxis(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = linear

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x.mT).mT

    series = torch.randn(5, 3, 7)
    scores = [load_proxy("fisher").score(net, series) for net in (nn.Sequential(conv), LastAxis())]
    assert scores[0] == pytest.approx(scores[1], rel=1e-5) and scores[0] > 0


def test_fisher_sees_outputs_before_what_changes_them_in_place() -> None:
    class Shifted(TwoLayers):
        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x).add_(3.0))

    class Copied(TwoLayers):
        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x) + 3.0)

    assert load_proxy("fisher").score(Shifted(), (X, Y)) == load_proxy("fisher").score(Copied(), (X, Y))


@pytest.mark.parametrize("relu", [nn.ReLU(), nn.ReLU(inplace=True), nn.GELU(), nn.Hardtanh()])
def test_naswot_is_the_kernel_of_hamming_distances(relu: nn.Module) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(WIDTH, 40)  # enough codes that no two rows agree in all, which would make the determinant 0
    net, codes = nn.Sequential(layer, relu), (layer(X) > 0).int()
    agree = torch.tensor([[float((a == b).sum()) for b in codes] for a in codes], dtype=torch.float64)
    assert load_proxy("naswot").score(net, X) == pytest.approx(math.log(abs(float(torch.det(agree)))), rel=1e-6)


def test_jacob_cov_from_the_jacobian_of_each_image() -> None:
    net = TwoLayers()
    rows = [torch.autograd.functional.jacobian(lambda x: net(x).sum(), x) for x in X]
    v = torch.linalg.eigvalsh(torch.corrcoef(torch.stack(rows).double())) + 1e-5
    assert load_proxy("jacob_cov").score(net, X) == pytest.approx(-float((v.log() + 1 / v).sum()), rel=1e-3)


def test_flops_and_params_of_a_conv() -> None:
    net, images = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False)), torch.rand(4, 3, 10, 10)
    assert load_proxy("flops").score(net, images) == 2 * 8 * 3 * 9 * 100
    assert load_proxy("params").score(net, images) == 8 * 3 * 9


@pytest.mark.parametrize("name", [kind.name for kind in PEERS])
def test_scores_repeat_and_leave_the_module_alone(name: str) -> None:
    net, images = SmallConv().eval(), torch.rand(4, 2, 8, 8)
    net.conv.weight.requires_grad_(False)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    assert load_proxy(name).score(net, images) == load_proxy(name).score(net, images)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert not net.training and not net.conv.weight.requires_grad


def test_random_labels_come_from_the_seed() -> None:
    scores = [load_proxy("snip", seed).score(TwoLayers(), X) for seed in (0, 0, 1, 2)]
    assert scores[0] == scores[1] and len(set(scores)) == 3


@pytest.mark.parametrize(
    ("name", "net", "batch", "why"),
    [
        ("snip", TwoLayers(), (X, torch.full((ROWS,), 7)), "class numbers below 3"),
        ("snip", TwoLayers(), (X, torch.rand(ROWS)), "class numbers below 3"),
        ("snip", nn.Linear(WIDTH, 1), X, "at least two classes"),
        ("synflow", nn.ReLU(), X, "no conv and no linear layer"),
        ("naswot", nn.Linear(WIDTH, 2), X, "no activation"),
        ("jacob_cov", nn.Embedding(3, 2), torch.zeros(2, 2, dtype=torch.long), "has no gradient"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(
    name: str, net: nn.Module, batch: Tensor | tuple[Tensor, Tensor], why: str
) -> None:
    with pytest.raises(ProxyError, match=why) as error:
        load_proxy(name).score(net, batch)
    assert "\n" not in str(error.value)


def test_a_model_that_fails_is_named_with_the_shape() -> None:
    with pytest.raises(ModelError, match="shape 5x3"):
        load_proxy("naswot").score(TwoLayers(), X[:, :3])


def test_an_unknown_proxy_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'synflow'"):
        load_proxy("synflo")


def test_synflow_of_a_net_that_adds_in_place_behind_a_norm() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.relu, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(4)
            self.fc = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            h = self.relu(self.conv(x))
            y = self.norm(h)
            y += 1
            return self.fc(y.mean((2, 3)))

    assert load_proxy("synflow").score(Residual(), torch.randn(2, 1, 8, 8)) > 0
