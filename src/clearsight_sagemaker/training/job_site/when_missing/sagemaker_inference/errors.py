"""Errors of decoders and encoders."""


class UnsupportedFormatError(Exception):
    """Raised for a content type without a decoder or encoder."""

    def __init__(self, content_type: str) -> None:
        super().__init__(f"content type {content_type} is not supported by this framework")
