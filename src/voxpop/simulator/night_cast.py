"""Who posts on the night: invented people and institutions of Tesmar; nobody exists, no handle resolves."""

from typing import NamedTuple


class Actor(NamedTuple):
    """One account. `role` is what it really is, whatever its name pretends; `bio` is what it says of itself."""

    handle: str
    name: str
    role: str
    lang: str = "en"
    bio: str = ""
    label: str = ""


CAST: dict[str, Actor] = {
    # institutions
    "commission": Actor("commission.tesmar.example", "Electoral Commission of Tesmar", "authority"),
    "firebrigade": Actor("fire.dornick.example", "Dornick Fire and Rescue", "service"),
    "police": Actor("police.lirren.example", "Lirren City Police", "service"),
    "transit": Actor("lirrentransit.example", "Lirren Transit", "service"),
    "weather": Actor("weather.tesmar.example", "Tesmar Weather Service", "service"),
    "registry": Actor("companies.tesmar.example", "Tesmar Companies Registry", "service"),
    "townhall": Actor("cityhall.lirren.example", "Lirren City Hall", "service"),
    # press
    "tpa": Actor("tpa.example", "Tesmar Press Agency", "press"),
    "courier": Actor("lirrencourier.example", "The Lirren Courier", "press"),
    "littoral": Actor("agence-littoral.example", "Agence du Littoral", "press", "fr"),
    "diario": Actor("diariodelvey.example", "Diario del Vey", "press", "es"),
    "tagblatt": Actor("dornicker-tagblatt.example", "Dornicker Tagblatt", "press", "de"),
    "gazeta": Actor("gazetadabrume.example", "Gazeta da Brume", "press", "pt"),
    "tesmarja": Actor("tesmar-tsushin.example", "テスマール通信", "press", "ja"),
    "radio": Actor("radiopell.example", "Radio Pell", "press"),
    # reporters
    "junia": Actor("junia.murmur.example", "Junia Hallstrand", "reporter"),
    "bram": Actor("bram.tpa.example", "Bram Oyelle (TPA)", "reporter"),
    "noemie": Actor("noemie.agence-littoral.example", "Noémie Castelroc", "reporter", "fr"),
    "lupe": Actor("lupe.diariodelvey.example", "Lupe Arandela", "reporter", "es"),
    "henrike": Actor("henrike.dornicker-tagblatt.example", "Henrike Moosach", "reporter", "de"),
    "davi": Actor("davi.gazetadabrume.example", "Davi Serralva", "reporter", "pt"),
    "kaori": Actor("kaori.tesmar-tsushin.example", "水城かおり", "reporter", "ja"),
    "ulla": Actor("ulla.murmur.example", "Ulla Brandmere, freelance", "reporter"),
    "sefton": Actor("sefton.murmur.example", "Sefton Ruiz-Lark", "reporter"),
    # candidates and parties
    "korvane": Actor("korvane.tideway.example", "Ilsabet Korvane", "candidate"),
    "dreyl": Actor("dreyl.hearthunion.example", "Oskan Dreyl", "candidate"),
    "quill": Actor("quillmaras.lanternlist.example", "Teodor Quill-Maras", "candidate"),
    "hearth": Actor("hearthunion.example", "Hearth Union", "party"),
    "tideway": Actor("tideway.example", "Tideway Alliance", "party"),
    "sabine": Actor("sabine.lirrenmayor.example", "Sabine Ostermoor for Mayor", "candidate"),
    "rafe": Actor("rafe.lirrenmayor.example", "Rafe Calloway-Nuss for Mayor", "candidate"),
    # those who are not what they seem
    "impostor": Actor("commission.tesrnar.example", "Electoral Commission of Tesmar", "impostor"),
    "parody_dreyl": Actor(
        "presidentdreyl.murmur.example", "President Oskan Dreyl (parody)", "parody", label="parody"
    ),
    "parody_commission": Actor(
        "elect0ral.murmur.example",
        "Electoral Omission of Tesmar",
        "parody",
        bio="Counting soup since 2019. Parody account.",
    ),
    "parody_korvane": Actor(
        "queen-ilsabet.murmur.example",
        "Ilsabet I, by the Grace of Tides",
        "parody",
        bio="Not Ilsabet Korvane. Satire, mostly.",
    ),
    "fake_tpa": Actor("tpa-breaking.murmur.example", "TPA Breaking", "impostor"),
    "memes": Actor("oldnewsbot.murmur.example", "Old News Bot", "parody"),
    # citizens with a part
    "pollworker": Actor("marthe.murmur.example", "Marthe counts things", "citizen"),
    "baker": Actor("goldcrust.murmur.example", "Goldcrust Bakery, Dornick", "citizen"),
    "teacher": Actor("mrfenwick.murmur.example", "Mr Fenwick", "citizen"),
    "fisher": Actor("saltyann.murmur.example", "Salty Ann", "citizen"),
    "student": Actor("pipa.murmur.example", "pipa 🌙", "citizen"),
    "statto": Actor("longdivision.murmur.example", "Long Division", "citizen"),
    "ultra": Actor("roversend.murmur.example", "Rovers End", "citizen"),
    "doubter": Actor("justasking.murmur.example", "Just Asking", "citizen"),
    "veteran": Actor("oldcount.murmur.example", "Eleven Elections", "citizen"),
}
