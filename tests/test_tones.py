"""Tones: who says of himself that he jests is taken at that word; who writes about jest is not."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxpop import tones
from voxpop.authorities import Authorities
from voxpop.choosing import choose as best
from voxpop.drafts import Draft
from voxpop.engines.quote import opening, quotation
from voxpop.evidence import Evidence, weigh
from voxpop.messages import Message, Passage, Request
from voxpop.posts import Author, Media, Post
from voxpop.prompt import build
from voxpop.retrieval import plan
from voxpop.store import Hit
from voxpop.verification import verify
from voxpop.voices import Voice


def post(text: str, author: Author = Author("x:1", "ann", "Ann"), **more: object) -> Post:  # noqa: B008  a value
    return Post("x:p", "x", author, text, 0, 0, **more)  # type: ignore[arg-type]


NEWS = "The mayor has resigned."

JESTING = [
    ("parody", {"name": "Mayor Brack (parody)"}),
    ("parody", {"name": "Mayor Brack Parody"}),
    ("parody", {"name": "PARODY Mayor Brack", "bio": "Parody account."}),
    ("parody", {"bio": "Your mayor since 2020. Parody account."}),
    ("parody", {"bio": "This is a parody account. Tweets are jokes."}),
    ("parody", {"bio": "Parody of the Harbour Board"}),
    ("parody", {"bio": "News | parody/satire | cats"}),
    ("satire", {"bio": "Obviously satire. DM for soup."}),
    ("satire", {"bio": "A satirical news site"}),
    ("satire", {"name": "The Lirren Trumpet", "bio": "100% satire"}),
    ("satire", {"bio": "#satire #humour"}),
    ("parody", {"handle": "BrackParody"}),
    ("parody", {"handle": "not_the_real_brack"}),
    ("satire", {"handle": "lirren-satire.bsky.social"}),
    ("parody", {"name": "Not The Real Brack"}),
    ("parody", {"name": "Fake Mayor Brack"}),
    ("parody", {"bio": "Not the real mayor of Lirren"}),
    ("parody", {"label": "parody"}),
    ("parody", {"bio": "I am a parody account, don't sue me"}),
    ("parody", {"bio": "Official parody twitter account - not Bob"}),
    ("parody", {"bio": "Parody. Not affiliated with the Board."}),
    ("parody", {"bio": "The (parody) voice of the Board"}),
    ("parody", {"bio": "Not really the Board"}),
    ("satire", {"bio": "Satirical takes on politics"}),
    ("satire", {"bio": "Daily news satire & humor"}),
    ("parody", {"bio": "Compte parodique non officiel"}),
    ("satire", {"bio": "Satire politique !"}),
    ("parody", {"bio": "Cuenta de parodia no oficial"}),
    ("satire", {"bio": "Conta de humor e sátira política"}),
    ("satire", {"bio": "Achtung Satire! Kann Spuren von Ironie enthalten"}),
    ("satire", {"bio": "Dies ist ein Satire-Account."}),
    ("parody", {"bio": "※パロディです"}),
    ("satire", {"bio": "この内容はすべてフィクションです"}),
    ("parody", {"bio": "Compte parodique, aucun lien avec la mairie"}),
    ("satire", {"name": "Le Phare", "bio": "Journal satirique."}),
    ("satire", {"bio": "Infos 100% satire"}),
    ("parody", {"bio": "Cuenta parodia. Humor."}),
    ("satire", {"bio": "Noticias, sátira y humor | sátira"}),
    ("satire", {"bio": "Das hier ist Satire."}),
    ("parody", {"bio": "Parodieaccount • nicht der echte Bürgermeister"}),
    ("parody", {"bio": "Perfil fake. Conta de paródia"}),
    ("satire", {"bio": "Isto é sátira!"}),
    ("parody", {"bio": "このアカウントはパロディです。"}),
    ("satire", {"bio": "虚構ニュース／風刺アカウント"}),
    ("parody", {"bio": "市長本人ではありません。パロディ垢"}),
]
EARNEST = [
    {"bio": "I write about satire and censorship."},
    {"bio": "Satirist, novelist, swimmer"},
    {"bio": "Author of 'A Parody of Manners', out now"},
    {"bio": "Beware of parody accounts of the Board!"},
    {"bio": "Official account. Report fake accounts to the police."},
    {"bio": "Not satire, sadly."},
    {"bio": "No parody here"},
    {"bio": "Professor of law. Satire and parody law."},
    {"bio": "Independent. Not affiliated with any party."},
    {"name": "Museum of Satire"},
    {"name": "Centre for Parody", "bio": "A museum"},
    {"name": "Fake News Watch", "bio": "We check facts."},
    {"handle": "factcheck", "bio": "Fighting fake news"},
    {"handle": "ThisIsntSatire"},
    {"bio": "Not the easiest person. Definitely not a morning one."},
    {"bio": "J'étudie la satire au XVIIIe siècle"},
    {"bio": "Historien de la caricature et de la parodie"},
    {"bio": "Ich schreibe über Satire"},
    {"bio": "Keine Satire, leider"},
    {"bio": "Investigo la sátira política y sus límites"},
    {"bio": "Esto no es una parodia"},
    {"bio": "Pesquisadora da sátira brasileira"},
    {"bio": "パロディ漫画が好き"},
    {"bio": "風刺画の歴史を研究しています"},
    {"name": "Anna Real", "bio": "The real one, not fake"},
    {"bio": "I follow too many parody accounts"},
    {"bio": "Blocked by three parody accounts and a mayor"},
    {"bio": "Comedy writer. Ex satire editor at the Phare."},
    {"bio": "Fan of satire, chess and the sea"},
    {"bio": "Ni satire ni parodie : des faits"},
    {"bio": "No es sátira, es periodismo"},
]


@pytest.mark.parametrize(("wanted", "told"), JESTING)
def test_an_account_that_says_so_jests(wanted: str, told: dict[str, str]) -> None:
    author = Author("x:1")._replace(**{"handle": "ann", "name": "Ann", **told})
    assert tones.of_account(author) == wanted
    assert tones.tone(post(NEWS, author)) == wanted


@pytest.mark.parametrize("told", EARNEST)
def test_an_account_that_speaks_of_jest_is_in_earnest(told: dict[str, str]) -> None:
    author = Author("x:1")._replace(**{"handle": "ann", "name": "Ann", **told})
    assert tones.of_account(author) == ""
    assert tones.tone(post(NEWS, author)) == ""


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ("satire", "Mayor bans Mondays #satire"),
        ("satire", "#Satire Mayor bans Mondays"),
        ("satire", "Mayor bans Mondays. #politics #satire https://a.example/b"),
        ("parody", "I have won again! #parody"),
        ("satire", "[Satire] Mayor bans Mondays"),
        ("satire", "(satire) Mayor bans Mondays"),
        ("parody", "As I foretold. Somebody tell the hens. (still parody)"),
        ("parody", "I have won. Fetch the good hens. (parody)"),
        ("satire", "SATIRE: Mayor bans Mondays"),
        ("satire", "PURE SATIRE | Mayor bans Mondays"),
        ("satire", "Sure, the count was perfect and nobody lost a vote /s"),
        ("satire", "Surely nobody lost a vote.../s"),
        ("satire", "The mayor has banned Mondays. This is satire."),
        ("parody", "The mayor has banned Mondays. Obviously a parody!"),
        ("satire", "Le maire interdit les lundis. #satire"),
        ("satire", "Le maire interdit les lundis. C'est de la satire."),
        ("parody", "[Parodie] Le maire interdit les lundis"),
        ("satire", "El alcalde prohíbe los lunes #sátira"),
        ("satire", "El alcalde prohíbe los lunes. Esto es sátira."),
        ("satire", "Bürgermeister verbietet Montage. (Satire)"),
        ("satire", "Das ist Satire. Der Bürgermeister verbietet Montage."),
        ("satire", "Prefeito proíbe segundas-feiras. Isto é sátira."),
        ("parody", "Prefeito proíbe segundas-feiras #paródia"),
        ("parody", "市長が月曜日を禁止した #パロディ"),
        ("satire", "【風刺】市長が月曜日を禁止した"),
        ("satire", "市長が月曜日を禁止した。（ネタです）"),
    ],
)
def test_a_post_that_says_so_jests(wanted: str, text: str) -> None:
    assert tones.tone(post(text)) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "The court ruled that satire is protected speech.",
        "Parody accounts must now be labelled, says the network.",
        "A satire magazine was attacked this morning. Twelve are dead.",
        "Her new novel is a satire of the art world.",
        "Court protects parody of trademarks #parody #law",
        "New exhibition of political cartoons opens today #satire",
        "The account @fakemayor (parody) was suspended today.",
        "He was fooled by @fakemayor (parody)",
        "This is not satire: the mayor has really banned Mondays.",
        "Not a parody. The mayor has banned Mondays",
        "Satire: how it shapes politics",
        "The editor of the satirical weekly was arrested",
        "It reads like satire, but the law has passed.",
        "The show was cancelled after a sketch (satire) offended the minister.",
        "Un journal satirique attaqué à Paris, plusieurs morts",
        "Le tribunal a jugé la parodie licite #parodie",
        "La revista de sátira fue condenada a pagar 500 euros",
        "Die Satire ist laut Gericht von der Kunstfreiheit gedeckt",
        "Das Satiremagazin erscheint nicht mehr",
        "Jornal de sátira foi invadido nesta manhã",
        "風刺画を掲載した新聞社が襲撃された",
        "パロディ商品の販売を裁判所が差し止めた",
        "The rocket now flies at 30 km/s",
        "Careful, everyone. Fake account!",
        "[Fake account] Somebody writes in the mayor's name",
        "The handle has one letter too many. Parody account.",
        "The judge was blunt. “This is satire.” He dismissed the case.",
        "嘘です。市長は辞任していません。",
        "The vote is over and/s the count begins",
    ],
)
def test_news_about_jest_is_news(text: str) -> None:
    assert tones.tone(post(text)) == ""


def test_this_is_satire_speaks_of_the_post_that_it_answers() -> None:
    text = "Careful, the thing below is old. This is satire."
    assert tones.tone(post(text)) == "satire"
    assert tones.tone(post(text, reply_to="x:q")) == ""
    assert tones.tone(post(text, quote_of="x:q")) == ""
    assert tones.tone(post(text, links=("https://a.example",))) == ""
    assert tones.tone(post(text, media=(Media("card", "https://a.example", "A card"),))) == ""
    assert tones.tone(post("Mayor bans Mondays #satire", reply_to="x:q")) == "satire"


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("Did the bridge fall?", True),
        ("Is it true that the bridge fell? Anyone know?", True),
        ("Est-ce que le pont est tombé ?", True),
        ("橋は落ちましたか？", True),
        ("Did the bridge fall? Police say that it stands.", False),
        ("The bridge fell this morning.", False),
        ("Nice!", False),
        ("", False),
    ],
)
def test_a_post_that_only_asks(text: str, asks: bool) -> None:
    assert tones.only_asks(text) is asks
    assert tones.tone(post(text)) == ("question" if asks else "")


@pytest.mark.parametrize(
    "bio",
    [
        "Unofficial account of the Board", "Fan account", "Not affiliated with the Harbour Board", "run by fans",
        "Compte de fans", "non officiel", "Cuenta no oficial", "Conta não oficial", "Inoffizielle Fanseite",
        "市役所の非公式アカウント",
    ],
)  # fmt: skip
def test_who_is_unofficial_says_so(bio: str) -> None:
    author = Author("x:1", "board", "Board", bio=bio)
    assert tones.unofficial(author)
    assert tones.of_account(author) == ""


@pytest.mark.parametrize(
    "bio", ["Official account", "Not affiliated with any party", "Everyone's number one fan", ""]
)
def test_who_is_independent_is_not_unofficial(bio: str) -> None:
    assert not tones.unofficial(Author("x:1", "board", "Board", bio=bio))


@given(st.text(max_size=400), st.text(max_size=60), st.text(max_size=30), st.text(max_size=300))
def test_any_text_has_a_tone(text: str, name: str, handle: str, bio: str) -> None:
    assert tones.tone(post(text, Author("x:1", handle, name, bio=bio))) in ("", "satire", "parody", "question")


@given(st.sampled_from(["parody ", "satire of ", "#satire ", "(", "of the ", "not the real "]), st.integers(1, 400))
def test_a_long_text_costs_little(piece: str, times: int) -> None:
    tones.tone(post(piece * times, Author("x:1", piece * times, piece * times, bio=piece * times)))


# -- in an answer -----------------------------------------------------------------------------------------------

LISTS = Authorities.of(["did:plc:board"], ["did:plc:paper"])
JESTER = Author("did:plc:jest", "board-jokes.example", "The Board", bio="Parody account.")
BOARD = Author("did:plc:board", "board.example", "The Board")
PAPER = Author("did:plc:paper", "paper.example", "The Paper")


def asked(question: str, *posts: Post) -> tuple[list[Passage], Evidence]:
    hits = [Hit(replace(p, id=f"at://{n}"), 1.0) for n, p in enumerate(posts)]
    read = plan(Request((Message("user", question),)), 10).question
    passages = best(read, hits, LISTS, 12)
    return passages, weigh(read, passages, 10)


def verdict(line: str, passages: list[Passage], evidence: Evidence) -> tuple[bool, str]:
    found = verify(Draft(line, (1,)), {p.number: p for p in passages}, evidence)
    return found.shown, found.reason


def test_a_jest_of_a_listed_account_is_only_somebodys_word() -> None:
    for author in (BOARD, PAPER):
        passages, evidence = asked(
            "Is the bridge in Oss closed?", post("The bridge in Oss is closed. #satire", author)
        )
        assert (passages[0].tone, passages[0].author_class, passages[0].listed) == ("satire", "unknown", False)
        assert {c.standing for c in evidence.judged} == {"attributed"}
    passages, evidence = asked("Is the bridge in Oss closed?", post("The bridge in Oss is closed.", PAPER))
    assert {c.standing for c in evidence.chosen} == {"stated"}


def test_a_passage_made_by_hand_is_not_stated_either() -> None:
    jest = Passage(1, post("The bridge in Oss is closed.", BOARD), author_class="authority", tone="parody")
    read = plan(Request((Message("user", "Is the bridge in Oss closed?"),)), 10).question
    assert {c.standing for c in weigh(read, [jest], 10).judged} == {"attributed"}


def test_jests_do_not_second_a_call() -> None:
    call = "Dreyl has won the election in Tesmar."
    jests = [
        post("Breaking from the hen house: Dreyl has won the Tesmar election by a beak.", JESTER),
        post("My cat can reveal that Dreyl has won, a landslide in Tesmar.", JESTER._replace(id="did:plc:two")),
    ]
    words = (call, "Sirens and songs: Dreyl has just won the Tesmar election!")
    earnest = [post(text, Author(f"did:plc:{n}", f"{n}.bsky.social")) for n, text in zip("ab", words, strict=True)]
    assert asked("Who won the election in Tesmar?", *jests, earnest[0])[1].chosen == ()
    assert asked("Who won the election in Tesmar?", *jests, *earnest)[1].chosen


def test_earnest_words_stand_before_a_jest() -> None:
    jest = post("The bridge in Oss is closed for hens.", JESTER)
    word = post("The bridge in Oss is closed since noon.", Author("did:plc:a", "a.bsky.social"))
    passages, evidence = asked("Is the bridge in Oss closed?", jest, word)
    assert next(p for p in passages if p.number == evidence.chosen[0].number).post.author.handle == "a.bsky.social"


@pytest.mark.parametrize(
    ("lang", "begins"),
    [
        ("en", "@board-jokes.example (parody) says: "), ("fr", "@board-jokes.example (parodie) dit : "),
        ("es", "@board-jokes.example (parodia) dice: "), ("de", "@board-jokes.example (Parodie) sagt: "),
        ("pt", "@board-jokes.example (paródia) diz: "), ("ja", "@board-jokes.example (パロディ): "),
    ],
)  # fmt: skip
def test_an_answer_calls_it_what_it_is_in_its_own_language(lang: str, begins: str) -> None:
    passages, evidence = asked("Is the bridge in Oss closed?", post("The bridge in Oss is closed.", JESTER))
    assert opening(passages[0], lang) == begins
    quoted = quotation(evidence.chosen[0], passages[0], lang)
    assert quoted.startswith(begins)
    assert verdict(quoted, passages, evidence) == (True, "")
    bare = quoted.replace(begins, f"@{JESTER.handle} says: ")
    assert verdict(bare, passages, evidence) == (False, "does not call it parody")


def test_the_engines_own_words_must_call_it_so_too() -> None:
    passages, evidence = asked("Is the bridge in Oss closed?", post("The bridge in Oss is closed.", JESTER))
    said = "says that the bridge in Oss is closed."
    assert verdict(f"@{JESTER.handle} (parody) {said}", passages, evidence) == (True, "")
    assert verdict(f"@{JESTER.handle} {said}", passages, evidence) == (False, "does not call it parody")
    assert not verdict("The bridge in Oss is closed.", passages, evidence)[0]


def test_the_prompt_calls_it_so() -> None:
    passages, evidence = asked("Is the bridge in Oss closed?", post("The bridge in Oss is closed.", JESTER))
    request = Request((Message("user", "Is the bridge in Oss closed?"),))
    voice = Voice("plain", "Plain", "Be plain.")
    made = build(request, plan(request, 10).question, tuple(passages), evidence, voice)
    assert "[1] @board-jokes.example (parody) [unverified]" in made.messages[-1].content
    assert "@board-jokes.example (parody) says: " in str(made.grammar)


def test_who_plays_somebody_does_not_speak_for_them() -> None:
    said = "The bridge in Oss stays closed until the hens have voted."
    actor = Author("did:plc:jest", "hens.bsky.social", "Mayor Brack")
    assert asked("What does Brack say about the bridge?", post(said, actor))[1].judged
    jester = actor._replace(name="Mayor Brack (parody)")
    assert asked("What does Brack say about the bridge?", post(said, jester))[1].judged == ()
