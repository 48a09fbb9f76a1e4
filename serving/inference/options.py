"""What a server may be told of how it answers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class InferenceOptions:
    """How calls are answered, under TensorFlow Serving's flag names.

    Args:
        enable_signature_method_name_check: refuse a signature that was saved for another call,
            as many of TensorFlow 2 are: they all say that they predict.
        enable_serialization_as_tensor_content: Predict answers in raw bytes, `tensor_content`,
            rather than in typed values. Strings stay values: TensorFlow's Python reads no others.
    """

    enable_signature_method_name_check: bool = False
    enable_serialization_as_tensor_content: bool = False


AS_STOCK = InferenceOptions()
"""How TensorFlow Serving answers unless it is told otherwise."""
