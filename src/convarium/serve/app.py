"""The application: which address answers what. FastAPI writes its OpenAPI document from it.

Annotations are evaluated here, since FastAPI reads them: so there is no future import of them.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import convarium
from convarium.errors import ConvariumError, did_you_mean, import_extra
from convarium.serve import schema
from convarium.serve.bodies import NETCDF
from convarium.serve.edge import BROKEN, Edge
from convarium.serve.explaining import Asked
from convarium.serve.intake import Sent
from convarium.serve.memory import tend
from convarium.serve.refusals import RefusedError, refusal_of
from convarium.serve.service import Service

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

_PNG = "image/png"
_WORD = 40  # characters of an unknown word that an answer repeats
_CODES = {404: "no_such_path", 405: "no_such_method"}


def build_app(
    service: Service,
    *,
    token: str | None = None,
    watch: float = 0.0,
    hosts: Collection[str] | None = None,
) -> Edge:
    """An ASGI application for a service.

    Args:
        service: that answers; it is closed when the application ends.
        token: that must be shown as `Authorization: Bearer TOKEN`; None asks for none.
        watch: seconds from look to look at the runs' files, to take new versions; 0 never looks.
        hosts: names that the header Host may have, with any port; None takes any.

    Raises:
        MissingExtraError: the extra `serve` is not installed.
    """
    import_extra("fastapi", "serve")
    from fastapi import FastAPI

    @asynccontextmanager
    async def living(app: FastAPI) -> AsyncIterator[None]:
        beside = [asyncio.create_task(tend())]
        if watch:
            beside.append(asyncio.create_task(service.watch(watch)))
        yield
        for task in beside:
            task.cancel()
        service.close()

    app = FastAPI(
        title="convarium",
        version=convarium.__version__,
        description="Runs of convarium behind HTTP.",
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        lifespan=living,
    )
    _add_refusals(app)
    _add_probes(app, service)
    for prefix in ("", "/runs/{run}"):
        _add_runs(app, service, prefix)
    return Edge(app, service, token, hosts)


def _add_refusals(app: "FastAPI") -> None:
    """Every error a client can cause becomes a reason in JSON."""
    from fastapi import Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from starlette.exceptions import HTTPException

    def answered(request: Request, refusal: RefusedError) -> JSONResponse:
        request.scope["convarium.refused"] = refusal.code
        return JSONResponse(refusal.body(), refusal.status, refusal.headers)

    async def own(request: Request, error: Exception) -> JSONResponse:
        refusal = refusal_of(error)
        if refusal is None:
            raise error
        return answered(request, refusal)

    async def other(request: Request, error: Exception) -> JSONResponse:
        status = getattr(error, "status_code", 500)
        headers = getattr(error, "headers", None)
        code = _CODES.get(status, "refused")
        words = "The paths are in /openapi.json." if code in _CODES.values() else "Not done."
        return answered(request, RefusedError(status, code, words, headers))

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        found = error.errors() if isinstance(error, RequestValidationError) else []
        places = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in found]
        return answered(request, RefusedError(422, "unusable", "; ".join(places)))

    async def broken(request: Request, error: Exception) -> JSONResponse:
        return answered(request, BROKEN)

    app.add_exception_handler(Exception, broken)
    app.add_exception_handler(ConvariumError, own)
    app.add_exception_handler(HTTPException, other)
    app.add_exception_handler(RequestValidationError, invalid)


def _add_probes(app: "FastAPI", service: Service) -> None:
    """What those ask who watch over the server."""
    from fastapi import Response

    async def healthz() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    async def readyz() -> dict[str, str]:
        """It takes requests: all runs are open, and it is not about to end."""
        if service.draining:
            raise RefusedError(503, "draining", "The server is about to end.", {"Retry-After": "1"})
        return {"status": "ready"}

    async def metrics() -> Response:
        """Figures for Prometheus."""
        text, media = service.metrics.text()
        return Response(text, media_type=media)

    async def runs() -> dict[str, list[dict[str, Any]]]:
        """The runs here."""
        every = [service.named(name).about() for name in service.names]
        return {"runs": [{k: v for k, v in each.items() if k != "card"} for each in every]}

    app.add_api_route("/healthz", healthz)
    app.add_api_route("/readyz", readyz, responses=schema.refusals(503))
    app.add_api_route("/metrics", metrics, response_class=Response)
    app.add_api_route("/runs", runs)


def _add_runs(app: "FastAPI", service: Service, prefix: str) -> None:
    """What a run answers, by its name in the path, or in the query where no path names it."""
    from fastapi import Request, Response
    from fastapi.responses import JSONResponse

    async def info(request: Request, run: str | None = None) -> JSONResponse:
        """The run's card, its form and its version."""
        return JSONResponse(service.named(_noted(request, service, run)).about())

    async def predict(
        request: Request, run: str | None = None, probabilities: bool = False
    ) -> JSONResponse:
        """What the run says of each sample; on request with the probability of every class."""
        name = _noted(request, service, run)
        found = await service.predict(name, _sent(request), probabilities=probabilities)
        return JSONResponse(found)

    async def embed(request: Request, run: str | None = None) -> JSONResponse:
        """The vectors before the last linear layer."""
        return JSONResponse(await service.embed(_noted(request, service, run), _sent(request)))

    async def explain(
        request: Request,
        run: str | None = None,
        method: str | None = None,
        target: str | None = None,
        layer: str | None = None,
    ) -> Response:
        """Where the run looks in a sample: values, or a PNG where Accept asks for image/png."""
        name, asked = _noted(request, service, run), Asked(method, target, layer)
        picture = _wants_picture(request.headers.get("accept", ""))
        found = await service.explain(name, _sent(request), asked, picture=picture)
        vary = {"Vary": "Accept"}
        if picture:
            return Response(found, media_type=_PNG, headers=vary)
        return JSONResponse(found, headers=vary)

    async def downscale(request: Request, run: str | None = None) -> Response:
        """Coarse fields of NetCDF made finer, as NetCDF."""
        found = await service.downscale(_noted(request, service, run), _sent(request))
        return Response(found, media_type=NETCDF)

    calls: dict[str, Callable[..., Awaitable[Any]]] = {
        "predict": predict,
        "embed": embed,
        "explain": explain,
        "downscale": downscale,
    }
    for name, call in calls.items():
        _add_post(app, f"{prefix}/{name}", call, schema.ANSWERS[name])
    app.add_api_route(f"{prefix}/info", info, response_model=None, responses=schema.MISSING)


def _add_post(
    app: "FastAPI",
    path: str,
    call: Callable[..., Awaitable[Any]],
    answers: dict[int | str, dict[str, Any]],
) -> None:
    """An address that bodies are sent to."""
    body = schema.FIELDS if path.endswith("downscale") else schema.BODY
    settings: dict[str, Any] = {"methods": ["POST"], "response_model": None, "openapi_extra": body}
    app.add_api_route(path, call, responses=answers, **settings)


def _wants_picture(accept: str) -> bool:
    """Whether the header Accept names PNG, and not with a weight of nothing.

    >>> _wants_picture("text/html, image/PNG;q=0.5"), _wants_picture("image/png; q=0.0, */*")
    (True, False)
    """
    for each in accept.lower().split(","):
        media, _, weight = each.replace(" ", "").partition(";")
        if media == _PNG:
            return not (weight.startswith("q=0") and not weight[3:].strip(".0"))
    return False


def _noted(request: "Request", service: Service, run: str | None) -> str:
    """The name of the run that is asked, which the journal may hold."""
    name = service.named(run).name
    request.scope["convarium.run"] = name
    _check_query(request)
    return name


def _check_query(request: "Request") -> None:
    """Refuse words that would be passed over, such as a name that is written wrongly.

    Raises:
        RefusedError: 422.
    """
    known = [each.alias for each in request.scope["route"].dependant.query_params]
    for name in request.query_params:
        if name not in known:
            told = f"one of {', '.join(known)}" if known else "left out"
            reason = f"{name[:_WORD]!a} is no word of this query: it must be {told}."
            raise RefusedError(422, "unusable", reason + did_you_mean(name[:_WORD], known))


def _sent(request: "Request") -> Sent:
    """The body of a request.

    Raises:
        RefusedError: 415, its bytes are packed, which a small body could unpack to anything.
    """
    headers = request.headers
    if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise RefusedError(415, "encoded", "Send the body as it is, without Content-Encoding.")
    return Sent(headers.get("content-type"), headers.get("content-length"), _chunks(request))


async def _chunks(request: "Request") -> AsyncIterator[bytes]:
    """The bytes of a body; that its client left is a refusal, which nobody hears."""
    from starlette.requests import ClientDisconnect

    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect as error:
        raise RefusedError(400, "cut_short", "The body ended early.") from error
