"""What can happen: the event types that a notifier selects, and their categories. No token is needed."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from tocsin.api.context import VerbsOf

router = APIRouter(prefix="/v1", tags=["Event types"])


class EventTypeOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: str
    category_id: str
    name: str
    display_name: str
    description: str


class EventCategoryOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str
    display_name: str
    position: int


# Existing clients decode both answers into maps of one type: a further root key would fail them.


class EventTypesAnswer(BaseModel):
    event_types: list[EventTypeOut]


class EventCategoriesAnswer(BaseModel):
    event_categories: list[EventCategoryOut]


@router.get("/event_types", operation_id="list_event_types", summary="List what a notifier can select")
async def list_event_types(verbs: VerbsOf) -> EventTypesAnswer:
    listed = verbs.notifiers.catalogue.event_types
    return EventTypesAnswer(event_types=[EventTypeOut.model_validate(each) for each in listed])


@router.get("/event_categories", operation_id="list_event_categories", summary="List the categories of event types")
async def list_event_categories(verbs: VerbsOf) -> EventCategoriesAnswer:
    listed = verbs.notifiers.catalogue.categories
    return EventCategoriesAnswer(event_categories=[EventCategoryOut.model_validate(each) for each in listed])
