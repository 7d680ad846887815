"""Money: whole micro-dollars inside, dollars at the edge."""

from decimal import Decimal
from typing import Self

from pydantic import BaseModel, ConfigDict

MICROS = 1_000_000
"""Of a dollar."""


class Booking(BaseModel):
    """What the ledger has for a job, or for a client's day: micro-dollars, and pictures.

    `reserved` may still be charged; `spent` was charged, or may have been.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    reserved: int = 0
    spent: int = 0
    pictures: int = 0

    @property
    def committed(self) -> int:
        """What a budget must hold."""
        return self.reserved + self.spent

    def __add__(self, other: Self) -> "Booking":
        return Booking(
            reserved=self.reserved + other.reserved,
            spent=self.spent + other.spent,
            pictures=self.pictures + other.pictures,
        )

    def __sub__(self, other: Self) -> "Booking":
        return Booking(
            reserved=self.reserved - other.reserved,
            spent=self.spent - other.spent,
            pictures=self.pictures - other.pictures,
        )


NOTHING = Booking()


def dollars(micros: int) -> str:
    """Micro-dollars as dollars, with as many decimals as they need, at least two."""
    whole, _, fraction = f"{Decimal(micros).scaleb(-6):f}".partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"
