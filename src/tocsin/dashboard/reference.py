"""The API's description as a page."""

import gzip

from fastapi import Request, Response

from tocsin.api.reference import group_operations, list_schemas
from tocsin.dashboard.routes import page_router
from tocsin.dashboard.visit import VisitOf

router = page_router()


@router.get("/docs")
async def show_reference(request: Request, visit: VisitOf) -> Response:
    document = request.app.state.describe()
    groups = group_operations(document, visit.site.public_url)
    response = visit.show("reference.html", groups=groups, schemas=list_schemas(document))
    if "gzip" in request.headers.get("accept-encoding", ""):
        _compress(response)
    return response


def _compress(response: Response) -> None:
    """Only here: where a page repeats what its address says, its length would tell what else stands in it."""
    body = gzip.compress(bytes(response.body), compresslevel=5)
    response.body = body
    response.headers.update({"content-encoding": "gzip", "content-length": str(len(body)), "vary": "accept-encoding"})
