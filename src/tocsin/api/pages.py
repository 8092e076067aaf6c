"""Pages drawn on the server: what Jinja2 makes of `templates/`, escaped throughout."""

from importlib.resources import files
from typing import Any

import jinja2
from fastapi.responses import HTMLResponse


class Pages:
    def __init__(self) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader(__package__),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.stylesheet = files(__package__).joinpath("templates/style.css").read_bytes()

    def show(self, template: str, **values: Any) -> HTMLResponse:
        return HTMLResponse(self._environment.get_template(template).render(**values))
