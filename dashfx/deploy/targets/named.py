"""Execution providers by name: operators, opsets, types and shapes that their documentation says they take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dashfx.deploy.runtime import CPU

CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
FALLBACK = "they run on the next provider, the CPU at last"

# OperatorKernels.md of ONNX Runtime 1.24, CUDAExecutionProvider, domain ai.onnx
OF_CUDA = """
Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast Ceil Clip Compress Concat Constant ConstantOfShape Conv
ConvTranspose Cos CumSum DepthToSpace DequantizeLinear Div Dropout Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor
GRU Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GridSample
HardSigmoid HardSwish Identity If InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less
LessOrEqual Log LogSoftmax Loop MatMul MatMulInteger Max MaxPool Min Mod Mul Neg NonZero Not OneHot Or PRelu Pad Pow
QuantizeLinear RNN RandomNormal RandomUniform Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax
ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize ReverseSequence RoiAlign Round Scan
ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Size Slice Softmax Softplus Softsign SpaceToDepth Split
Sqrt Squeeze Sub Sum Tanh ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Upsample Where Xor
"""
# operators.md of onnx-tensorrt for TensorRT 8.5; later versions take more
OF_TENSORRT = """
Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast Ceil Celu Clip Concat
Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Div Dropout Einsum Elu Equal
Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool
Greater GreaterOrEqual GridSample GRU HardSwish HardSigmoid Identity If InstanceNormalization IsNaN LeakyRelu Less
LessOrEqual Log LogSoftmax Loop LRN LSTM LpNormalization LpPool MatMul Max MaxPool Mean MeanVarianceNormalization Min
Mod Mul Neg NonMaxSuppression NonZero Not OneHot Or Pad Pow PRelu QuantizeLinear RandomNormal RandomUniform Range
Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
ReduceSumSquare Relu Reshape Resize ReverseSequence RNN RoiAlign Round Scan ScatterElements ScatterND Selu Shape Shrink
Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh
ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Upsample Where Xor
"""
# OpenVINO-ExecutionProvider.md of ONNX Runtime 1.24, column CPU of the ONNX layers
OF_OPENVINO = """
Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization BitShift Ceil Celu Cast Clip
Concat Constant ConstantOfShape Conv ConvInteger ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Div Dropout
Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherND Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool
Greater GreaterOrEqual GridSample Hardmax HardSigmoid Identity If InstanceNormalization LeakyRelu Less LessOrEqual Log
LogSoftmax Loop LRN LSTM MatMul MatMulInteger Max MaxPool Mean MeanVarianceNormalization Min Mod Mul Neg
NonMaxSuppression NonZero Not OneHot Or Pad Pow PRelu QuantizeLinear QLinearMatMul Range Reciprocal ReduceL1 ReduceL2
ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize
ReverseSequence RoiAlign Round ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax
Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Unsqueeze
Upsample Where Xor
"""
# coreml_supported_mlprogram_ops.md of ONNX Runtime
OF_COREML = """
Add ArgMax AveragePool Cast Ceil Clip Concat Constant Conv ConvTranspose Cos DepthToSpace Div Elu Erf Exp GatherND Gelu
Gemm GlobalAveragePool GlobalMaxPool GridSample GroupNormalization HardSigmoid Identity InstanceNormalization
LayerNormalization LeakyRelu MatMul Max MaxPool Mul Pow PRelu Range Reciprocal ReduceMax ReduceMean ReduceSum Relu
Reshape Resize Round Shape Sigmoid Sin Slice Softmax Softplus Split Sqrt Squeeze Sub Tanh Tile Transpose Unsqueeze
"""
# QNN-ExecutionProvider.md of onnxruntime-qnn 2.3, supported ONNX operators
OF_QNN = """
Abs Add And ArgMax ArgMin Asin Atan AveragePool BatchNormalization Cast Ceil Clip Concat Constant Conv ConvTranspose Cos
CumSum DepthToSpace DequantizeLinear Div Einsum Elu Equal Exp Expand Flatten Floor Gather GatherElements GatherND Gelu
Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization HardSigmoid HardSwish Identity
InstanceNormalization Inverse IsNaN LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax
LpNormalization MatMul Max MaxPool Mean Min Mod Mul Neg NonZero Not Or PRelu Pad Pow QuantizeLinear Reciprocal ReduceL2
ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Relu RMSNormalization Reshape Resize RoiAlign Round STFT
ScatterElements ScatterND Sigmoid Sign Sin Slice Softmax Softplus SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh
ThresholdedRelu Tile TopK Transpose Unsqueeze Upsample Where
"""


@dataclass(frozen=True)
class Target:
    """What an execution provider takes, and where that is written.

    Attributes:
        provider, package: its name in ONNX Runtime, and the distribution that has it.
        source: the documentation that `operators` and what else is said here are from.
        operators: of the standard domain; None where ONNX Runtime says so itself when it opens a file.
        opsets: the oldest and newest that it reads; None where its documentation names none.
        types: element types that it does not take, with what becomes of them.
        axes: operators with the numbers of spatial axes that they may have.
        shapes: whether free axes are taken, or "fixed" ones are better, or "required".
        quantised: what becomes of a QDQ file with uint8 activations; "" where it runs in int8.
        options: of the provider; `session` those of `SessionOptions`.
    """

    name: str
    provider: str
    package: str
    source: str
    operators: frozenset[str] | None = None
    opsets: tuple[int, int] | None = None
    types: Mapping[str, str] = field(default_factory=dict)
    axes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    shapes: Literal["free", "fixed", "required"] = "free"
    quantised: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    session: Mapping[str, Any] = field(default_factory=dict)
    after: tuple[str, ...] = ()  # providers that take what it leaves, before the CPU


TEXT = {"string": "text is the CPU's alone; nodes that make it run there"}
POOLS = ("AveragePool", "MaxPool", "GlobalAveragePool", "GlobalMaxPool", "LpPool")

TARGETS = {
    each.name: each
    for each in (
        Target("cpu", CPU, "onnxruntime", "ONNX Runtime itself, which opens the file here"),
        Target(
            "cuda",
            CUDA,
            "onnxruntime-gpu",
            "OperatorKernels.md of ONNX Runtime 1.24",
            frozenset(OF_CUDA.split()),
            types=TEXT,
            quantised="it has no int8 convs: nodes run in float between conversions; take the float file",
            options={"cudnn_conv_algo_search": "HEURISTIC"},  # an exhaustive search makes the first call slow
        ),
        Target(
            "tensorrt",
            TENSORRT,
            "onnxruntime-gpu, and TensorRT",
            "operators.md of onnx-tensorrt for TensorRT 8.5; opsets: NVIDIA's ONNX Opset Guide for TensorRT 11",
            frozenset(OF_TENSORRT.split()),
            (9, 25),
            TEXT | {"double": "it is cast to float32", "uint8": "its operators take none; it is cast on CUDA before"},
            dict.fromkeys(("AveragePool", "MaxPool"), (2, 3)),
            "fixed",
            "its QuantizeLinear takes a zero point of 0 alone, this file has others; take the float file",
            {"trt_engine_cache_enable": True, "trt_engine_cache_path": "tensorrt_cache", "trt_fp16_enable": False},
            after=(CUDA,),
        ),
        Target(
            "openvino",
            "OpenVINOExecutionProvider",
            "onnxruntime-openvino",
            "OpenVINO-ExecutionProvider.md of ONNX Runtime 1.24, column CPU",
            frozenset(OF_OPENVINO.split()),
            types=TEXT,
            options={"device_type": "CPU", "load_config": '{"CPU": {"PERFORMANCE_HINT": "LATENCY"}}'},
            session={"graph_optimization_level": "ORT_DISABLE_ALL"},  # so its documentation advises
        ),
        Target(
            "coreml",
            "CoreMLExecutionProvider",
            "onnxruntime, on macOS and iOS",
            "coreml_supported_mlprogram_ops.md of ONNX Runtime",
            frozenset(OF_COREML.split()),
            types=TEXT | {"double": "it has none", "uint8": "it has none; the nodes that read it run on the CPU"},
            axes={"Conv": (1, 2), **dict.fromkeys(POOLS[:4], (2,))},
            shapes="fixed",
            quantised="QuantizeLinear is not among its operators; take the float file",
            options={"ModelFormat": "MLProgram", "MLComputeUnits": "ALL", "RequireStaticInputShapes": "1"},
        ),
        Target(
            "qnn",
            "QNNExecutionProvider",
            "onnxruntime-qnn",
            "QNN-ExecutionProvider.md of onnxruntime-qnn 2.3",
            frozenset(OF_QNN.split()),
            types=TEXT | {"double": "QNN has none"},
            shapes="required",
            options={"backend_type": "htp", "htp_performance_mode": "burst"},
        ),
    )
}
