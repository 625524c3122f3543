"""Dataset cards. A card offers `sources(**options)` and `pieces(**options)`.

`sources` are the files that are read, (name, path) each; a study is due again when one changes.
`pieces` gives the dataset piece by piece, each a mapping with `tags` (key to value) and `group` (a
name: pieces of one group are on one side), and with either `text` (bytes, of which each is a token)
or `features` (an array of whole numbers, of one shape and type for all) and `label` (its class,
from 0). A piece may have its own `split`, `train` or `valid`; else a hash of its group decides.
`python_stdlib` is an example of text, `idx_images` of images.
"""
