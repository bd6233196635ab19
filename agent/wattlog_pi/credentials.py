"""Where the files are that settings name: what a service manager hands over comes first."""

from collections.abc import Mapping
from pathlib import Path

FOLDER_VARIABLE = "CREDENTIALS_DIRECTORY"
_EMPTY_BYTES = 1  # the end of a line


def file_named(text: str, beside: Path, environ: Mapping[str, str]) -> Path:
    """Return the path of a file that settings name, beside being the folder of the settings.

    A plain name is first looked for among the credentials of systemd (LoadCredential=), which
    nobody else on the machine can read. An empty one stands for one that is not there: our units
    hand that over (SetCredential=), because systemd starts nothing where a file is missing.
    """
    folder = environ.get(FOLDER_VARIABLE)
    if folder and "/" not in text and "\0" not in text:
        handed_over = Path(folder) / text
        if handed_over.is_file() and handed_over.stat().st_size > _EMPTY_BYTES:
            return handed_over
    return beside / text
