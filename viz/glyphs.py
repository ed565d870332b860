"""How wide a text is: widths of glyphs, so that boxes fit their text where no font is to be asked.

The widths are those of Helvetica and Arial, to which Liberation Sans, Arimo and Nimbus Sans are metrically equal, in
thousandths of the size. What the table does not hold is taken for as wide as East Asian scripts or emoji are drawn.
"""

from __future__ import annotations

import unicodedata

__microgrid_machinery__ = True

FAMILY = "Helvetica, Arial, 'Liberation Sans', Arimo, 'Nimbus Sans', sans-serif"
UNKNOWN, WIDE = 700, 1000

REGULAR = {
    191: "'",
    222: "ijlįĵĺļłſίι",
    260: "|¦",
    278: " !,./:;I[\\]ftÌÍÎÏìíîïĨĩĪīĬĭĮİıţŧΙΪ",
    292: "ľ",
    323: "ℓ",
    333: "()-`r¡¨²³´·¸¹ŕŗř",
    334: "{}ŀ",
    350: "•",
    355: '"',
    365: "º",
    370: "ª",
    375: "ť",
    389: "*",
    395: "τ",
    400: "°",
    415: "₀",
    441: "ζ",
    444: "ĳ",
    446: "έε",
    448: "ξ",
    469: "^",
    482: "ς",
    494: "∂",
    500: "JcksvxyzçýÿćĉċčĴķĸśŝşšŷźżžγκλν",
    525: "χ",
    537: "¶",
    547: "ΰυ",
    549: "±÷√≈≠≤≥",
    551: "Γ",
    552: "¯",
    556: "#$0123456789?L_abdeghnopqu¢£¤¥§«»àáâãäåèéêëðñòóôõöùúûüþāăąđēĕėęěĝğġģĥħĹĻĽĿŁńņňŋōŏőũūŭůűųήηθο",
    557: "δ",
    569: "ρ",
    575: "β",
    576: "µμ",
    578: "άα",
    584: "+<=>~¬×−",
    604: "ŉ",
    611: "FTZ¿ßøŢŤŦŹŻŽΖΤ",
    615: "ď",
    617: "σ",
    618: "Σ",
    648: "φ",
    650: "Ξ",
    667: "&ABEKPSVXYÀÁÂÃÄÅÈÉÊËÝÞĀĂĄĒĔĖĘĚĶŚŜŞŠŶŸΑΒΕΚΡΥΧΫ",
    668: "ΔΛ",
    690: "π",
    713: "ψ∑∞",
    722: "CDHNRUwÇÐÑÙÚÛÜĆĈĊČĎĐĤĦŃŅŇŔŖŘŨŪŬŮŰŲŵΗΝΠ",
    723: "Ŋ",
    735: "Ĳ",
    737: "©®",
    748: "Ω",
    778: "GOQÒÓÔÕÖØĜĞĠĢŌŎŐΘΟ",
    781: "ω",
    798: "Φ",
    833: "MmΜ",
    834: "¼½¾",
    835: "Ψ",
    889: "%æ",
    944: "WœŴ",
    1000: "ÆŒ…←→",
    1015: "@",
}

BOLD = {
    238: "'",
    278: " ,./I\\ijlÌÍÎÏìíîïĨĩĪīĬĭĮįİıĵĺļłſΙΪίι",
    280: "|¦",
    333: "!()-:;[]`ft¡¨²³´·¸¹ţŧ",
    350: "•",
    365: "º",
    370: "ª",
    385: "ľ",
    389: "*r{}ŕŗř",
    400: "°",
    445: "ξ",
    446: "τ",
    451: "έ₀",
    460: "ζ",
    474: '"',
    475: "ε",
    479: "ŀť",
    489: "ℓ",
    494: "∂",
    500: "zźżž",
    520: "ς",
    541: "θ",
    549: "±÷√≈≠≤≥",
    552: "¯",
    556: "#$0123456789J_aceksvxy¢£¤¥§«¶»àáâãäåçèéêëýÿāăąćĉċčēĕėęěĳĴķĸśŝşšŷγλν",
    558: "κ",
    576: "µχ",
    582: "ΰυ",
    584: "+<=>^~¬×−",
    600: "Σ",
    601: "Γ",
    606: "δ",
    610: "β",
    611: "?FLTZbdghnopqu¿ßðñòóôõöøùúûüþđĝğġģĥħĹĻĽĿŁńņňŋōŏőŢŤŦũūŭůűųŹŻŽΖΤήηο",
    612: "μ",
    615: "άα",
    619: "ρ",
    644: "Ξ",
    667: "EPSVXYÈÉÊËÝÞĒĔĖĘĚŚŜŞŠŶŸΕΛΡΥΧΫ",
    684: "σ",
    708: "ŉ",
    713: "∑∞",
    715: "φ",
    719: "ďΔ",
    722: "&ABCDHKNRUÀÁÂÃÄÅÇÐÑÙÚÛÜĀĂĄĆĈĊČĎĐĤĦĶŃŅŇŔŖŘŨŪŬŮŰŲΑΒΗΚΝΠ",
    723: "Ŋ",
    737: "©®",
    753: "ψ",
    766: "π",
    778: "GOQwÒÓÔÕÖØĜĞĠĢŌŎŐŵΘΟ",
    785: "Ĳ",
    802: "Ω",
    809: "Ψ",
    821: "Φ",
    833: "MΜ",
    834: "¼½¾",
    845: "ω",
    889: "%mæ",
    944: "WœŴ",
    975: "@",
    1000: "ÆŒ…←→",
}

WIDTHS = [{glyph: width for width, glyphs in table.items() for glyph in glyphs} for table in (REGULAR, BOLD)]


def width(text: str, size: float, bold: bool = False) -> float:
    """Of a text in one line, in the unit of `size`, the size of the font.

    Examples
    --------
    >>> width("Wi", 10.0), width("Wi", 10.0, bold=True)
    (11.66, 12.22)
    """
    table = WIDTHS[bold]
    return sum(table[glyph] if glyph in table else _unlisted(glyph) for glyph in text) * size / 1000


def _unlisted(glyph: str) -> int:
    if unicodedata.combining(glyph) or unicodedata.category(glyph) == "Cf":
        return 0
    return WIDE if unicodedata.east_asian_width(glyph) in "WF" or glyph >= "\u2190" else UNKNOWN
