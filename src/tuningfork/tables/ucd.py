"""What our columns are, in words of UCD1+, IVOA's controlled vocabulary of unified content descriptors."""

__all__ = [
    "ADDRESS",
    "CLASS",
    "CLASS_NAME",
    "CLASS_PROBABILITY",
    "COUNT",
    "DECLINATION",
    "FILE",
    "FRACTION",
    "GREATEST",
    "IDENTIFIER",
    "LEAST",
    "LEVEL",
    "LOWER",
    "NOTE",
    "ORIGIN",
    "PIXEL_SCALE",
    "QUALITY",
    "RANK",
    "RIGHT_ASCENSION",
    "SAMPLE",
    "SEPARATION",
    "SIZE",
    "SPREAD",
    "STATUS",
    "SURVEY",
    "UPPER",
    "VALUE",
    "VOTES",
    "WHEN",
]

IDENTIFIER = "meta.id;meta.main"
FILE = "meta.id;meta.file"
NOTE = "meta.note"
QUALITY, STATUS = "meta.code.qual", "meta.code.status"
RANK = "stat.rank"
SAMPLE = "meta.code.member;src.sample"

#: Right ascension and declination (ICRS) of a table's own galaxies; a table has one such pair.
RIGHT_ASCENSION, DECLINATION = "pos.eq.ra;meta.main", "pos.eq.dec;meta.main"
SEPARATION = "pos.angDistance"

#: Where an image comes from, and how large it is on the sky.
ORIGIN, SURVEY, ADDRESS, WHEN = "meta.ref", "meta.dataset", "meta.ref.url", "time.processing"
PIXEL_SCALE, SIZE = "instr.scale;instr.pixel", "phys.angSize;obs.image"

#: The share of volunteers who gave an answer.
VOTES = "stat.value;src.morph"
#: The same as a model predicts it, the bounds of its interval, and how much several predictions of it differ.
FRACTION = "stat.value;src.morph;meta.modelled"
LOWER, UPPER = f"{FRACTION};stat.min", f"{FRACTION};stat.max"
SPREAD = "stat.stdev;src.morph;meta.modelled"
LEVEL = "stat.confidenceLevel"
VALUE = "stat.value;meta.modelled"
#: A number of galaxies; the bounds of an interval or of a bin.
COUNT = "meta.number;src"
LEAST, GREATEST = "stat.value;stat.min", "stat.value;stat.max"

CLASS, CLASS_NAME, CLASS_PROBABILITY = "meta.code.class", "src.morph.type", "stat.probability;src.morph.type"
