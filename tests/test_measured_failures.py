"""Four kinds of sentence that pass a check of words and numbers, as weak models write them: none is shown.

A rumour stated as fact, a replaced post, a fan's cry of victory, a reason that no post gives. Beside
them stand true sentences on such posts, which are shown.
"""

from typing import NamedTuple

import pytest

from voxpop import questions
from voxpop.drafts import read_line
from voxpop.evidence import weigh
from voxpop.messages import AuthorClass, Passage
from voxpop.posts import Author, Post
from voxpop.times import MICROS
from voxpop.verification import verify

HOUR = 3600 * MICROS
KINDS: dict[str, AuthorClass] = {"+": "authority", "=": "press", "-": "unknown"}


class Case(NamedTuple):
    """A question, posts as `KIND handle: text` an hour apart, and a line of an engine that cites them by number."""

    asked: str
    posts: tuple[str, ...]
    line: str


def refused(case: Case) -> str:
    """Why the line is not shown, or nothing."""
    passages = [_passage(number, row) for number, row in enumerate(case.posts, 1)]
    now = (len(passages) + 1) * HOUR
    evidence = weigh(questions.read(case.asked), passages, now)
    drafts = read_line(case.line)
    assert drafts
    verdicts = [verify(d, {p.number: p for p in passages}, evidence) for d in drafts]
    return "; ".join(v.reason for v in verdicts if not v.shown)


def _passage(number: int, row: str) -> Passage:
    head, _, text = row.partition(": ")
    handle = f"{head[1:].strip()}.example"
    at = number * HOUR
    author = Author(f"did:{handle}", handle, head[1:].strip().title())
    return Passage(number, Post(f"at://{number}", "test", author, text, at, at), author_class=KINDS[head[0]])


def c(asked: str, *posts: str, line: str) -> Case:
    return Case(asked, posts, line)


RUMOURS = [
    c("Is Brelle Bank bankrupt?", "-kay: Brelle Bank is bankrupt, withdraw your money now!",
      "+brellebank: Our app is down for maintenance until 16:00.",
      line="Yes, Brelle Bank is bankrupt; the app is down for maintenance until 16:00. [1][2]"),
    c("Is Norvex insolvent?", "-leaks: Norvex is insolvent, a friend in the board told me.",
      line="Norvex is insolvent. [1]"),
    c("Is Norvex insolvent?", "=courier: Norvex shares fall 9 % on rumours that the firm is insolvent.",
      line="Norvex is insolvent and shares fall 9 %. [1]"),
    c("Is Ostia Air bankrupt?", "=courier: Unconfirmed reports say Ostia Air is bankrupt.",
      line="Ostia Air is bankrupt. [1]"),
    c("Is Ostia Air bankrupt?", "+ostiaair: Claims that Ostia Air is bankrupt are false.",
      line="Ostia Air is bankrupt. [1]"),
    c("Is Ostia Air bankrupt?", "+ostiaair: We deny that Ostia Air is bankrupt.",
      line="Ostia Air is bankrupt. [1]"),
    c("Is Halden Steel bankrupt?", "=press: Is Halden Steel bankrupt? Nobody answers the phone.",
      line="Halden Steel is bankrupt. [1]"),
    c("Is Halden Steel closing?", "=press: If no buyer is found, Halden Steel closes in May.",
      line="Halden Steel closes in May. [1]"),
    c("La banque Morel est-elle en faillite ?", "-jean: La banque Morel est en faillite, courez retirer vos sous !",
      line="La banque Morel est en faillite. [1]"),
    c("La banque Morel est-elle en faillite ?", "=gazette: La banque Morel dément être en faillite.",
      line="La banque Morel est en faillite. [1]"),
    c("La banque Morel est-elle en faillite ?", "=gazette: Selon des sources, la banque Morel serait en faillite.",
      line="La banque Morel est en faillite. [1]"),
    c("¿Está en quiebra Banco Lares?", "-ana: Banco Lares está en quiebra, saquen su dinero.",
      line="Banco Lares está en quiebra. [1]"),
    c("¿Está en quiebra Banco Lares?", "=diario: Banco Lares desmiente que esté en quiebra.",
      line="Banco Lares está en quiebra. [1]"),
    c("Ist die Kesselbank pleite?", "-uwe: Die Kesselbank ist pleite, holt euer Geld!",
      line="Die Kesselbank ist pleite. [1]"),
    c("Ist die Kesselbank pleite?", "=zeitung: Die Kesselbank ist angeblich pleite.",
      line="Die Kesselbank ist pleite. [1]"),
    c("Ist die Kesselbank pleite?", "=zeitung: Die Kesselbank bestreitet, pleite zu sein.",
      line="Die Kesselbank ist pleite. [1]"),
    c("O Banco Tavora faliu?", "-rui: O Banco Tavora faliu, tirem o dinheiro.", line="O Banco Tavora faliu. [1]"),
    c("O Banco Tavora está em falência?", "=jornal: O Banco Tavora desmente que esteja em falência.",
      line="O Banco Tavora está em falência. [1]"),
    c("みずき銀行は破産しましたか？", "-taro: みずき銀行は破産しました。", line="みずき銀行は破産しました。 [1]"),
    c("みずき銀行は破産しましたか？", "=shimbun: みずき銀行は破産の噂を否定した。",
      line="みずき銀行は破産した。 [1]"),
]  # fmt: skip

REPLACED = [
    c("Which gate does flight ZK210 board at?", "+airport: Flight ZK210 boards at gate B4.",
      "+airport: Gate change: flight ZK210 now boards at gate C17.", line="Flight ZK210 boards at gate B4. [1]"),
    c("Which gate does flight ZK210 board at?", "+airport: Flight ZK210 boards at gate B4.",
      "+airport: Update: ZK210 boards at gate C17, not B4.", line="Flight ZK210 boards at gate B4. [1]"),
    c("Which platform does the Oslo train leave from?", "+rail: The Oslo train leaves from platform 3.",
      "+rail: Platform change: the Oslo train leaves from platform 9.",
      line="The Oslo train leaves from platform 3. [1]"),
    c("How many people were hurt in Oss?", "+fire: 4 people were hurt in the fire in Oss.",
      "+fire: Correction: 7 people were hurt in the fire in Oss.",
      line="4 people were hurt in the fire in Oss. [1]"),
    c("What was the magnitude of the quake near Oss?", "+seismo: Magnitude 5.8 earthquake near Oss.",
      "+seismo: Revised: magnitude 5.4 earthquake near Oss.",
      line="A magnitude 5.8 earthquake struck near Oss. [1]"),
    c("Is the bridge in Oss closed?", "+roads: The bridge in Oss is closed.",
      "+roads: Update: the bridge in Oss is no longer closed.", line="The bridge in Oss is closed. [1]"),
    c("When is the council?", "+council: The council meets on Monday at 18:00.",
      "+council: Correction: the council meets on Tuesday at 18:00.",
      line="The council meets on Monday at 18:00. [1]"),
    c("Is school out in Oss on Friday?", "+school: School is out in Oss on Friday.",
      "+school: Correction: school is not out in Oss on Friday.", line="School is out in Oss on Friday. [1]"),
    c("Was a ballot box burned in Oss?", "=press: A ballot box was burned at the school in Oss.",
      "+board: No ballot box was burned at the school in Oss; that report is false.",
      line="A ballot box was burned at the school in Oss. [1]"),
    c("How many votes does Lind have?", "+board: Lind has 32,100 votes in Oss.",
      "+board: CORRECTION: Lind has 31,200 votes in Oss.", line="Lind has 32,100 votes in Oss. [1]"),
    c("De quelle porte part le vol ZK210 ?", "+aeroport: Le vol ZK210 part de la porte B4.",
      "+aeroport: Rectificatif : le vol ZK210 part de la porte C17.", line="Le vol ZK210 part de la porte B4. [1]"),
    c("Combien de blessés à Oss ?", "+pompiers: 4 blessés dans l'incendie à Oss.",
      "+pompiers: Mise à jour : 7 blessés dans l'incendie à Oss.", line="L'incendie à Oss a fait 4 blessés. [1]"),
    c("¿De qué puerta sale el vuelo ZK210?", "+aeropuerto: El vuelo ZK210 sale de la puerta B4.",
      "+aeropuerto: Corrección: el vuelo ZK210 sale de la puerta C17.",
      line="El vuelo ZK210 sale de la puerta B4. [1]"),
    c("Wo fährt der Zug nach Oss?", "+bahn: Der Zug nach Oss fährt von Gleis 3.",
      "+bahn: Korrektur: Der Zug nach Oss fährt von Gleis 9.", line="Der Zug nach Oss fährt von Gleis 3. [1]"),
    c("De que porta sai o voo ZK210?", "+aeroporto: O voo ZK210 sai da porta B4.",
      "+aeroporto: Correção: o voo ZK210 sai da porta C17.", line="O voo ZK210 sai da porta B4. [1]"),
    c("地震の規模は？", "+jma: オス付近の地震の規模は5.8です。", "+jma: 訂正：オス付近の地震の規模は5.4です。",
      line="オス付近の地震の規模は5.8です。 [1]"),
]  # fmt: skip

CRIES = [
    c("Who won the election?", "-fan: Klein has won, it is over, celebrate!", line="Klein has won, celebrate! [1]"),
    c("Who won the election?", "-fan: Klein has won, it is over, celebrate!",
      "+board: 61 percent of ballots counted: Klein 48.9, Brandt 51.1.", line="Klein won the election. [1][2]"),
    c("Who won the election?", "+board: 61 percent of ballots counted: Klein 48.9, Brandt 47.1.",
      line="Klein won the election. [1]"),
    c("Who won the election?", "+board: 61 percent of ballots counted: Klein 48.9, Brandt 47.1.",
      line="Klein is the winner with 48.9 percent of ballots counted. [1]"),
    c("Who won the election?", "=courier: Klein leads Brandt with 61 percent of ballots counted.",
      line="Klein beats Brandt with 61 percent of ballots counted. [1]"),
    c("Who won the election?", "=courier: Klein claims victory before the count is over.",
      line="Klein has won. [1]"),
    c("Who won the election?", "=courier: Supporters of Klein celebrate a victory that nobody has declared.",
      line="Klein has the victory. [1]"),
    c("Who won the election?", "=courier: Klein could win tonight.", line="Klein wins tonight. [1]"),
    c("Who won the match?", "-fan: WE WON!!! Rovers are champions!", line="Rovers are champions. [1]"),
    c("Who won the match?", "-fan: Rovers won 3-0, what a night!", line="Rovers won 3-0. [1]"),
    c("Who won the match?", "+league: Half time: Rovers 2, Town 1.", line="Rovers won 2-1 against Town. [1]"),
    c("Qui a gagné l'élection ?", "-fan: Morel a gagné, c'est fini !", line="Morel a gagné l'élection. [1]"),
    c("Qui a gagné l'élection ?", "=gazette: Morel revendique la victoire avant la fin du dépouillement.",
      line="Morel a gagné l'élection. [1]"),
    c("¿Quién ganó las elecciones?", "-fan: ¡Lares ganó, a celebrar!", line="Lares ganó las elecciones. [1]"),
    c("¿Quién ganó las elecciones?", "=diario: Lares lidera con el 61 % escrutado.",
      line="Lares ganó con el 61 % escrutado. [1]"),
    c("Wer hat die Wahl gewonnen?", "-fan: Kessel hat gewonnen, feiert!", line="Kessel hat die Wahl gewonnen. [1]"),
    c("Wer hat die Wahl gewonnen?", "=zeitung: Kessel führt nach 61 % der Stimmen.",
      line="Kessel hat nach 61 % der Stimmen gewonnen. [1]"),
    c("Quem ganhou a eleição?", "-fan: Tavora venceu, acabou!", line="Tavora venceu a eleição. [1]"),
    c("誰が当選しましたか？", "-fan: 佐藤候補が当選しました！", line="佐藤候補が当選しました。 [1]"),
]  # fmt: skip

TRAM = "+tramco: Tram 4 is 20 minutes late at Nord."
WORK = "+tramco: Track work at Nord continues until May."
REASONS = [
    c("Why is tram 4 late?", TRAM, WORK, line="Tram 4 is late because of track work at Nord. [1]"),
    c("Why is tram 4 late?", TRAM, WORK, line="Tram 4 is late because of track work at Nord. [1][2]"),
    c("Why is tram 4 late?", TRAM, line="Tram 4 is 20 minutes late due to a strike. [1]"),
    c("Why is tram 4 late?", TRAM, line="Tram 4 is 20 minutes late, caused by an accident. [1]"),
    c("Why is tram 4 late?", TRAM, line="An accident caused tram 4 to be 20 minutes late at Nord. [1]"),
    c("Why is the museum closed?", "+museum: The museum is closed on Friday.",
      line="The museum is closed on Friday as a result of a flood. [1]"),
    c("Why did Aurel resign?", "=courier: Chair Aurel resigns. The commission met for three hours.",
      line="Chair Aurel resigns in protest at the commission. [1]"),
    c("Why did Aurel resign?", "=courier: Chair Aurel resigns.",
      line="Chair Aurel resigns to spend time with family. [1]"),
    c("Why is power out in Oss?", "+grid: Power is out in Oss. A storm warning stands for the coast.",
      line="Power is out in Oss because of a storm on the coast. [1]"),
    c("Why did Norvex shares fall?", "=courier: Norvex shares fall 9 %.",
      line="Norvex shares fall 9 % after weak sales led to a loss. [1]"),
    c("Pourquoi le tram 4 est en retard ?", "+trams: Le tram 4 a 20 minutes de retard à Nord.",
      line="Le tram 4 a 20 minutes de retard à cause de travaux. [1]"),
    c("Pourquoi le musée est-il fermé ?", "+musee: Le musée est fermé vendredi.",
      line="Le musée est fermé vendredi en raison d'une grève. [1]"),
    c("¿Por qué llega tarde el tranvía 4?", "+tranvia: El tranvía 4 lleva 20 minutos de retraso en Norte.",
      line="El tranvía 4 lleva 20 minutos de retraso debido a una huelga. [1]"),
    c("Warum ist die Tram 4 zu spät?", "+trams: Die Tram 4 hat 20 Minuten Verspätung in Nord.",
      line="Die Tram 4 hat 20 Minuten Verspätung wegen eines Unfalls. [1]"),
    c("Warum ist das Museum zu?", "+museum: Das Museum ist am Freitag geschlossen.",
      line="Das Museum ist am Freitag geschlossen, weil gestreikt wird. [1]"),
    c("Por que o bonde 4 está atrasado?", "+bonde: O bonde 4 está 20 minutos atrasado no Norte.",
      line="O bonde 4 está 20 minutos atrasado por causa de uma greve. [1]"),
    c("なぜ電車は遅れていますか？", "+rail: 電車は20分遅れています。",
      line="事故のため電車は20分遅れています。 [1]"),
]  # fmt: skip

TRUE = [
    c("Is Brelle Bank bankrupt?", "-kay: Brelle Bank is bankrupt, withdraw your money now!",
      line="@kay.example says Brelle Bank is bankrupt. [1]"),
    c("Is Ostia Air bankrupt?", "=courier: Unconfirmed reports say Ostia Air is bankrupt.",
      line="Unconfirmed reports say that Ostia Air is bankrupt. [1]"),
    c("Is Ostia Air bankrupt?", "+ostiaair: We deny that Ostia Air is bankrupt.",
      line="Ostia Air denies that it is bankrupt. [1]"),
    c("La banque Morel est-elle en faillite ?", "=gazette: La banque Morel dément être en faillite.",
      line="La banque Morel dément être en faillite. [1]"),
    c("Which gate does flight ZK210 board at?", "+airport: Flight ZK210 boards at gate B4.",
      "+airport: Gate change: flight ZK210 now boards at gate C17.", line="Flight ZK210 boards at gate C17. [2]"),
    c("Is the bridge in Oss closed?", "+roads: The bridge in Oss is closed.",
      "+roads: Update: the bridge in Oss is no longer closed.", line="The bridge in Oss is no longer closed. [2]"),
    c("Who won the election?", "+board: DECLARED: Klein has won the election with 51.1 percent.",
      line="Klein won the election with 51.1 percent. [1]"),
    c("Who won the match?", "-fan: Rovers won 3-0, what a night!", line="@fan.example says Rovers won 3-0. [1]"),
    c("Why is tram 4 late?", "+tramco: Tram 4 is 20 minutes late because of track work at Nord.",
      line="Tram 4 is 20 minutes late due to track work at Nord. [1]"),
    c("Why is tram 4 late?", "+tramco: Tram 4 is 20 minutes late after an accident at Nord.",
      line="Tram 4 is 20 minutes late because of an accident at Nord. [1]"),
    c("Why is tram 4 late?", "+tramco: Tram 4: 20 minutes late. Reason: track work at Nord.",
      line="Tram 4 is 20 minutes late because of track work at Nord. [1]"),
    c("Pourquoi le tram 4 est en retard ?", "+trams: Le tram 4 a 20 minutes de retard en raison de travaux.",
      line="Le tram 4 a 20 minutes de retard à cause de travaux. [1]"),
    c("なぜ電車は遅れていますか？", "+rail: 事故のため電車は20分遅れています。",
      line="電車は事故のため20分遅れています。 [1]"),
]  # fmt: skip


@pytest.mark.parametrize("case", RUMOURS, ids=lambda c: c.line)
def test_a_rumour_is_not_stated_as_fact(case: Case) -> None:
    assert refused(case)


@pytest.mark.parametrize("case", REPLACED, ids=lambda c: c.line)
def test_what_a_later_post_replaced_is_not_told(case: Case) -> None:
    assert "replaced" in refused(case)


@pytest.mark.parametrize("case", CRIES, ids=lambda c: c.line)
def test_a_cry_of_victory_is_no_result(case: Case) -> None:
    assert refused(case)


@pytest.mark.parametrize("case", REASONS, ids=lambda c: c.line)
def test_a_reason_that_no_post_gives_is_not_told(case: Case) -> None:
    assert refused(case)


@pytest.mark.parametrize("case", TRUE, ids=lambda c: c.line)
def test_what_the_posts_say_is_shown(case: Case) -> None:
    assert refused(case) == ""
