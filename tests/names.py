"""Names that a table may have: innocent ones that are hard to write, and some that attack."""

NASTY = [
    'x"""\nimport os; os.system("touch PWNED")\ny = """',
    "C:\\Users\\xi", 'a"b', "it's", "both '\" quotes", "100%", "α–β", "模型", "x_1", "#3", "$5",
    "$\\frac$", "$x$ and $", "<none>", "trailing\\", "", "   ", "x" * 300, "😀", "👩\u200d💻",
    "\\input{/etc/passwd}", "^^M{}~#&%", "*a* _b_ `c` [d](e) ![f](g) | h", "```", "# head",
    "- item", "    code",
    "1. item", "<script>alert(1)</script>", "<!-- PARAMS END -->", "https://x.y www.x.y a@b.c",
    "a\nb", "a\r\nb", "\x1b[2J\x07", "\u202egnp.exe", "\u2028", "\x85", "{}{0}{name}",
    "__init__", "_hidden", "a\tb", "\ud800", "inf", "None", "'''", '"', "\\", "\\n",
    "[5pt]", "&amp;", "é\u0301",
]  # fmt: skip
