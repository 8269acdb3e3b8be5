"""Extensions of the image files that are found in folders."""

EXTENSIONS = frozenset(
    {
        ".png", ".apng", ".jpg", ".jpeg", ".jfif", ".jpe", ".mpo", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".gif",
        ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".icb", ".vda", ".vst", ".avif", ".jp2", ".j2k", ".jpf", ".jpx", ".jpc",
        ".j2c", ".heic", ".heif", ".hif",
    }
)  # fmt: skip
"""Lower case. HEIC needs the extra `heic`."""

TGA_EXTENSIONS = frozenset({".tga", ".icb", ".vda", ".vst"})
"""Extensions of Targa files, which begin with no signature and are recognized by their names."""
