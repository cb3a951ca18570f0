"""What an enlarged picture will be, and whether its decoder and encoder leave the network enough memory."""

from fourfold.imaging import Format, Layout, OpenPicture, SaveOptions, decoder_bytes, encoder_bytes

#: The part of the memory that decoder and encoder may take; the network needs the rest.
CODEC_SHARE = 0.85


def enlarged_layout(opened: OpenPicture, scale: int, *, frames: int | None = None) -> Layout:
    """Returns what an opened picture becomes; ``frames`` where fewer are taken than were opened."""
    return Layout(
        opened.height * scale,
        opened.width * scale,
        opened.channels,
        opened.has_alpha,
        opened.dtype,
        opened.frames if frames is None else frames,
        tuple(opened.delays_ms),
        opened.loop,
    )


def codec_bytes(opened: OpenPicture, format: Format, layout: Layout, options: SaveOptions) -> int:
    """Returns about how much memory decoding the picture and encoding what it becomes take together."""
    return decoder_bytes(opened) + encoder_bytes(format, layout, options)


def memory_that_allows(codecs: int) -> int:
    """Returns the ``max_memory`` that is enough for codecs that take so many bytes."""
    return -(-int(codecs / CODEC_SHARE) // (100 << 20)) * (100 << 20)
