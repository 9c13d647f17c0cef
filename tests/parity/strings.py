"""Strings on which tokenizers like to disagree."""

TRICKY = [
    "",
    " ",
    "\n\t \u00a0\u3000",
    "hello  abc",
    "  A RED\nfolder's don't I'LL we've they're I'd I'm 'S 's' 'sx ''s !'s",
    "<|startoftext|> hi <|endoftext|>x<|ENDOFTEXT|>!! <|StartOfText|>?",
    "!<|startoftext|>!",
    "<|endoftext|",
    "<|endoftext|><|endoftext|>",
    "wow!! so !important! ! a!b",
    "\u00c0\u00c9 \u00e9 e\u0301 \uff12 \u00bd \u2177 \u0660\u0661 12345 3d 1st",
    "\U0001f389\U0001f469\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f \U0001f1eb\U0001f1f7",
    "a\u0000b\u0001 \u007f",
    "\u0130stanbul \u0391\u03a3 \u039f\u0394\u039f\u03a3 \u1e9e \u00df",
    "\ufb01 \u01c5 \u01c8a \u2126 \u212b \u212a",
    "a_b-c/d.e,f;g:h (i) [j] {k} \"l\" `m` ~n^o @p #q $r %s &t *u +v =w |x \\y",
    "\u200by\ufeff \u00ad \u2060",
    "\u0085\u001c\u001d\u001e\u001f x \u2028\u2029 y",
    "\u65e5\u672c\u8a9e \u30d5\u30a9\u30eb\u30c0\u30fc \ud55c\uae00 \u1112\u1161\u11ab \u4e2d\u6587",
    "\u0915\u094d\u0937\u093f \u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22 \u0627\u0644\u0639\u0631\u0628\u064a\u0629",
    "\U00020000 \U0001d400 \ufffd \U0010ffff",
    "a" * 3000,
    "folder " * 500,
    "\u00e9" * 700,
    "aaaaaaabbbbbbbaaabababab",
    "x" + "\u0301" * 50,
]

_RANGES = [
    (0x20, 0x7E),
    (0x00, 0x2FF),
    (0x300, 0x36F),
    (0x370, 0x5FF),
    (0x900, 0x97F),
    (0x1100, 0x11FF),
    (0x1E00, 0x1FFF),
    (0x2000, 0x20FF),
    (0x2100, 0x2BFF),
    (0x3040, 0x30FF),
    (0x4E00, 0x4FFF),
    (0xAC00, 0xACFF),
    (0xFB00, 0xFB4F),
    (0xFF00, 0xFFEF),
    (0x1D400, 0x1D7FF),
    (0x1F300, 0x1F64F),
]
_WORDS = "a the red folder printer arrow home user's don't pointing style <|endoftext|> ! 's 12 icons".split()


def random_strings(generator, count):
    """Words, punctuation and characters of many scripts, mixed at random."""
    strings = []
    for _ in range(count):
        parts = []
        for _ in range(generator.randrange(1, 16)):
            if generator.random() < 0.5:
                parts.append(generator.choice(_WORDS))
            else:
                low, high = generator.choice(_RANGES)
                parts.append("".join(chr(generator.randint(low, high)) for _ in range(generator.randrange(1, 4))))
        strings.append(generator.choice(["", " ", " ", "  "]).join(parts))
    return strings
