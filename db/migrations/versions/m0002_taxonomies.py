"""Fill the taxonomies with sensible defaults."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

CATEGORIES = {
    "Dresses": "One-piece garments with a skirt, from sundresses to evening gowns.",
    "T-shirts": "Collarless tops of jersey, with short or long sleeves.",
    "Shirts": "Tops with a collar and buttons, blouses included.",
    "Sweaters": "Knitted pullovers and cardigans.",
    "Hoodies": "Sweatshirts with a hood.",
    "Jackets": "Short outerwear: denim, leather, bomber and rain jackets, blazers.",
    "Coats": "Long outerwear for cold or wet weather.",
    "Skirts": "Garments from the waist down without legs, of any length.",
    "Trousers": "Long legwear of any fabric but denim.",
    "Jeans": "Denim trousers.",
    "Shorts": "Legwear that ends above or at the knee.",
    "Suits": "Jacket and trousers or skirt of one cloth.",
    "Shoes": "Footwear: sneakers, boots, sandals, heels.",
    "Bags": "Handbags, backpacks, totes and purses.",
    "Hats": "Headwear: hats, caps and beanies.",
    "Scarves": "Scarves, shawls and stoles.",
    "Accessories": "Belts, gloves, jewellery, sunglasses and other small things.",
}
STYLES = {
    "Casual": "For every day.",
    "Formal": "For ceremonies and evenings.",
    "Business": "For the office.",
    "Sporty": "For sport, or as if for sport.",
    "Bohemian": "Loose cuts, natural fabrics, folk patterns.",
    "Streetwear": "Urban, oversized, with sneakers.",
    "Vintage": "In the fashion of earlier decades.",
    "Party": "For going out.",
}
AGE_GROUPS = {
    "Baby": "Up to 2 years.",
    "Kids": "3 to 12 years.",
    "Teens": "13 to 17 years.",
    "Adults": "18 to 64 years.",
    "Seniors": "65 years and older.",
}
TERMS = {"category": CATEGORIES, "style": STYLES, "age_group": AGE_GROUPS}


def upgrade() -> None:
    for name, terms in TERMS.items():
        rows = [{"name": term, "description": description} for term, description in terms.items()]
        op.bulk_insert(_table(name), rows)


def downgrade() -> None:
    for name, terms in TERMS.items():
        table = _table(name)
        op.execute(table.delete().where(table.c.name.in_(list(terms))))


def _table(name: str) -> sa.TableClause:
    return sa.table(name, sa.column("name", sa.String), sa.column("description", sa.String))
