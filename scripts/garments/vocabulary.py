"""What can be drawn, and the words that people use for it. The first of each is the canonical one."""

from __future__ import annotations

KIND_WORDS: dict[str, tuple[str, ...]] = {
    "dress": ("dress", "gown", "frock"),
    "t-shirt": ("t-shirt", "tee", "tshirt", "tee shirt", "t shirt"),
    "shirt": ("shirt", "blouse", "button-up shirt", "button down"),
    "sweater": ("sweater", "jumper", "pullover", "knitted sweater"),
    "hoodie": ("hoodie", "hooded sweatshirt", "hoody"),
    "jacket": ("jacket", "bomber jacket", "bomber", "zip jacket"),
    "coat": ("coat", "overcoat", "trench coat", "long coat"),
    "skirt": ("skirt", "flared skirt"),
    "trousers": ("trousers", "pants", "slacks"),
    "shorts": ("shorts", "bermuda shorts"),
    "shoes": ("shoes", "sneakers", "trainers", "sneaker", "shoe"),
    "boots": ("boots", "boot", "ankle boots"),
    "bag": ("bag", "handbag", "tote", "purse"),
    "hat": ("hat", "sun hat", "brimmed hat"),
    "scarf": ("scarf", "neck scarf", "shawl"),
    "tie": ("tie", "necktie", "neck tie"),
}

PLURALS: dict[str, str] = {
    "dress": "dresses",
    "t-shirt": "t-shirts",
    "scarf": "scarves",
    "shirt": "shirts",
    "sweater": "sweaters",
    "hoodie": "hoodies",
    "jacket": "jackets",
    "coat": "coats",
    "skirt": "skirts",
    "bag": "bags",
    "hat": "hats",
    "tie": "ties",
}
PLURAL_ONLY = frozenset({"trousers", "shorts", "shoes", "boots"})
SINGULAR_WORDS = frozenset({"sneaker", "shoe", "boot"})

COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "red": ("red", "crimson", "scarlet", "ruby"),
    "orange": ("orange", "tangerine"),
    "yellow": ("yellow", "lemon", "lemon yellow"),
    "green": ("green", "emerald", "grass green"),
    "blue": ("blue", "azure", "sky blue", "bright blue"),
    "navy": ("navy", "navy blue", "dark blue"),
    "purple": ("purple", "violet", "plum"),
    "pink": ("pink", "rosy", "light pink"),
    "brown": ("brown", "chocolate", "chocolate brown"),
    "black": ("black", "jet black"),
    "white": ("white", "ivory", "snow white"),
    "grey": ("grey", "gray", "silver grey"),
}

# Hue in degrees, saturation and value, each as a range.
COLOUR_HSV: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "red": ((350, 366), (0.78, 0.95), (0.68, 0.90)),
    "orange": ((20, 31), (0.80, 1.00), (0.92, 1.00)),
    "yellow": ((47, 56), (0.62, 0.95), (0.92, 1.00)),
    "green": ((95, 150), (0.50, 0.85), (0.42, 0.72)),
    "blue": ((202, 222), (0.58, 0.85), (0.76, 0.98)),
    "navy": ((220, 238), (0.60, 0.85), (0.24, 0.40)),
    "purple": ((268, 288), (0.45, 0.75), (0.52, 0.80)),
    "pink": ((325, 346), (0.30, 0.58), (0.93, 1.00)),
    "brown": ((18, 30), (0.48, 0.70), (0.34, 0.52)),
    "black": ((0, 360), (0.00, 0.15), (0.06, 0.14)),
    "white": ((0, 360), (0.00, 0.04), (0.95, 1.00)),
    "grey": ((0, 360), (0.00, 0.06), (0.46, 0.66)),
}

PATTERN_ADJECTIVES: dict[str, tuple[str, ...]] = {
    "plain": ("plain", "solid", "unpatterned", "solid-coloured"),
    "striped": ("striped", "stripy", "stripey"),
    "dotted": ("dotted", "polka dot", "spotted", "polka-dot"),
    "checked": ("checked", "checkered", "plaid", "tartan", "gingham"),
    "floral": ("floral", "flowery", "flowered", "blossom"),
    "zigzag": ("zigzag", "zig-zag", "chevron"),
}

PATTERN_NOUNS: dict[str, tuple[str, ...]] = {
    "plain": ("no pattern", "no print", "no patterns", "nothing on it"),
    "striped": ("stripes", "bands"),
    "dotted": ("dots", "polka dots", "spots"),
    "checked": ("checks", "squares", "a tartan check"),
    "floral": ("flowers", "blossoms", "florals"),
    "zigzag": ("zigzags", "zigzag lines", "chevrons"),
}

SLEEVE_WORDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "sleeveless": (("sleeveless",), ("no sleeves", "thin straps")),
    "short": (("short-sleeved", "short sleeve"), ("short sleeves",)),
    "long": (("long-sleeved", "long sleeve"), ("long sleeves",)),
}

LENGTH_WORDS: dict[str, tuple[str, ...]] = {
    "mini": ("mini", "short"),
    "midi": ("midi", "knee-length"),
    "maxi": ("maxi", "ankle-length", "full-length"),
}

KINDS = tuple(KIND_WORDS)
COLOURS = tuple(COLOUR_WORDS)
PATTERNS = tuple(PATTERN_ADJECTIVES)

SLEEVES: dict[str, tuple[str, ...]] = {
    "dress": ("sleeveless", "short", "long"),
    "t-shirt": ("short",),
    "shirt": ("short", "long"),
    "sweater": ("long",),
    "hoodie": ("long",),
    "jacket": ("long",),
    "coat": ("long",),
}
LENGTHS: dict[str, tuple[str, ...]] = {"dress": ("mini", "midi", "maxi"), "skirt": ("mini", "midi", "maxi")}


def is_plural(kind: str, word: str) -> bool:
    """Whether `word`, one of the names of `kind`, is grammatically plural ("trainers")."""
    return kind in PLURAL_ONLY and word not in SINGULAR_WORDS
