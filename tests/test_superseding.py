"""Supersession: what a later post replaces and what it leaves standing; invented cases in several languages."""

import pytest

from voxpop.messages import AuthorClass, Claim, Passage
from voxpop.posts import Author, Post
from voxpop.questions import read
from voxpop.superseding import supersede
from voxpop.times import MICROS

MINUTE = 60 * MICROS
CLASSES: dict[str, AuthorClass] = {
    "a": "authority", "A": "authority", "p": "press", "P": "press", "o": "organisation", "O": "organisation",
    "x": "person", "X": "unknown",
}  # fmt: skip


def replaced(earlier: str, later: str, who: str = "aa", minutes: int = 30, **more: object) -> bool:
    """Whether the later of two posts replaces the earlier; `who`: a letter of class and account for each."""
    claims, passages = [], {}
    for number, (letter, text) in enumerate(zip(who, (earlier, later), strict=True), 1):
        at = (100 + (number - 1) * minutes) * MINUTE
        post = Post(f"at://{number}", "test", Author(f"did:{letter}", f"{letter}.example"), text, at, at)
        passages[number] = Passage(number, post, author_class=CLASSES[letter], **(more if number == 2 else {}))  # type: ignore[arg-type]
        claims.append(Claim(number, text, "stated"))
    marked = supersede(read(""), claims, passages, lambda _: True)
    assert marked[1].standing == "stated"
    assert marked[0].by == (2 if marked[0].standing == "superseded" else None)
    return marked[0].standing == "superseded"


REPLACED = [
    # gates, platforms, times
    ("Flight VX204 to Lund boards at gate B14.", "Gate change: flight VX204 to Lund now at gate C3.", "aa"),
    ("Flight VX204 to Lund boards at gate 14.", "VX204 to Lund: now gate 9.", "aA"),
    ("Vol VX204 pour Lund : porte B14.", "Changement : vol VX204 pour Lund, porte C3.", "aa"),
    ("Der Zug nach Ostende fährt von Gleis 7.", "Der Zug nach Ostende fährt jetzt von Gleis 12.", "aa"),
    ("El tren a Brevia sale del andén 4.", "Cambio: el tren a Brevia sale ahora del andén 2.", "aa"),
    ("O trem para Novara sai da plataforma 4.", "O trem para Novara agora sai da plataforma 2.", "aa"),
    ("The Oss council meeting starts at 18:00.", "The Oss council meeting now starts at 19:30.", "aa"),
    # magnitudes and tolls
    ("Magnitude 6.1 earthquake near Port Avel.", "Port Avel earthquake revised to magnitude 5.8.", "aa"),
    ("Magnitude 6.1 earthquake near Port Avel.", "Port Avel earthquake: magnitude 5.8.", "pa"),
    ("Séisme de magnitude 6,1 près de Port-Avel.", "Le séisme de Port-Avel révisé à la magnitude 5,8.", "aA"),
    ("Erdbeben der Stärke 6,1 bei Avelstadt.", "Korrektur: Das Erdbeben bei Avelstadt hatte die Stärke 5,8.", "aA"),
    ("Terremoto de magnitud 6,1 cerca de Avela.", "El terremoto de Avela fue de magnitud 5,8.", "pa"),
    ("Three people died in the Lund factory fire.", "Five people have died in the Lund factory fire.", "pP"),
    ("3 dead, 12 injured in the Lund fire.", "Lund fire: 5 dead, 14 injured.", "xp"),
    ("Incendie à Lund : 3 morts.", "Le bilan de l'incendie à Lund s'alourdit à 5 morts.", "pP"),
    ("Al menos 3 muertos en el incendio de Lund.", "Suben a 5 los muertos en el incendio de Lund.", "pP"),
    ("Brand in Lund: 3 Tote.", "Zahl der Toten nach Brand in Lund steigt: 5 Tote.", "pP"),
    ("Incêndio em Lund deixa 3 mortos.", "Sobe para 5 mortos o incêndio em Lund.", "pP"),
    ("オッス市の火災で死者3人。", "オッス市の火災、死者5人に増えました。", "pP"),
    ("オッス市で震度5を観測しました。", "訂正：オッス市の揺れは震度4です。", "aa"),
    ("Turnout in Oss was 61 %.", "CORRECTION: turnout in Oss was 58 %.", "aa"),
    ("Mara Lind has 3,120 votes in Oss.", "Mara Lind has 3,410 votes in Oss.", "oo"),
    # denials
    ("Mayor Lind has resigned.", "Lind denies that she has resigned.", "pP"),
    ("Mayor Lind resigns over the harbour deal.", "The mayor, Lind, has not resigned.", "xp"),
    ("A bomb was found at Oss station.", "There is no bomb at Oss station.", "xa"),
    ("A bomb was found at Oss station.", "FALSE: reports of a bomb at Oss station are unfounded.", "pa"),
    ("Une bombe a été trouvée à la gare de Lund.", "Il n'y a pas de bombe à la gare de Lund.", "xa"),
    ("Lind dimite como alcaldesa de Oss.", "Lind desmiente que dimita como alcaldesa de Oss.", "pP"),
    ("Bombe am Bahnhof Lund gefunden.", "Keine Bombe am Bahnhof Lund.", "xa"),
    ("Lind renunciou à prefeitura de Oss.", "É falso que Lind renunciou à prefeitura de Oss.", "pP"),
    ("リンド市長が辞任しました。", "リンド市長の辞任は誤報です。", "pP"),
    # states
    ("The Harl bridge in Oss is closed.", "The Harl bridge in Oss has reopened.", "aA"),
    ("Le pont Harl à Lund est fermé.", "Le pont Harl à Lund est rouvert.", "aA"),
    ("El puente Harl de Oss está cerrado.", "El puente Harl de Oss está abierto.", "pa"),
    ("Die Harlbrücke in Lund ist gesperrt.", "Die Harlbrücke in Lund ist wieder offen.", "aa"),
    ("A tsunami warning is issued for Port Avel.", "The tsunami warning for Port Avel is lifted.", "aa"),
    ("Jan Holt, 9, is missing in Oss.", "Jan Holt has been found in Oss.", "pa"),
    # strangers: only with a word of correction, and not one alone against many
    ("The Oss concert is cancelled.", "Update: the Oss concert is not cancelled.", "xx"),
]  # fmt: skip

STANDS = [
    # a lower class, or an earlier word
    ("Mayor Lind has resigned.", "Lind denies that she has resigned.", "ap"),
    ("Magnitude 6.1 earthquake near Port Avel.", "Port Avel earthquake was magnitude 5.8.", "ax"),
    ("Three people died in the Lund fire.", "CORRECTION: five people died in the Lund fire.", "px"),
    ("The Harl bridge in Oss is closed.", "The Harl bridge in Oss is open.", "po"),
    ("Three people died in the Lund fire.", "Update: five people died in the Lund fire.", "xX"),
    # another place, person, flight or train
    ("Three people died in a fire in Lund.", "Five people died in a fire in Brevia.", "pP"),
    ("Incendie à Lund : 3 morts.", "Incendie à Brevia : 5 morts.", "pP"),
    ("3 muertos en un incendio en Lund.", "5 muertos en un incendio en Brevia.", "pP"),
    ("Brand in Lund: 3 Tote.", "Brand in Brevia: 5 Tote.", "pP"),
    ("Incêndio em Lund deixa 3 mortos.", "Incêndio em Brevia deixa 5 mortos.", "pP"),
    ("オッス市の火災で死者3人。", "ルンド市の火災で死者5人。", "pP"),
    ("Mara Lind has 3,120 votes in Oss.", "Tom Beek has 3,410 votes in Oss.", "aa"),
    ("Lind has 3,120 votes in Oss.", "Lind has 1,200 votes in Harl.", "aA"),
    ("Flight VX204 to Lund boards at gate B14.", "Flight VX206 to Brevia boards at gate C3.", "aa"),
    ("The train to Lund leaves from platform 4.", "The train to Brevia leaves from platform 2.", "aa"),
    ("Der Zug nach Lund fährt von Gleis 7.", "Der Zug nach Brevia fährt von Gleis 12.", "aa"),
    ("Magnitude 6.1 earthquake near Port Avel.", "Magnitude 4.0 earthquake near Dern.", "aa"),
    ("The Harl bridge in Oss is closed.", "The Keel bridge in Dern is open.", "aA"),
    ("Mayor Lind has resigned.", "Councillor Beek denies that he has resigned.", "pP"),
    ("A bomb was found at Oss station.", "There is no bomb at Dern airport.", "xa"),
    ("Une bombe a été trouvée à la gare de Lund.", "Pas de bombe à l'aéroport de Brevia.", "xa"),
    # another thing of the same place
    ("Three people died in the Lund fire.", "Twelve people were injured in the Lund fire.", "pP"),
    ("Incendie à Lund : 3 morts.", "Incendie à Lund : 12 blessés.", "pP"),
    ("The bridge in Oss is closed after a crash.", "No one was hurt in the crash at the bridge in Oss.", "aA"),
    ("Lind has resigned as mayor of Oss.", "The mayor of Oss, Lind, speaks at 18:00.", "pP"),
    ("Turnout in Oss was 61 %.", "Lind has 52 % of the votes in Oss.", "aa"),
    ("A bomb was found at Oss station.", "The trams at Oss station do not run.", "aa"),
    # the same again, or what only supposes
    ("Three people died in the Lund fire.", "Three people died in the Lund fire, says the clinic.", "pP"),
    ("The Harl bridge in Oss is closed.", "The Harl bridge in Oss stays closed.", "aa"),
    ("Three people died in the Lund fire.", "Reportedly five people died in the Lund fire.", "pP"),
    ("Trois morts dans l'incendie de Lund.", "Il y aurait 5 morts dans l'incendie de Lund.", "pP"),
    ("Flight VX204 to Lund boards at gate B14.", "Flight VX204 to Lund: last call at gate B14.", "aa"),
    ("There was no bomb at the Oss shopping centre.", "Two places in Oss, but not the shopping centre.", "xp"),
    ("Lind denies that she has resigned.", "Lind denies that she will resign.", "pP"),
    ("オッス市の火災で死者3人。", "オッス市の火災、消防が出動しました。", "pP"),
]  # fmt: skip


@pytest.mark.parametrize(("earlier", "later", "who"), REPLACED)
def test_a_later_post_replaces(earlier: str, later: str, who: str) -> None:
    more = {"independent_authors": 3} if who == "xx" else {}
    assert replaced(earlier, later, who, **more)


@pytest.mark.parametrize(("earlier", "later", "who"), STANDS)
def test_an_earlier_post_stands(earlier: str, later: str, who: str) -> None:
    assert not replaced(earlier, later, who)
