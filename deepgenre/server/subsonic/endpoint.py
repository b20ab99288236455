"""The route of the Subsonic API: parameters of the address or of a form, answers, errors."""

from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from deepgenre.server.jobs import RefusedError
from deepgenre.server.responses import read_body, unless_closed
from deepgenre.server.subsonic import answers, credentials
from deepgenre.server.subsonic.answers import GENERIC, NOT_FOUND, SubsonicError
from deepgenre.server.subsonic.methods import METHODS, Call

FORM = "application/x-www-form-urlencoded"
MAX_FIELDS = 100


async def endpoint(request: Request) -> Response:
    """Answers a method of the Subsonic API; a closed connection cancels its work."""
    format_name = request.query_params.get("f", "xml")
    try:
        parameters = await _parameters(request)
        format_name = parameters.get("f", "xml")
        if format_name not in answers.FORMATS:
            raise SubsonicError(GENERIC, f"f: must be one of {', '.join(answers.FORMATS)}.")
        row = METHODS.get(request.path_params["method"].removesuffix(".view"))
        if row is None or not row.is_public:
            credentials.check(parameters, request.app.state.token)
        if row is None:
            raise SubsonicError(GENERIC, "This server does not have this method.")
        call = Call(request.app.state.of_server, parameters)
        found = await unless_closed(request, lambda progress: row.run(call))
    except RefusedError as refused:
        code = NOT_FOUND if refused.status == 404 else GENERIC
        return answers.failed(SubsonicError(code, str(refused)), format_name)
    except SubsonicError as error:
        return answers.failed(error, format_name)
    return found if isinstance(found, Response) else answers.succeeded(found, format_name)


async def _parameters(request: Request) -> dict[str, str]:
    """Returns the parameters of the address, and of a form in the body (extension formPost)."""
    found = dict(request.query_params)
    if request.headers.get("content-type", "").partition(";")[0].strip() == FORM:
        body = await read_body(request, request.app.state.of_server.settings.limits)
        try:
            found |= parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
        except ValueError as error:
            raise SubsonicError(GENERIC, "The form cannot be read.") from error
    return found
