"""Files that are known and not read: what they are, and what to do."""

from __future__ import annotations

import re

from isoloss.core.sources import Source

_PAGE = re.compile(r"\s*<(?:!doctype|!--|\?xml|[a-z][a-z0-9]*[\s>/])", re.I)
_SAVE = "save the table as CSV or Parquet"
_KNOWN = {
    b"\xd0\xcf\x11\xe0": ("an Excel file of the old kind (.xls)", "save it as .xlsx or CSV"),
    b"%PDF": ("a PDF", "copy its table into a text file, as CSV or as the LaTeX or Markdown of it"),
    b"\x89HDF": ("an HDF5 file", _SAVE),
    b"SQLite format 3": ("an SQLite database", _SAVE),
    b"\x93NUMPY": ("an array of NumPy, without names of columns", _SAVE),
    b"\x80\x02": ("a pickle, which is code", _SAVE),
    b"\x80\x03": ("a pickle, which is code", _SAVE),
    b"\x80\x04": ("a pickle, which is code", _SAVE),
    b"\x80\x05": ("a pickle, which is code", _SAVE),
    b"\x89PNG": ("a picture", "give the table that it shows"),
    b"\xff\xd8\xff": ("a picture", "give the table that it shows"),
    b"7z\xbc\xaf": ("a 7-Zip archive", "unpack it"),
    b"Rar!": ("a RAR archive", "unpack it"),
    b"FEA1": ("a Feather file of version 1", "save it as version 2 or Parquet"),
    b"Obj\x01": ("an Avro file", _SAVE),
}


def refuse_others(file: Source) -> None:
    """Raise an error that names a kind of file that is not read.

    Raises:
        TableError: an empty file, or one of the kinds above.
    """
    content = file.parts[0]
    if not content.strip():
        raise file.error("is empty", "give a CSV or Parquet table")
    for start, (kind, remedy) in _KNOWN.items():
        if content.startswith(start):
            raise file.error(f"is {kind}, not a table", remedy)


def refuse_page(file: Source, text: str) -> None:
    """Raise an error if a text is a page.

    Raises:
        TableError: it is HTML or XML.
    """
    if not _PAGE.match(text):
        return
    reason = "is a page of HTML or XML, not a table"
    raise file.error(reason, "give the address of the file itself, and what it takes to log in")
