"""The page at ``/`` for a browser. It is static; its script calls the control plane, and nothing else."""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter, Response

router = APIRouter(include_in_schema=False)

_HEADERS = {
    # What the page shows was written by the clients, so not even a mistake in it may run as a script.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


@router.get("/")
async def page() -> Response:
    """Return the page."""
    return _static("page.html", "text/html")


@router.get("/favicon.ico")
async def icon() -> Response:
    """Return no icon: browsers request one for every page, and an error would show up in the request log."""
    return Response(status_code=204, headers=_HEADERS)


@router.get("/_emulator/page.css")
async def style() -> Response:
    """Return its stylesheet."""
    return _static("page.css", "text/css")


@router.get("/_emulator/page.js")
async def script() -> Response:
    """Return the script that keeps the page up to date."""
    return _static("page.js", "text/javascript")


def _static(name: str, media_type: str) -> Response:
    content = files(__package__).joinpath("static", name).read_bytes()
    return Response(content, media_type=media_type, headers=_HEADERS)
