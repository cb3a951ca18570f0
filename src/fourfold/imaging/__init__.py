"""Pictures as people have them <-> arrays: reading, writing, colour, MATLAB-exact resampling."""

from fourfold.imaging.alpha import enlarge_alpha, fill_hidden
from fourfold.imaging.atomic import AtomicOutput, atomic_output, refuse_existing, write_error
from fourfold.imaging.colour import quantise, rgb_to_y, to_integers, to_unit
from fourfold.imaging.compression import TRACES_NOTE, picture_was_compressed, was_compressed
from fourfold.imaging.finding import find_pictures
from fourfold.imaging.formats import FORMATS, SIGNATURE_BYTES, SUFFIXES, Format, format_named, format_of, recognise
from fourfold.imaging.layout import Layout, SaveOptions
from fourfold.imaging.losses import check_side, losses
from fourfold.imaging.memory import decoder_bytes, encoder_bytes
from fourfold.imaging.opening import MAX_PIXELS, OpenPicture, open_picture
from fourfold.imaging.picture import Metadata, Picture
from fourfold.imaging.reading import read_picture, read_rgb
from fourfold.imaging.resampling import imresize, matrix, output_size, resize_array
from fourfold.imaging.rows import AlphaRows, FrameRows, RowSource, find_range, hand_on
from fourfold.imaging.sink import RowSink
from fourfold.imaging.writing import LossWarning, encode_picture, write_picture

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "SIGNATURE_BYTES",
    "SUFFIXES",
    "TRACES_NOTE",
    "AlphaRows",
    "AtomicOutput",
    "Format",
    "FrameRows",
    "Layout",
    "LossWarning",
    "Metadata",
    "OpenPicture",
    "Picture",
    "RowSink",
    "RowSource",
    "SaveOptions",
    "atomic_output",
    "check_side",
    "decoder_bytes",
    "encode_picture",
    "encoder_bytes",
    "enlarge_alpha",
    "fill_hidden",
    "find_pictures",
    "find_range",
    "format_named",
    "format_of",
    "hand_on",
    "imresize",
    "losses",
    "matrix",
    "open_picture",
    "output_size",
    "picture_was_compressed",
    "quantise",
    "read_picture",
    "read_rgb",
    "recognise",
    "refuse_existing",
    "resize_array",
    "rgb_to_y",
    "to_integers",
    "to_unit",
    "was_compressed",
    "write_error",
    "write_picture",
]
