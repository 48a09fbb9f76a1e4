"""The SavedModels that TensorFlow Serving's public tests serve, written in the version 1 style.

Each has variables a, b and c; `x` and `x2` come as tensors, or in tf.Examples, where `x2` is 0 if
it is missing. y = a x + b, y2 = a x + c, y3 = a x2 + c.
"""

from pathlib import Path
from typing import Any


def write_half_plus_two(folder: Path) -> Path:
    """A SavedModel of `y = x / 2 + 2`, with a signature for each way to ask."""
    return _write_half_plus(2.0, folder)


def write_half_plus_three(folder: Path) -> Path:
    """A SavedModel of `y = x / 2 + 3`, with a signature for each way to ask."""
    return _write_half_plus(3.0, folder)


def write_signatures(folder: Path, session: Any, signatures: dict[str, Any]) -> Path:
    """Save a session's graph under the tag that servers load."""
    import tensorflow as tf

    builder = tf.compat.v1.saved_model.Builder(str(folder))
    builder.add_meta_graph_and_variables(
        session, [tf.saved_model.SERVING], signature_def_map=signatures
    )
    builder.save()
    return folder


def signature(method: str, inputs: dict[str, Any], outputs: dict[str, Any]) -> Any:
    """A SignatureDef; `method` is predict, classify or regress."""
    import tensorflow as tf

    describe = tf.compat.v1.saved_model.build_tensor_info
    return tf.compat.v1.saved_model.build_signature_def(
        {name: describe(tensor) for name, tensor in inputs.items()},
        {name: describe(tensor) for name, tensor in outputs.items()},
        f"tensorflow/serving/{method}",
    )


def _write_half_plus(offset: float, folder: Path) -> Path:
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        a = v1.Variable(0.5, name="a", use_resource=False)
        b = v1.Variable(offset, name="b", use_resource=False)
        c = v1.Variable(3.0, name="c", use_resource=False)
        serialized = v1.placeholder(tf.string, name="tf_example")
        parsed = tf.io.parse_example(
            serialized,
            {
                "x": tf.io.FixedLenFeature([1], tf.float32),
                "x2": tf.io.FixedLenFeature([1], tf.float32, default_value=[0.0]),
            },
        )
        x = tf.identity(parsed["x"], name="x")
        y = tf.add(a * x, b, name="y")
        y2 = tf.add(a * x, c, name="y2")
        x2 = tf.identity(parsed["x2"], name="x2")
        y3 = tf.add(a * x2, c, name="y3")
        session.run(v1.global_variables_initializer())
        examples = {"inputs": serialized}
        signatures = {
            "serving_default": signature("predict", {"x": x}, {"y": y}),
            "regress_x_to_y": signature("regress", examples, {"outputs": y}),
            "regress_x_to_y2": signature("regress", examples, {"outputs": y2}),
            "regress_x2_to_y3": signature("regress", {"inputs": x2}, {"outputs": y3}),
            "regress_examples_x2_to_y3": signature("regress", examples, {"outputs": y3}),
            "classify_x_to_y": signature("classify", examples, {"scores": y}),
            "classify_x2_to_y3": signature("classify", {"inputs": x2}, {"scores": y3}),
        }
        return write_signatures(folder, session, signatures)
