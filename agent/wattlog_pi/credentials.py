"""Where the files are that settings name: what a service manager hands over comes first."""

from collections.abc import Mapping
from pathlib import Path

FOLDER_VARIABLE = "CREDENTIALS_DIRECTORY"


def file_named(text: str, beside: Path, environ: Mapping[str, str]) -> Path:
    """Return the path of a file that settings name, beside being the folder of the settings.

    A plain name is first looked for among the credentials of systemd (LoadCredential=), which
    nobody else on the machine can read.
    """
    folder = environ.get(FOLDER_VARIABLE)
    if folder and "/" not in text and "\0" not in text:
        handed_over = Path(folder) / text
        if handed_over.is_file():
            return handed_over
    return beside / text
