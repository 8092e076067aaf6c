"""An app's environment variables, for clients that manage them with an app."""

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict

from tocsin.api.bodies import described_body, read_body
from tocsin.api.context import ReadsVariables, VerbsOf, WritesVariables
from tocsin.api.problems import IN_APP, WITH_BODY, answers
from tocsin.store.variables import Variable

router = APIRouter(tags=["Variables"])


class VariableWish(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)

    name: str
    """Letters, digits and underscores, not beginning with a digit."""
    value: str
    """Up to 65,536 characters; an empty value is a value."""


class VariableEdit(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    value: str


class VariablesWish(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    variables: list[VariableWish] | None = None


class VariableOut(BaseModel):
    id: str
    name: str
    value: str


class VariablesAnswer(BaseModel):
    variables: list[VariableOut]


class VariableAnswer(BaseModel):
    variable: VariableOut


@router.get(
    "/v1/apps/{app}/variables",
    operation_id="list_variables",
    summary="List an app's variables",
    responses=answers(*IN_APP),
)
async def list_variables(app: ReadsVariables, verbs: VerbsOf) -> VariablesAnswer:
    return _all_shown(await verbs.apps.list_variables(app))


@router.put(
    "/v1/apps/{app}/variables",
    operation_id="set_variables",
    summary="Add or change variables; others stay. Answers with those given",
    responses=answers(*IN_APP, *WITH_BODY),
    openapi_extra=described_body(VariablesWish, None, example={"variables": [{"name": "LOG_LEVEL", "value": "debug"}]}),
)
async def set_variables(request: Request, app: WritesVariables, verbs: VerbsOf) -> VariablesAnswer:
    wish = await read_body(request, VariablesWish, None)
    given = [(variable.name, variable.value) for variable in wish.variables or ()]
    return _all_shown(await verbs.apps.set_variables(app, given))


@router.post(
    "/v1/apps/{app}/variables",
    status_code=201,
    operation_id="add_variable",
    summary="Add a variable, or change the one of this name",
    responses=answers(*IN_APP, *WITH_BODY),
    openapi_extra=described_body(VariableWish, "variable", example={"name": "LOG_LEVEL", "value": "debug"}),
)
async def add_variable(request: Request, app: WritesVariables, verbs: VerbsOf) -> VariableAnswer:
    wish = await read_body(request, VariableWish, "variable")
    [variable] = await verbs.apps.set_variables(app, [(wish.name, wish.value)])
    return VariableAnswer(variable=_shown(variable))


@router.patch(
    "/v1/apps/{app}/variables/{variable_id}",
    operation_id="edit_variable",
    summary="Give a variable another value",
    responses=answers(*IN_APP, *WITH_BODY),
    openapi_extra=described_body(VariableEdit, "variable", example={"value": "info"}),
)
@router.put(
    "/v1/apps/{app}/variables/{variable_id}",
    operation_id="edit_variable_by_put",
    summary="Give a variable another value: the same as PATCH",
    responses=answers(*IN_APP, *WITH_BODY),
    openapi_extra=described_body(VariableEdit, "variable", example={"value": "info"}),
)
async def edit_variable(request: Request, variable_id: str, app: WritesVariables, verbs: VerbsOf) -> VariableAnswer:
    edit = await read_body(request, VariableEdit, "variable")
    return VariableAnswer(variable=_shown(await verbs.apps.edit_variable(app, variable_id, edit.value)))


@router.delete(
    "/v1/apps/{app}/variables/{variable_id}",
    status_code=204,
    operation_id="remove_variable",
    summary="Remove a variable",
    responses=answers(*IN_APP),
)
async def remove_variable(variable_id: str, app: WritesVariables, verbs: VerbsOf) -> None:
    await verbs.apps.remove_variable(app, variable_id)


def _shown(variable: Variable) -> VariableOut:
    return VariableOut(id=variable.id, name=variable.name, value=variable.value)


def _all_shown(variables: list[Variable]) -> VariablesAnswer:
    return VariablesAnswer(variables=[_shown(variable) for variable in variables])
