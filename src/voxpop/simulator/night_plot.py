"""The plot of the night, written by hand: times count from 17:00 in Lirren; nothing in it ever happened.

Polls close at 2:00:00. The commission declares Pell first, corrects Hallovar, and names the president at 5:41:00.
The mayor's race ends in a recount: no winner is declared at all.
"""

# ruff: noqa: E501
from typing import Any

Step = dict[str, Any]
PLOT: list[Step] = []


def _say(at: str, who: str, text: str, key: str = "", **more: Any) -> None:
    PLOT.append({"op": "post", "at": at, "who": who, "text": text, "key": key, **more})


def _edit(at: str, key: str, text: str) -> None:
    PLOT.append({"op": "edit", "at": at, "key": key, "text": text})


def _delete(at: str, key: str) -> None:
    PLOT.append({"op": "delete", "at": at, "key": key})


def _gone(at: str, who: str, status: str) -> None:
    PLOT.append({"op": "gone", "at": at, "who": who, "status": status})


def _rename(at: str, who: str, handle: str) -> None:
    PLOT.append({"op": "rename", "at": at, "who": who, "handle": handle})


# -- voting -----------------------------------------------------------------------------------------------------
_say(
    "0:02:00",
    "commission",
    "Polling stations across Tesmar are open until 19:00. Anyone in the queue at 19:00 may vote. Bring one proof of identity. #TesmarVotes",
    "hours",
)
_say(
    "0:04:10",
    "tpa",
    "Tesmar votes for a president today: Ilsabet Korvane (Tideway Alliance), Oskan Dreyl (Hearth Union) or Teodor Quill-Maras (Lantern List). Lirren also elects its mayor.",
    "preview",
    card=(
        "https://tpa.example/night/guide",
        "A voter's guide to the night",
        "Three candidates, six regions, one long count.",
    ),
)
_say(
    "0:06:30",
    "junia",
    "Queue at the Old Tannery school in Lirren goes around the block. I counted 140 people. Mood: patient, mostly pastry-based.",
    "queue-tannery",
    alt=("A long line of voters under umbrellas outside a brick school",),
)
_say(
    "0:10:00",
    "commission",
    "Turnout at 17:00: 48.2 % of registered voters. At the same hour in the last election it was 44.9 %. #TesmarVotes",
    "turnout-17",
)
_say(
    "0:12:20",
    "statto",
    "48.2 % at 17:00 is the best five-o'clock figure since they began to publish it. Sample of me: delighted.",
    "statto-turnout",
    quote="turnout-17",
)
_say(
    "0:14:00",
    "littoral",
    "Participation à 17 h : 48,2 % des inscrits, selon la Commission électorale, contre 44,9 % à la dernière élection.",
    "turnout-17-fr",
    lang="fr",
)
_say(
    "0:15:30",
    "diario",
    "Participación a las 17:00: 48,2 % del censo, según la Comisión Electoral. Colas largas en Kestrin.",
    "turnout-17-es",
    lang="es",
)
_say(
    "0:18:00",
    "fisher",
    "Voted. The pencil was on a string, the string was on a nail, the nail was on nothing. Democracy holds together somehow. #PellIslands",
)
_say(
    "0:21:00",
    "korvane",
    "I voted this afternoon with my mother, who told the whole room whom she chose. Please vote, and please let others keep their secret. #TesmarVotes",
    "korvane-votes",
    alt=("A woman in a green coat and her mother drop ballots into a box",),
)
_say(
    "0:26:00",
    "dreyl",
    "Voted in Hallovar at dawn, then fed the hens. Every vote counts, every farm counts. Get out there. #HearthUnion",
    "dreyl-votes",
)
_say(
    "0:29:00",
    "quill",
    "If you are undecided, I am on the third line, the one with the small lantern. I drew it myself. Sorry about the lantern.",
    "quill-votes",
)
_say(
    "0:33:00",
    "transit",
    "Tram strike: lines 2 and 4 do not run until 18:30. Buses 20 and 24 serve the polling stations on the east bank. #LirrenTransit",
    "strike-start",
)
_say(
    "0:37:00",
    "teacher",
    "My classroom is a polling station and somebody has corrected the spelling on my wall display. In pencil. Correctly.",
    "classroom",
)
_say(
    "0:41:00",
    "henrike",
    "Im Dorntal ist die Schlange vor der Turnhalle in Dornick jetzt kürzer: etwa zehn Minuten Wartezeit.",
    "queue-dornick",
    lang="de",
)
_say("0:45:00", "doubter", "Why is the count in Lirren always last? Genuinely asking.", "why-last")
_say(
    "0:46:10",
    "veteran",
    "Because postal votes are opened there after 22:00, by law. Section 41. I have sat through it eleven times.",
    "why-last-answer",
    reply="why-last",
)
_say("0:48:40", "doubter", "Thank you, that is a disappointingly sensible answer.", reply="why-last-answer")
_say(
    "0:50:00",
    "ulla",
    "BREAKING: smoke at a polling station in Dornick. People say a BALLOT BOX IS ON FIRE at the Mill Lane school.",
    "fire-rumour",
    video="Grey smoke rises behind a school building; people talk off camera",
)
_say("0:51:10", "student", "wait WHAT a ballot box burning in dornick??", quote="fire-rumour")
_say(
    "0:53:00",
    "sefton",
    "Hearing the same about Dornick: fire inside the Mill Lane polling station, ballots lost. Not confirmed.",
    "fire-sefton",
)
_say(
    "0:55:30",
    "parody_commission",
    "We can confirm that the ballot box was not on fire but merely very passionate.",
    "parody-fire",
)
_say(
    "0:57:00",
    "baker",
    "I am LITERALLY across the road from Mill Lane. It is a rubbish bin behind the kitchen. People are still voting inside.",
    "fire-baker",
    reply="fire-rumour",
)
_say(
    "1:05:00",
    "commission",
    "Turnout at 18:00: 57.9 %. Four stations in Kestrin have run short of pencils, not of ballots. More pencils are on the way.",
    "turnout-18",
)
_say(
    "1:07:00",
    "tesmarja",
    "投票率は18時時点で57.9％（選挙管理委員会の発表）。前回の同時刻を上回るペース。",
    "turnout-18-ja",
    lang="ja",
)
_say(
    "1:10:00",
    "firebrigade",
    "We put out a burning rubbish bin behind the Mill Lane school in Dornick at 17:52. No ballot box, no ballot and no person was harmed. Voting was not interrupted.",
    "fire-denied",
)
_say(
    "1:12:00",
    "commission",
    "Dornick, Mill Lane: no ballot box burned. All three boxes are sealed and in use. The fire was in a bin outdoors.",
    "fire-denied-commission",
    quote="fire-denied",
)
_say(
    "1:13:30",
    "ulla",
    "CORRECTION: the fire in Dornick was a bin behind the school, not a ballot box. I posted before checking. I have deleted the first post.",
    "fire-correction",
)
_delete("1:13:40", "fire-rumour")
_say(
    "1:15:00",
    "tagblatt",
    "Entwarnung in Dornick: Es brannte ein Müllkübel hinter der Schule, keine Wahlurne. Die Feuerwehr meldet keine Verletzten.",
    "fire-denied-de",
    lang="de",
)
_say("1:20:00", "student", "ok so: no ballot box fire, just a bin. i would like my heart rate back", "fire-student")
_say(
    "1:24:00",
    "noemie",
    "À Brumehaven, trois bureaux resteront ouverts jusqu'à 20 h après une panne de courant, me dit la présidente du bureau.",
    "extended-3",
    lang="fr",
)
_say(
    "1:26:00",
    "davi",
    "Em Brumehaven dizem que cinco seções (não três) ficam abertas até às 20h por causa da falta de luz. Estou confirmando.",
    "extended-5",
    lang="pt",
)
_say(
    "1:30:00",
    "transit",
    "The tram strike is over earlier than planned: lines 2 and 4 run again from 18:30. Thank you for walking.",
    "strike-end",
)
_say(
    "1:33:00",
    "weather",
    "Amber wind warning for the Brume Coast from 21:00 to 02:00. Gusts up to 95 km/h. Secure bins and marquees.",
    "weather-amber",
)
_say(
    "1:36:00",
    "gazeta",
    "Comissão Eleitoral ainda não confirmou quantas seções ficam abertas até às 20h na Costa da Bruma: há relatos de três e de cinco.",
    "extended-open",
    lang="pt",
)
_say(
    "1:41:00",
    "memes",
    "2021: DREYL WINS TESMAR. Remember this front page? Four years ago tonight!",
    "decoy-2021",
    alt=("Scan of a front page dated 2021 with the headline DREYL WINS",),
)
_say(
    "1:42:20",
    "statto",
    "For the young: that 2021 page was the Hallovar regional vote, not the presidency. Decoys are already out.",
    reply="decoy-2021",
)
_say(
    "1:47:00",
    "police",
    "Lirren: demonstration at Fountain Square is calm, about 800 people. Bridge Street is closed to cars until midnight.",
    "police-calm",
)
_say(
    "1:52:00",
    "pollworker",
    "Eight minutes to go. The last man in our queue has brought a folding chair and a thermos. He is ready for anything.",
    "folding-chair",
)
_say(
    "1:55:00",
    "radio",
    "Pell Islands: the ferry with the boxes of Outer Pell left on time. Count starts in the fish hall as usual.",
    "ferry",
)
_say(
    "1:58:00",
    "kaori",
    "リレンの投票所、あと2分で締め切り。列に並んでいる人は投票できます。",
    "closing-ja",
    lang="ja",
)

# -- polls close ------------------------------------------------------------------------------------------------
_say(
    "2:00:00",
    "commission",
    "It is 19:00: polling stations are closed, apart from those with extended hours. Counting begins. We publish partial counts here as regions report. #TesmarVotes",
    "closed",
)
_say(
    "2:00:40",
    "tpa",
    "EXIT POLL (TPA): Korvane 47 %, Dreyl 45 %, Quill-Maras 8 %. Margin of error 2.5 points. This is a poll, not a result.",
    "exit-tpa",
    card=(
        "https://tpa.example/night/exit-poll",
        "Exit poll: too close to call",
        "Korvane 47, Dreyl 45, Quill-Maras 8",
    ),
)
_say(
    "2:01:10",
    "courier",
    "EXIT POLL (Courier): Dreyl 46 %, Korvane 45 %, Quill-Maras 9 %. Margin of error 3 points.",
    "exit-courier",
    alt=("Bar chart of the exit poll: Dreyl 46, Korvane 45, Quill-Maras 9",),
)
_say(
    "2:02:00",
    "statto",
    "Two exit polls, two different leaders, both inside their own margin. Translation: nobody knows. Put the kettle on.",
    "exit-statto",
    quote="exit-tpa",
)
_say(
    "2:03:30",
    "lupe",
    "Sondeos a pie de urna: uno da ventaja a Korvane (47-45), otro a Dreyl (46-45). Empate técnico.",
    "exit-es",
    lang="es",
)
_say(
    "2:05:00",
    "tagblatt",
    "Nachwahlbefragungen widersprechen sich: TPA sieht Korvane mit 47 zu 45 vorn, der Courier sieht Dreyl mit 46 zu 45 vorn.",
    "exit-de",
    lang="de",
)
_say(
    "2:06:00", "parody_dreyl", "I have won. I have also won tomorrow. Fetch the good hens. (parody)", "parody-hens"
)
_say(
    "2:08:00",
    "commission",
    "Extended voting on the Brume Coast: four stations stay open until 20:00, not three and not five as reported. All are in Brumehaven.",
    "extended-4",
)
_say(
    "2:10:00",
    "commission",
    "Partial count, 5 % of stations: Dreyl 51.8 %, Korvane 43.6 %, Quill-Maras 4.6 %.",
    "count-05",
)
_say("2:11:30", "teacher", "Five per cent counted and my uncle has already declared two winners.", quote="count-05")
_say(
    "2:14:00",
    "veteran",
    "Small rural stations count first. They lean Dreyl, always have. Five per cent tells you where the hens are, no more.",
    "rural-first",
)
_rename("2:20:00", "junia", "junia.lirrencourier.example")
_say(
    "2:21:00",
    "junia",
    "New handle, same umbrella: I am with the Courier as of tonight. Still outside the Old Tannery school.",
    "junia-renamed",
)
_say(
    "2:26:00",
    "ultra",
    "GOAL! Lirren Rovers 1, Port Hallow 0. Dagny Storrow, header, 31 minutes. Sorry, was there an election? #RoversLive",
    "match-1-0",
)
_say(
    "2:30:00",
    "commission",
    "Partial count, 12 % of stations: Dreyl 50.9 %, Korvane 44.4 %, Quill-Maras 4.7 %.",
    "count-12",
)
_say(
    "2:32:00",
    "commission",
    "DECLARED: Pell Islands, all stations counted. Korvane 58.2 %, Dreyl 35.9 %, Quill-Maras 5.9 %. This is the final result of the region, not of the country.",
    "pell-declared",
)
_say(
    "2:33:00",
    "tpa",
    "Electoral Commission declares the Pell Islands for Korvane with 58.2 %. First region of six.",
    "pell-tpa",
)
_say(
    "2:34:00",
    "littoral",
    "Îles Pell : résultat définitif, Korvane l'emporte avec 58,2 % (Commission électorale).",
    "pell-fr",
    lang="fr",
)
_say(
    "2:36:00",
    "fisher",
    "PELL IS DONE. First again! The fish hall is singing and one of us is in tune.",
    "pell-fish",
)
_say(
    "2:38:00",
    "diario",
    "Las islas Pell, primera región definitiva: Korvane 58,2 %, Dreyl 35,9 %.",
    "pell-es",
    lang="es",
)
_say(
    "2:41:00",
    "sefton",
    "Source at the treasury: Hearth Union has filed for BANKRUPTCY tonight. Accounts frozen. Huge if true.",
    "bankrupt-rumour",
)
_say("2:43:00", "doubter", "Hearth Union bankrupt? Is anybody else reporting this?", reply="bankrupt-rumour")
_say(
    "2:45:00",
    "commission",
    "Preliminary turnout at the close of polls: 69.8 %. The figure will rise as stations with extended hours report.",
    "turnout-prelim",
)
_say("2:49:00", "ultra", "Half-time whistle: Rovers 1-0 up. Storrow everywhere. #RoversLive", "match-half")
_say(
    "2:53:00",
    "hearth",
    "There is no bankruptcy. We filed our yearly accounts, on time, as every party must. The claim is false.",
    "bankrupt-denied",
    reply="bankrupt-rumour",
)
_say(
    "2:55:00",
    "commission",
    "Partial count, 23 % of stations: Dreyl 50.1 %, Korvane 45.2 %, Quill-Maras 4.7 %.",
    "count-23",
)
_say(
    "2:58:00",
    "registry",
    "No insolvency filing by Hearth Union exists. Yearly accounts were received at 16:12.",
    "bankrupt-registry",
)
_say(
    "3:00:00",
    "bram",
    "Companies registry tells TPA: no insolvency filing by Hearth Union, only yearly accounts. The bankruptcy story is wrong.",
    "bankrupt-tpa",
    card=(
        "https://tpa.example/night/hearth-accounts",
        "No bankruptcy filing, registry says",
        "A routine form set off a rumour.",
    ),
)
_say(
    "3:02:00",
    "sefton",
    "I got this wrong: Hearth Union filed accounts, not for bankruptcy. Apologies to all.",
    "bankrupt-sefton",
)
_delete("3:02:20", "bankrupt-rumour")
_say(
    "3:06:00",
    "ultra",
    "Equaliser. Port Hallow 1-1, Maro Tindle from outside the box. I am fine. I am not fine. #RoversLive",
    "match-1-1",
)
_say(
    "3:10:00",
    "courier",
    "Lirren mayor, 30 % counted: Sabine Ostermoor 41.2 %, Rafe Calloway-Nuss 40.9 %. A few hundred votes in it.",
    "mayor-30",
)
_say(
    "3:20:00",
    "commission",
    "Partial count, 36 % of stations: Dreyl 49.3 %, Korvane 46.0 %, Quill-Maras 4.7 %.",
    "count-36",
)
_say(
    "3:22:00",
    "tesmarja",
    "開票率36％：ドレイル49.3％、コルヴァーン46.0％、クイル＝マラス4.7％。差は縮まっている。",
    "count-36-ja",
    lang="ja",
)
_say(
    "3:24:00",
    "ultra",
    "ROVERS 3-1?? No, 2-1, the third one is ruled out for offside. Storrow again for the second, 84 minutes. #RoversLive",
    "match-2-1",
)
_say(
    "3:31:00",
    "ultra",
    "FULL TIME: Lirren Rovers 2, Port Hallow 1. We go top. I have no voice and no regrets. #RoversLive",
    "match-final",
)
_say(
    "3:33:00",
    "courier",
    "Full time at the Boatyard: Lirren Rovers 2-1 Port Hallow. Storrow twice, Tindle for the visitors.",
    "match-courier",
)
_say(
    "3:35:00",
    "courier",
    "The Courier projects that OSKAN DREYL wins the presidency of Tesmar.",
    "courier-call",
    card=("https://lirrencourier.example/dreyl-wins", "Dreyl wins, Courier projects", "Our model calls the race"),
)
_say("3:36:00", "parody_dreyl", "As I foretold. Somebody tell the hens. (still parody)", quote="courier-call")
_say("3:37:00", "hearth", "THANK YOU TESMAR! The Courier has called it. #PresidentDreyl", "hearth-claims")
_say(
    "3:38:00",
    "tpa",
    "TPA has NOT called the race. Half of the votes are not counted, among them most of Lirren.",
    "tpa-not-called",
)
_say(
    "3:39:00",
    "bram",
    "One newsroom's model is not a declaration. The commission has declared one region of six.",
    "bram-not-called",
)
_say(
    "3:41:00",
    "commission",
    "DECLARED: Hallovar, all stations counted. Dreyl 312,540 votes, Korvane 238,112, Quill-Maras 27,905.",
    "hallovar-wrong",
)
_say(
    "3:43:00",
    "tpa",
    "Hallovar declared for Dreyl: 312,540 votes against 238,112 for Korvane (commission).",
    "hallovar-tpa",
)
_say(
    "3:45:00",
    "commission",
    "Partial count, 49 % of stations: Dreyl 48.7 %, Korvane 46.7 %, Quill-Maras 4.6 %.",
    "count-49",
)
_say(
    "3:47:00",
    "korvane",
    "We have not won and we have not lost. Half of your votes are still in boxes. Every one will be counted. Sleep is optional.",
    "korvane-wait",
)
_say(
    "3:50:00",
    "fake_tpa",
    "BREAKING: KORVANE WINS. TPA calls the presidential race with 51 %. Share before it is taken down!!",
    "fake-tpa-call",
)
_say("3:51:30", "tpa", "An account named 'TPA Breaking' is not ours. We have called nothing.", "fake-tpa-denied")
_say(
    "3:55:00",
    "dreyl",
    "The numbers are clear. Tesmar has chosen. I thank you as your president-elect. #PresidentDreyl",
    "dreyl-claims",
    video="Oskan Dreyl speaks from a hay wagon; a crowd cheers",
)
_say(
    "3:56:30",
    "tpa",
    "Dreyl claims victory in Hallovar with 49 % of stations counted. The commission has declared no winner.",
    "dreyl-claims-tpa",
)
_say(
    "3:58:00",
    "noemie",
    "Dreyl revendique la victoire, mais la Commission n'a déclaré que deux régions sur six. Rien n'est joué.",
    "dreyl-claims-fr",
    lang="fr",
)
_say(
    "4:02:00",
    "commission",
    "CORRECTION for Hallovar: Dreyl has 321,540 votes, not 312,540. Two digits were swapped in our post. Korvane 238,112 and Quill-Maras 27,905 stand.",
    "hallovar-corrected",
    quote="hallovar-wrong",
)
_say(
    "4:03:30",
    "tpa",
    "Corrected by the commission: Dreyl 321,540 votes in Hallovar.",
    "hallovar-tpa-corrected",
    reply="hallovar-tpa",
)
_say(
    "4:05:00",
    "commission",
    "DECLARED: Dorn Valley, all stations counted. Dreyl 55.3 %, Korvane 40.4 %, Quill-Maras 4.3 %.",
    "dorn-declared",
)
_say(
    "4:06:00",
    "henrike",
    "Dorntal ist ausgezählt: Dreyl 55,3 %, Korvane 40,4 %. Deutlich, aber nicht mehr als erwartet.",
    "dorn-de",
    lang="de",
)
_say(
    "4:08:00",
    "impostor",
    "OFFICIAL: Oskan Dreyl is declared President of Tesmar with 52.6 % of the vote. Counting is suspended.",
    "impostor-call",
)
_say("4:08:50", "student", "THE COMMISSION DECLARED DREYL??? omg", quote="impostor-call")
_say(
    "4:09:30",
    "statto",
    "Look at the handle. T-E-S-R-N-A-R. That is not the commission. Report it, do not quote it.",
    "impostor-spotted",
    reply="impostor-call",
)
_say(
    "4:10:00",
    "commission",
    "Partial count, 62 % of stations: Dreyl 48.1 %, Korvane 47.3 %, Quill-Maras 4.6 %.",
    "count-62",
)
_say(
    "4:11:00",
    "commission",
    "An account that imitates ours has posted a false result. We have declared no president. Our only handle is commission.tesmar.example.",
    "impostor-denied",
)
_say(
    "4:12:30",
    "lupe",
    "Ojo: la cuenta que da ganador a Dreyl es falsa. La Comisión no ha declarado a nadie.",
    "impostor-es",
    lang="es",
)
_gone("4:15:00", "impostor", "takendown")
_say(
    "4:18:00",
    "davi",
    "A conta falsa que imitava a Comissão foi removida. O resultado nacional continua em aberto.",
    "impostor-pt",
    lang="pt",
)
_say(
    "4:20:00",
    "weather",
    "The amber wind warning for the Brume Coast is lifted. The storm has turned north. Marquees may breathe out.",
    "weather-lifted",
)
_say(
    "4:22:00",
    "courier",
    "Our projection of 20:35 was premature and we withdraw it. The race between Dreyl and Korvane is open. We regret the error.",
    "courier-retracts",
)
_edit(
    "4:22:30",
    "courier-call",
    "WITHDRAWN: the Courier no longer projects a winner of the presidency. See our correction.",
)
_delete("4:24:00", "hearth-claims")
_say(
    "4:26:00",
    "courier",
    "Lirren mayor, 71 % counted: Calloway-Nuss 41.6 %, Ostermoor 41.5 %. Yes, the lead has changed.",
    "mayor-71",
)
_say(
    "4:30:00",
    "ulla",
    "I am told the chair of the Electoral Commission, Benedikta Aurel, has RESIGNED over the Hallovar mistake. Working to confirm.",
    "resign-rumour",
)
_say(
    "4:32:00",
    "commission",
    "DECLARED: Kestrin, all stations counted. Korvane 50.4 %, Dreyl 45.0 %, Quill-Maras 4.6 %.",
    "kestrin-declared",
)
_say(
    "4:33:30",
    "diario",
    "Kestrin, definitivo: Korvane 50,4 %, Dreyl 45,0 %. Dos regiones para cada uno.",
    "kestrin-es",
    lang="es",
)
_say(
    "4:35:00",
    "commission",
    "Partial count, 74 % of stations: Korvane 47.8 %, Dreyl 47.6 %, Quill-Maras 4.6 %. Korvane leads for the first time tonight.",
    "count-74",
)
_say(
    "4:36:00",
    "bram",
    "The lead changes hands: Korvane 47.8, Dreyl 47.6 with 74 % of stations counted. Lirren is still mostly out.",
    "count-74-tpa",
)
_say(
    "4:37:30",
    "kaori",
    "開票率74％で初めて逆転。コルヴァーン47.8％、ドレイル47.6％。会場がざわついています。",
    "count-74-ja",
    lang="ja",
)
_say(
    "4:41:00",
    "sefton",
    "Also hearing that chair Aurel has left the building. Resignation letter, people say.",
    "resign-sefton",
)
_say(
    "4:46:00",
    "commission",
    "Chair Benedikta Aurel has not resigned. She went out for soup and is back at her desk. The Hallovar correction is public and complete.",
    "resign-denied",
)
_say("4:47:30", "parody_commission", "We neither confirm nor deny the soup.", reply="resign-denied")
_say(
    "4:49:00",
    "ulla",
    "Correction, my second tonight: chair Aurel has not resigned. I will put the phone down for a while.",
    "resign-correction",
)
_say(
    "4:52:00",
    "junia",
    "I saw Benedikta Aurel walk back in with a paper cup at 21:44. Smelled like leek.",
    "resign-leek",
    alt=("A woman with a paper cup passes a guarded glass door",),
)
_say(
    "4:58:00",
    "commission",
    "DECLARED: Brume Coast, all stations counted. Korvane 49.9 %, Dreyl 46.1 %, Quill-Maras 4.0 %.",
    "brume-declared",
)
_say(
    "4:59:00",
    "gazeta",
    "Costa da Bruma, resultado final: Korvane 49,9 %, Dreyl 46,1 %. Só falta Lirren.",
    "brume-pt",
    lang="pt",
)
_say(
    "5:00:00",
    "commission",
    "Partial count, 86 % of stations: Korvane 48.2 %, Dreyl 47.3 %, Quill-Maras 4.5 %.",
    "count-86",
)
_say(
    "5:04:00",
    "veteran",
    "Now the postal votes in Lirren. Section 41, my old friend. Nobody goes home before eleven.",
    "postal",
)
_say(
    "5:08:00",
    "parody_korvane",
    "We are amused. Let the tide come in. Also the crown is from a bakery. (parody)",
    "parody-crown",
)
_say(
    "5:10:00",
    "quill",
    "I will not win this one. Thank you for every lantern. I ask mine to respect whatever the commission declares, and to sleep.",
    "quill-concedes",
)
_say(
    "5:12:00",
    "tpa",
    "Quill-Maras concedes and backs neither rival. The two leaders are 0.9 points apart.",
    "quill-tpa",
)
_say("5:15:00", "doubter", "So who is president? My feed says both.", "who-is-it")
_say(
    "5:16:00",
    "statto",
    "Nobody yet. The commission has declared five regions and no president. Lirren decides.",
    "nobody-yet",
    reply="who-is-it",
)
_say(
    "5:20:00",
    "commission",
    "Partial count, 94 % of stations: Korvane 48.4 %, Dreyl 47.1 %, Quill-Maras 4.5 %.",
    "count-94",
)
_say(
    "5:22:00",
    "townhall",
    "Mayor of Lirren: the two leading candidates are 61 votes apart. The law requires a recount below 100 votes. It starts on Monday at 09:00. No winner is declared tonight.",
    "mayor-recount",
)
_say("5:24:00", "sabine", "61 votes! Recount on Monday. Nobody has won, everybody should eat.", "mayor-sabine")
_say(
    "5:26:00",
    "rafe",
    "I lead by 61 votes and I would like it noted that I was told my leaflets did nothing. See you at the recount.",
    "mayor-rafe",
)
_say(
    "5:31:00",
    "commission",
    "DECLARED: Lirren, all stations counted. Korvane 54.8 %, Dreyl 40.6 %, Quill-Maras 4.6 %.",
    "lirren-declared",
)
_say(
    "5:33:00",
    "commission",
    "Partial count, 98.6 % of stations: Korvane 48.5 %, Dreyl 47.0 %, Quill-Maras 4.5 %. Votes from abroad follow.",
    "count-98",
)
_say("5:35:00", "tpa", "TPA projects Korvane as the winner. We wait for the commission to declare.", "tpa-projects")

# -- the declaration --------------------------------------------------------------------------------------------
_say(
    "5:41:00",
    "commission",
    "DECLARED: Ilsabet Korvane is elected President of Tesmar with 48.6 % (2,914,377 votes). Dreyl 46.9 % (2,812,430), Quill-Maras 4.5 % (269,854). All stations and votes from abroad are counted.",
    "declared",
)
_say(
    "5:41:40",
    "tpa",
    "It is official: the Electoral Commission declares Ilsabet Korvane President of Tesmar, 48.6 % to 46.9 %.",
    "declared-tpa",
    card=(
        "https://tpa.example/night/korvane-elected",
        "Korvane elected president",
        "Commission declares a margin of 101,947 votes.",
    ),
)
_say(
    "5:42:00",
    "littoral",
    "Officiel : la Commission électorale déclare Ilsabet Korvane présidente du Tesmar, 48,6 % contre 46,9 % à Oskan Dreyl.",
    "declared-fr",
    lang="fr",
)
_say(
    "5:42:30",
    "diario",
    "Oficial: la Comisión Electoral declara a Ilsabet Korvane presidenta de Tesmar con el 48,6 %.",
    "declared-es",
    lang="es",
)
_say(
    "5:42:50",
    "tagblatt",
    "Amtlich: Die Wahlkommission erklärt Ilsabet Korvane mit 48,6 % zur Präsidentin von Tesmar.",
    "declared-de",
    lang="de",
)
_say(
    "5:43:10",
    "gazeta",
    "Oficial: a Comissão Eleitoral declara Ilsabet Korvane presidente de Tesmar, com 48,6 %.",
    "declared-pt",
    lang="pt",
)
_say(
    "5:43:30",
    "tesmarja",
    "選挙管理委員会、イルサベット・コルヴァーン氏の大統領当選を正式に宣言。得票率48.6％。",
    "declared-ja",
    lang="ja",
)
_say(
    "5:44:00",
    "commission",
    "Final turnout: 71.3 % of registered voters. Thank you, Tesmar, and thank you to 41,000 poll workers. #TesmarVotes",
    "turnout-final",
)
_say(
    "5:46:00",
    "statto",
    "Margin: 101,947 votes out of 5,996,661. Both exit polls were within their margins. The kettle is empty.",
    "statto-final",
    quote="declared",
)
_say(
    "5:49:00",
    "dreyl",
    "The commission has declared, and I accept. I spoke too soon tonight. I have called Ilsabet Korvane and wished her luck. Look after the farms.",
    "dreyl-concedes",
    video="Oskan Dreyl speaks in a barn, hens behind him",
)
_say(
    "5:51:00",
    "korvane",
    "Thank you. To those who voted for me, and more to those who did not: I work for you all from tomorrow. Tonight I sleep.",
    "korvane-accepts",
    alt=("Ilsabet Korvane waves from the steps of the harbour hall at night",),
)
_say("5:53:00", "hearth", "We congratulate president-elect Korvane. Hens remain in opposition.", "hearth-concedes")
_say(
    "5:55:00",
    "pollworker",
    "Lights off in the gym. The man with the folding chair stayed until the end. He left the thermos as a gift.",
    "lights-off",
    reply="folding-chair",
)
_say(
    "5:57:00",
    "police",
    "Lirren: celebrations at Fountain Square are peaceful, about 6,000 people. Bridge Street opens at 01:00.",
    "police-celebrate",
)
_say(
    "5:58:30",
    "teacher",
    "Tomorrow's lesson: how to read a handle. Thank you, everyone, for the examples.",
    "lesson",
)
