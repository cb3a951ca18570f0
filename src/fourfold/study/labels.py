"""What methods are called in a report."""

from collections import Counter
from collections.abc import Iterable

#: What a method is called; a method that is not here keeps its name.
LABELS = {
    "nearest": "nearest",
    "bicubic": "bicubic",
    "srcnn": "SRCNN",
    "selfexsr": "SelfExSR",
    "drcn": "DRCN",
    "espcn": "ESPCN",
    "srresnet-mse": "SRResNet",
    "srresnet-plus": "SRResNet-plus",
    "srresnet-jpeg": "SRResNet-JPEG",
    "srresnet-vgg22": "SRResNet-VGG22",
    "srgan-mse": "SRGAN-MSE",
    "srgan-vgg22": "SRGAN-VGG22",
    "srgan-vgg54": "SRGAN",
    "srgan-plus": "SRGAN-plus",
    "srgan-jpeg": "SRGAN-JPEG",
    "hr": "original",
}

#: Longer labels are shortened in figures.
_LONGEST = 20


def labels(methods: Iterable[str]) -> dict[str, str]:
    """Returns a label for each method of a study, no two alike: where two would be, both keep their names."""
    return _distinct({method: LABELS.get(method, method) for method in methods})


def short_labels(named: dict[str, str]) -> dict[str, str]:
    """Returns labels that leave room for a figure, no two alike: where two would be, both stay as long as they are."""
    short = {method: _shortened(text) for method, text in named.items()}
    count = Counter(short.values())
    return {method: short[method] if count[short[method]] == 1 else text for method, text in named.items()}


def _distinct(named: dict[str, str]) -> dict[str, str]:
    count = Counter(named.values())
    return {method: text if count[text] == 1 else method for method, text in named.items()}


def _shortened(text: str) -> str:
    """Returns a text without its middle, where it is long: names often differ at their ends."""
    half = (_LONGEST - 1) // 2
    return text if len(text) <= _LONGEST else f"{text[:half]}…{text[-half - 1 :]}"
