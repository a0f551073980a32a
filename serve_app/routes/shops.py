"""/api/shops/: sign-up."""

from __future__ import annotations

from fastapi import APIRouter, Response

from models.shop_api import (
    ActivationAnswer,
    ActivationRequest,
    ResendRequest,
    ShopPublic,
    SignUpAnswer,
    SignUpRequest,
)
from serve_app.routes.dependencies import ServicesDep, SignupLimitDep
from serve_app.sign_up import activate, resend, sign_up

router = APIRouter(prefix="/api/shops", tags=["shops"])


@router.post("/", status_code=202, dependencies=[SignupLimitDep], responses={429: {}})
async def create(body: SignUpRequest, services: ServicesDep) -> SignUpAnswer:
    """Sign up a shop. A mail with a one-time link goes to the address."""
    await sign_up(services, body.name, body.email)
    return SignUpAnswer()


@router.post("/resend/", status_code=202, dependencies=[SignupLimitDep], responses={429: {}})
async def send_again(body: ResendRequest, services: ServicesDep) -> SignUpAnswer:
    """Ask for another mail with a new link. Former links stop working."""
    await resend(services, body.email)
    return SignUpAnswer()


@router.post("/activate/", dependencies=[SignupLimitDep], responses={404: {}, 410: {}, 429: {}})
async def use_link(body: ActivationRequest, response: Response, services: ServicesDep) -> ActivationAnswer:
    """Activate a shop by the mailed link's token. Two new keys are shown, once."""
    activated = await activate(services, body.token, body.allowed_origins)
    response.headers["Cache-Control"] = "no-store"
    return ActivationAnswer(
        shop=ShopPublic.model_validate(activated.shop, from_attributes=True),
        secret_key=activated.secret_key,
        publishable_key=activated.publishable_key,
    )
