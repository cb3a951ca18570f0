"""Static files of the two web applications."""

from typing import Any

from starlette.responses import Response
from starlette.staticfiles import StaticFiles


class FreshFiles(StaticFiles):
    """Static files that a browser asks about again: an old script must not meet the pages of a newer version."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Returns a file's answer."""
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response
