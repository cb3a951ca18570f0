"""The OpenAPI document, so that what it says of errors and the token is what the server does."""

from typing import Any

from fastapi import FastAPI

from fourfold.serving.access import PUBLIC, PUBLIC_EXACT
from fourfold.serving.problems import KINDS, MEDIA_TYPE

_PROBLEM = {"$ref": "#/components/schemas/ProblemBody"}
_METHODS = ("get", "post", "put", "delete", "patch")
#: What FastAPI describes refused parameters by, which are problems here.
_THEIR_OWN = ("HTTPValidationError", "ValidationError")


class DescribedApi(FastAPI):
    """An application whose document is corrected once it is made.

    Args:
        guarded: whether calls must carry a token.
        settings: FastAPI's.
    """

    def __init__(self, *, guarded: bool, **settings: Any) -> None:
        super().__init__(**settings)
        self._guarded = guarded

    def openapi(self) -> dict[str, Any]:
        """Returns the document."""
        fresh = self.openapi_schema is None
        document = super().openapi()
        if fresh:
            _correct(document, self._guarded)
        return document


def _correct(document: dict[str, Any], token: bool) -> None:
    schemas = document["components"]["schemas"]
    for name in _THEIR_OWN:
        schemas.pop(name, None)
    if token:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, operations in document["paths"].items():
        for method in _METHODS & operations.keys():
            operation = operations[method]
            if token and path not in PUBLIC_EXACT and not path.startswith(PUBLIC):
                operation["security"] = [{"token": []}]
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    _as_problem(response)


def _as_problem(response: dict[str, Any]) -> None:
    content = response.get("content", {})
    schema: dict[str, Any] = next((media.get("schema", {}) for media in content.values()), {})
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    if name not in ("", "ProblemBody", *_THEIR_OWN):  # such as the health of a server that is not well
        return
    if name in _THEIR_OWN:
        response["description"] = f"`invalid-parameter`: {KINDS['invalid-parameter'].title}"
    response["content"] = {MEDIA_TYPE: {"schema": _PROBLEM}}
