"""The rating study: design, store, web pages, analysis.

Nothing is imported until it is asked for: serving a study must not wait for scipy, nor a report for the web server.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fourfold.study.create import create_study
    from fourfold.study.invitations import Invitation, admin_link, check_address, invite
    from fourfold.study.manifest import Manifest, Study, open_study, read_manifest
    from fourfold.study.report import Report, ReportRequest, make_report
    from fourfold.study.request import Request
    from fourfold.study.server import Settings, create_app
    from fourfold.study.store import RatingStore, open_store

_HOMES = {
    "Request": "request",
    "create_study": "create",
    "Invitation": "invitations",
    "admin_link": "invitations",
    "check_address": "invitations",
    "invite": "invitations",
    "Manifest": "manifest",
    "Study": "manifest",
    "open_study": "manifest",
    "read_manifest": "manifest",
    "Report": "report",
    "ReportRequest": "report",
    "make_report": "report",
    "Settings": "server",
    "create_app": "server",
    "RatingStore": "store",
    "open_store": "store",
}

__all__ = [
    "Invitation",
    "Manifest",
    "RatingStore",
    "Report",
    "ReportRequest",
    "Request",
    "Settings",
    "Study",
    "admin_link",
    "check_address",
    "create_app",
    "create_study",
    "invite",
    "make_report",
    "open_store",
    "open_study",
    "read_manifest",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
