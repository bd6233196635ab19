"""The static files, under addresses that change with what is in them."""

import hashlib
from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_FOR_EVER = "public, max-age=31536000, immutable"


class Assets(StaticFiles):
    """Serves name and <version>/name; only the second may be kept for ever.

    version is made of all files together: scripts import each other by relative addresses, so
    a page and its scripts are always of one release.
    """

    def __init__(self, folder: Path) -> None:
        """Read all files once."""
        super().__init__(directory=folder)
        digest = hashlib.sha256()
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(path.read_bytes())
        self.version = digest.hexdigest()[:12]
        self.has_chart = (folder / "vendor/uplot/uPlot.iife.min.js").is_file()

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return the file at this path, with how long it may be kept."""
        inside = path.removeprefix(f"{self.version}/")
        answer = await super().get_response(inside, scope)
        kept = inside != path and answer.status_code < 400
        answer.headers["cache-control"] = _FOR_EVER if kept else "no-cache"
        return answer
