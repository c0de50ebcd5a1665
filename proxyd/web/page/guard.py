"""What a browser may do with our answers, and which requests are our own page's.

Cookies know no ports: every server on `localhost` shares its cookies, and every page of one counts as the *same site*
as ours. So the cookie's name carries our port, and what matters is asked of `Sec-Fetch-Site` and `Origin`, which do
know ports. A request that changes something needs both of them right, and the session's token besides.
"""

from __future__ import annotations

import hmac
import re
from http import HTTPStatus
from typing import Any

from proxyd.web.problems import Problem

Request = Any  # twisted.web.server.Request, which has no types

# Ours alone, and nothing inline: what a stranger wrote cannot become script or style even where it is shown unescaped.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# What a stranger sent, shown by the browser: it may run nothing, load nothing, and has an origin of its own.
FOREIGN_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'self'; sandbox allow-popups allow-popups-to-escape-sandbox"
)
# The browsers' own PDF readers do not open in a sandboxed document; they are sandboxes themselves.
PDF_POLICY = "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'"

HEADERS = {
    "content-security-policy": PAGE_POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "same-origin",  # "no-referrer" would make our own forms come from the origin "null"
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "cache-control": "no-store",
}
_PORT = re.compile(r":([0-9]{1,5})$")


def harden(request: Request) -> None:
    for name, value in HEADERS.items():
        request.setHeader(name, value)


def cookie_name(request: Request) -> str:
    found = _PORT.search(header(request, "host"))
    return f"proxyd-{found[1] if found else '80'}"


def cookie(request: Request) -> str:
    value: bytes = request.getCookie(cookie_name(request).encode()) or b""
    return value.decode("ascii", "replace")


def give_cookie(request: Request, value: str, lasts: float) -> None:
    """Not `Secure`: on http, and some browsers then would not send it to localhost."""
    request.addCookie(
        cookie_name(request), value, path="/", max_age=str(round(lasts)), httpOnly=True, sameSite="strict"
    )


def from_elsewhere(request: Request) -> bool:
    """Did another site's page cause this request, or a page of another port? A link that a person typed did not."""
    site = header(request, "sec-fetch-site")
    if site in ("", "none", "same-origin"):
        return False
    # Going to a page of ours by a link is harmless, and without its cookie where the site is another one.
    navigating = header(request, "sec-fetch-mode") == "navigate" and header(request, "sec-fetch-dest") == "document"
    return not (site == "same-site" and navigating)


def from_our_page(request: Request) -> bool:
    """Of what is posted: a browser says where from, in one field or both."""
    origin, site = header(request, "origin"), header(request, "sec-fetch-site")
    if not origin and not site:
        return False
    return origin in ("", f"http://{header(request, 'host')}") and site in ("", "same-origin")


def posted_by_us(request: Request, expected: str, token: str) -> None:
    """Raises Problem where what is posted does not come from our own page in this session, by its token."""
    if not from_our_page(request):
        raise Problem(HTTPStatus.FORBIDDEN, "this was not sent from proxyd's own page")
    if not hmac.compare_digest(token.encode("utf-8", "replace"), expected.encode()):
        raise Problem(HTTPStatus.FORBIDDEN, "this page is out of date; load it again and try once more")


def header(request: Request, name: str) -> str:
    values = request.requestHeaders.getRawHeaders(name.encode()) or []
    return str(values[0].decode("latin-1")) if len(values) == 1 else ""
