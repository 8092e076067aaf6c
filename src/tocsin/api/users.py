"""The user who asks."""

from fastapi import APIRouter
from pydantic import BaseModel

from tocsin.api.context import CurrentUser
from tocsin.api.problems import AS_USER, answers

router = APIRouter(tags=["Users"])


class UserOut(BaseModel):
    # `flags.admin` would make the command line client ask before each change; an admin is not told there.
    id: str
    username: str
    email: str
    fullname: str
    flags: dict[str, bool] = {}


class UserAnswer(BaseModel):
    user: UserOut


@router.get("/v1/users/self", operation_id="get_self", summary="Show the token's user", responses=answers(*AS_USER))
async def get_self(user: CurrentUser) -> UserAnswer:
    return UserAnswer(user=UserOut(id=user.id, username=user.username, email=user.email, fullname=user.fullname))
