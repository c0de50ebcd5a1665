"""The page that people look at: contacts and their stories, on the `web` listener.

Rendered here, by Jinja2, whole pages and the parts of them that the small script fetches anew: what a person sees has
one source. Nothing is loaded from elsewhere. `sessions` says who may look, `guard` what a browser may do with an
answer, `words` how things are said, `story` in which order; `routes` puts them together.
"""

from proxyd.web.page.routes import Page
from proxyd.web.page.sessions import Sessions

__all__ = ["Page", "Sessions"]
