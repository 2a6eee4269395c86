"""Import OpenVINO without its telemetry, which tells Google Analytics of each import and keeps an id in the home.

Everything of ours that needs OpenVINO takes it from here.
"""

import sys

# A name that is None cannot be imported; OpenVINO then uses its own stub, which sends nothing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino as ov  # type: ignore[import-untyped]  # noqa: E402
from openvino import opset6, opset13  # noqa: E402
from openvino.op import Constant  # type: ignore[import-untyped]  # noqa: E402
from openvino.op.util import Variable, VariableInfo  # type: ignore[import-untyped]  # noqa: E402

__all__ = ["Constant", "Variable", "VariableInfo", "opset6", "opset13", "ov"]
