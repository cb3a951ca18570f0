"""Samples that libvips gives otherwise than their file means them, put right."""

from typing import Any

from fourfold.errors import PictureError


def straight(image: Any, *, white_is_zero: bool = False) -> Any:
    """Returns a TIFF's image whose colours had been multiplied by alpha; libvips divides them, but not all rightly.

    Args:
        image: as libvips gives it.
        white_is_zero: whether grey is stored as a negative; libvips turns whole numbers round before it divides them.

    Raises:
        PictureError: where what libvips makes of them cannot be put right.
    """
    kind = ""
    if image.format == "uint":
        kind = "32-bit whole numbers"
    elif image.interpretation in ("lab", "labs"):
        kind = "CIELAB"
    elif image.interpretation == "cmyk" and image.format == "ushort":
        kind = "16-bit CMYK"
    elif white_is_zero and image.format != "float":
        kind = "grey whose white is 0"
    if kind:
        raise PictureError(
            f"{kind} multiplied by alpha (associated alpha), which is not read here; save it with straight alpha first"
        )
    if image.format == "float" and image.interpretation == "b-w":
        # grey was taken for alpha up to 255; what goes beyond 1 is 1 beside colours already
        others = image[1:]
        both = (image[0] / 255.0).bandjoin((others > 1.0).ifthenelse(1.0, others))
        return both.cast("float").copy(interpretation="b-w")
    return image


def alpha_of_integers(alpha: Any) -> Any:
    """Returns alpha beside colours that become whole numbers, on their scale.

    What is floating goes up to 1. Of 16 bits beside CIELAB, libvips gives the upper half as negative numbers.
    """
    if alpha.format == "float":
        return ((alpha > 1.0).ifthenelse(1.0, (alpha > 0.0).ifthenelse(alpha, 0.0)) * 65535.0).rint().cast("ushort")
    if alpha.format != "short":
        return alpha
    wide = alpha.cast("int")
    return (wide < 0).ifthenelse(wide + 65536, wide).cast("ushort")


def widened(image: Any, bits: int) -> Any:
    """Returns grey that goes from 16 to 235 of 255 in the whole range; more than 8 bits are still shifted up."""
    step, white = (1, 255) if image.format == "uchar" else (256, 65536 - (1 << (16 - bits)))
    grey = ((image[:3] - 16 * step) * (white / (219.0 * step))).rint().cast(image.format)
    wide = grey.bandjoin(image[3]) if image.bands == 4 else grey
    return wide.copy(interpretation=image.interpretation)


def divided(image: Any) -> Any:
    """Returns an AVIF's image whose colours had been multiplied by alpha."""
    colours = image.unpremultiply(max_alpha=255 if image.format == "uchar" else 65535)
    return colours.rint().cast(image.format).copy(interpretation=image.interpretation)


def stretched(image: Any, bits: int) -> Any:
    """Returns 10- or 12-bit samples, which libvips shifts up, so stretched that white is 65535 exactly."""
    return (image * (65535.0 / (65536 - (1 << (16 - bits))))).rint().cast("ushort")


def floating(image: Any) -> Any:
    """Returns 32-bit whole numbers as floating point: colours keep their values, alpha is 1 where it was full."""
    if image.bands not in (2, 4):
        return image.cast("float")
    last = image.bands - 1
    return image[:last].cast("float").bandjoin((image[last] / float(2**32 - 1)).cast("float"))
