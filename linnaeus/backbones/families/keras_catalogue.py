"""The networks of `keras.applications` by our names, readable without Keras."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Application:
    """Where a network is in `keras.applications`, and the input size it was trained at."""

    module: str
    """Submodule, which also has the network's `preprocess_input`."""
    function: str
    size: int = 224


_EFFICIENTNET_SIZES = (224, 240, 260, 300, 380, 456, 528, 600)
_EFFICIENTNET_V2_SIZES = {"B0": 224, "B1": 240, "B2": 260, "B3": 300, "S": 384, "M": 480, "L": 480}

APPLICATIONS = {
    **{
        f"convnext_{scale.lower()}": Application("convnext", f"ConvNeXt{scale}")
        for scale in ("Tiny", "Small", "Base", "Large", "XLarge")
    },
    **{
        f"densenet{depth}": Application("densenet", f"DenseNet{depth}") for depth in (121, 169, 201)
    },
    **{
        f"efficientnet_b{scale}": Application("efficientnet", f"EfficientNetB{scale}", size)
        for scale, size in enumerate(_EFFICIENTNET_SIZES)
    },
    **{
        f"efficientnet_v2{scale.lower()}": Application(
            "efficientnet_v2", f"EfficientNetV2{scale}", size
        )
        for scale, size in _EFFICIENTNET_V2_SIZES.items()
    },
    "inception_resnet_v2": Application("inception_resnet_v2", "InceptionResNetV2", 299),
    "inception_v3": Application("inception_v3", "InceptionV3", 299),
    "mobilenet": Application("mobilenet", "MobileNet"),
    "mobilenet_v2": Application("mobilenet_v2", "MobileNetV2"),
    "mobilenet_v3_large": Application("mobilenet_v3", "MobileNetV3Large"),
    "mobilenet_v3_small": Application("mobilenet_v3", "MobileNetV3Small"),
    "nasnet_large": Application("nasnet", "NASNetLarge", 331),
    "nasnet_mobile": Application("nasnet", "NASNetMobile"),
    **{f"resnet{depth}": Application("resnet", f"ResNet{depth}") for depth in (50, 101, 152)},
    **{
        f"resnet{depth}_v2": Application("resnet_v2", f"ResNet{depth}V2")
        for depth in (50, 101, 152)
    },
    "vgg16": Application("vgg16", "VGG16"),
    "vgg19": Application("vgg19", "VGG19"),
    "xception": Application("xception", "Xception", 299),
}
