"""The demo shop: which products it sells, what it says of them, and their photos."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from scripts.garments.picture import Look, draw, random_look
from scripts.garments.vocabulary import COLOURS, KINDS, PATTERNS

PHOTO_SIZE_PX = (480, 600)
JPEG_QUALITY = 84
COLUMNS = (
    "sku", "product_id", "photo", "name", "description", "category", "style", "age_group", "attributes",
)  # fmt: skip
CATEGORIES = {
    "dress": "Dresses", "t-shirt": "T-shirts", "shirt": "Shirts", "sweater": "Sweaters",
    "hoodie": "Hoodies", "jacket": "Jackets", "coat": "Coats", "skirt": "Skirts", "trousers": "Trousers",
    "shorts": "Shorts", "shoes": "Shoes", "boots": "Shoes", "bag": "Bags", "hat": "Hats",
    "scarf": "Scarves", "tie": "Accessories",
}  # fmt: skip
STYLES = {
    "dress": ("Party", "Bohemian", "Casual", "Vintage"), "t-shirt": ("Casual", "Streetwear", "Sporty"),
    "shirt": ("Business", "Casual", "Formal"), "sweater": ("Casual", "Vintage"),
    "hoodie": ("Streetwear", "Sporty", "Casual"), "jacket": ("Streetwear", "Casual", "Sporty"),
    "coat": ("Formal", "Business", "Vintage"), "skirt": ("Bohemian", "Casual", "Party"),
    "trousers": ("Business", "Casual", "Formal"), "shorts": ("Sporty", "Casual"),
    "shoes": ("Sporty", "Streetwear"), "boots": ("Casual", "Vintage"),
    "bag": ("Casual", "Party", "Business"), "hat": ("Bohemian", "Vintage", "Casual"),
    "scarf": ("Casual", "Vintage"), "tie": ("Business", "Formal"),
}  # fmt: skip
LINES = (
    "Marigold", "Juniper", "Willow", "Clementine", "Aster", "Hazel", "Linden", "Saffron", "Briar", "Olive",
    "Fern", "Poppy", "Rowan", "Sorrel", "Tansy", "Laurel", "Maple", "Iris", "Cedar", "Bryony", "Lupin",
    "Sage", "Clover", "Violet", "Heather", "Myrtle", "Primrose", "Thistle", "Yarrow", "Larch", "Elder",
    "Dahlia", "Camellia", "Peony", "Senna", "Zinnia", "Lotus", "Mallow", "Orchid", "Tulip", "Quince", "Ivy",
    "Jasmine", "Acacia", "Magnolia", "Wren", "Finch", "Robin", "Heron", "Swift", "Lark", "Plover", "Teal",
    "Merlin", "Martin", "Kestrel", "Siskin", "Dunlin", "Avocet", "Curlew", "Petrel", "Osprey", "Linnet",
    "Pipit", "Starling", "Sparrow", "Thrush", "Falcon", "Harbour", "Meadow", "Orchard", "Summit", "Cove",
    "Prairie", "Canyon", "Lagoon", "Dune", "Glen", "Fjord", "Mesa", "Atlas", "Luna", "Nova", "Vega",
    "Orion", "Lyra", "Mira", "Rigel", "Altair", "Cassia", "Juno", "Vesta",
)  # fmt: skip
CLOTH = (
    "organic cotton",
    "soft viscose",
    "washed linen",
    "a light wool blend",
    "recycled polyester",
    "brushed twill",
)
NOT_CLOTH = {
    "shoes": "canvas and rubber",
    "boots": "coated canvas",
    "bag": "sturdy canvas",
    "tie": "woven silk",
}
USES = (
    "Easy to dress up or down.", "Made for long days.", "A favourite from spring to autumn.",
    "Machine washable at 30 °C.", "Cut for an easy fit.", "Pairs with almost anything.",
    "Finished by hand.", "Packs small, wears well.",
)  # fmt: skip
PRINTED = {
    "plain": "in one even colour", "striped": "with woven stripes", "dotted": "with polka dots all over",
    "checked": "in a classic check", "floral": "scattered with flowers", "zigzag": "with a bold zigzag",
}  # fmt: skip
SEED_LOOK = Look("dress", "red", "floral")  # of "A red dress with floral patterns"
SEED_DRESSES = 6


@dataclass(frozen=True)
class Product:
    """One garment that the shop sells in some colours; `look` has the first."""

    number: int
    line: str
    look: Look
    colours: tuple[str, ...]
    style: str
    age_group: str
    material: str
    use: str

    @property
    def product_id(self) -> str:
        return f"{self.look.kind.replace('-', '')[:3].upper()}-{self.number:03d}"

    def described(self, colour: str) -> str:
        """A sentence or two, as a shop writes them."""
        look = self.look
        cut = f"{look.length} {look.kind}" if look.length else look.kind
        sleeves = (
            f", {look.sleeve if look.sleeve == 'sleeveless' else f'{look.sleeve}-sleeved'}"
            if look.sleeve
            else ""
        )
        shown = f"{colour.capitalize()} {cut}{sleeves}, {PRINTED[look.pattern]}."
        return f"{shown} Made of {self.material}. {self.use}"

    def name(self, colour: str) -> str:
        words = [self.line, self.look.pattern, self.look.length, self.look.kind]
        return " ".join(word for word in words if word and word != "plain") + f", {colour}"


def product(rng: Random, number: int, look: Look, variants: int) -> Product:
    """A product with `look` and `variants` - 1 more colours, the rest by lot."""
    others = [colour for colour in COLOURS if colour not in (look.colour, SEED_LOOK.colour)]
    kind = look.kind
    return Product(
        number,
        LINES[number % len(LINES)],
        look,
        (look.colour, *rng.sample(others, variants - 1)),
        rng.choice(STYLES[kind]),
        rng.choices(
            ("Adults", "Teens", "Kids", "Seniors", "Baby"),
            (60, 16, 14, 8, 0 if kind in ("tie", "coat") else 2),
        )[0],
        NOT_CLOTH.get(kind) or rng.choice(CLOTH),
        rng.choice(USES),
    )


def products(seed: int) -> list[Product]:
    """Ten dresses and five products of every other kind, 14 photos a kind (30 for dresses)."""
    rng = Random(f"catalogue:{seed}")
    plan: list[tuple[Look, int]] = []
    for _ in range(SEED_DRESSES):
        plan.append((random_look(rng, SEED_LOOK.kind, SEED_LOOK.colour, SEED_LOOK.pattern), 3))
    for index, pattern in enumerate(("plain", "striped", "dotted", "checked")):
        plan.append((random_look(rng, "dress", ("red", "pink", "red", "navy")[index], pattern), 3))
    for place, kind in enumerate(KINDS[1:]):
        for index, variants in enumerate((3, 3, 3, 3, 2)):
            pattern = PATTERNS[(place + index) % len(PATTERNS)]
            colour = COLOURS[(5 * place + 7 * index) % len(COLOURS)]
            plan.append((random_look(rng, kind, colour, pattern), variants))
    return [product(rng, number, look, variants) for number, (look, variants) in enumerate(plan, start=1)]


@dataclass(frozen=True)
class Item:
    """One colour of a product: a row of the catalogue and its photo."""

    product: Product
    colour: str

    @property
    def sku(self) -> str:
        return f"{self.product.product_id}-{self.colour.upper()}"

    @property
    def look(self) -> Look:
        base = self.product.look
        return Look(base.kind, self.colour, base.pattern, base.sleeve, base.length)

    def row(self) -> dict[str, str]:
        attributes = self.look.attributes() | {"material": self.product.material}
        attributes.pop("kind")
        values = (
            self.sku,
            self.product.product_id,
            f"{self.sku}.jpg",
            self.product.name(self.colour),
            self.product.described(self.colour),
            CATEGORIES[self.look.kind],
            self.product.style,
            self.product.age_group,
            json.dumps(attributes),
        )
        return dict(zip(COLUMNS, values, strict=True))


def items(seed: int) -> Iterator[Item]:
    """Every photo of the catalogue, product by product."""
    for each in products(seed):
        for colour in each.colours:
            yield Item(each, colour)


def write_catalogue(out: Path, seed: int) -> int:
    """Write catalogue.csv and photos/*.jpg into `out`; answers how many photos there are."""
    photos = out / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    rows = []
    for item in items(seed):
        picture = draw(item.look, Random(f"catalogue:{seed}:{item.sku}"), PHOTO_SIZE_PX)
        picture.save(photos / f"{item.sku}.jpg", quality=JPEG_QUALITY, optimize=True)
        rows.append(item.row())
    with (out / "catalogue.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return len(rows)
