"""Dataset cards. A card offers `sources(**options)` and `pieces(**options)`.

`sources` are the files that are read, (name, path) each; a study is due again when one changes.
`pieces` gives the dataset in order, in Arrow tables of many rows, or row by row, each a mapping. A
row has

- `text` (bytes or str), which is cut into tokens, or `features` (an image: an array of whole
  numbers, of one shape and type for all; in a table a fixed-shape tensor) and `label` (its class,
  from 0);
- `tags`, text to text (in a table `map<string, string>`);
- `group`, a name: rows of one group are on one side. A row without a group is one of its own;

and where the card knows it

- `split`: `train`, `valid` or `test`; of a row without, a hash of its group decides;
- `row_id`: the user's own id, in all rows or in none; without it a row is known by its content;
- `file` and `line`: where it is, for messages: a path, and the number of the row in that file
  from 1 (of a text file, the line);
- `problem`: why the card cannot give this row, such as `not UTF-8 (byte 17)`; empty where it can.
  What differs from row to row is in brackets at the end. A row with a problem needs only `file`
  and `line`. The study says whether it stops the job or is dropped (`on_bad_row`).

A column that some rows lack is null there. Tables can be of any length; what a card holds of its
files at once is the card's own memory, so that a table of about 30 MB is good.

`TAGS` are the keys of the tags with their meaning. A card whose tags depend on its options has
`TAGS = {}` and `tag_keys(**options)`, which lists them. A card that reads from a network has
`FETCHES = True`; its `sources` and `pieces` then have a keyword `fetched`, the folder where it
keeps what it fetches: it is fetched once, when the study starts, and read from there by the job.
Where the network can have something new under the same name, such as a branch, it also has
`refresh(**options, fetched)`, which asks for it when the study starts and not in a job.

`TOKEN` is what is counted: `byte` of texts, `example` of images. A card whose options decide that
has `token(**options)` too.

A card that is drawn from its options and reads nothing has `SYNTHETIC = True`, and no sources. One
that knows the entropy rate of its text has `ENTROPY_RATE = True` and `entropy_rate(**options)`, in
nats a byte, by domain, and of the whole as `all`.

`python_stdlib` is an example of text, `idx_images` of images, `parquet` of a table of the user's:
such a card has the options of `_columns` and `_files` beside its own (`OPTIONS_OF`), and makes its
pieces by `Columns.pieces`.
"""
