"""The API's description as a page."""

from fastapi import Request, Response

from tocsin.api.reference import group_operations, list_schemas
from tocsin.dashboard.routes import page_router
from tocsin.dashboard.visit import VisitOf

router = page_router()


@router.get("/docs")
async def show_reference(request: Request, visit: VisitOf) -> Response:
    document = request.app.state.describe()
    groups = group_operations(document, visit.site.public_url)
    return visit.show("reference.html", groups=groups, schemas=list_schemas(document))
