"""Reduced precision: what the CPU can do, quantisation, and how close the vectors stay."""

from __future__ import annotations

from typing import Any

from linnaeus.backbones.spec import BackboneSpec
from linnaeus.errors import ConfigurationError


def inference_precision(core: Any, spec: BackboneSpec) -> str:
    """OpenVINO's INFERENCE_PRECISION_HINT for a backbone; raises where the CPU lacks it."""
    if spec.precision != "bfloat16":
        return "f32"
    if "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise ConfigurationError(
            f"This CPU has no bfloat16 instructions, which backbone {spec.name} was prepared for: "
            "use --precision float32, or a CPU with AVX512_BF16 or AMX."
        )
    return "bf16"
