"""Ask a question set that the user brings: what is due is done, and what is shown is carried by its posts."""

from voxpop.evaluation.bench import Bench, Skipped
from voxpop.evaluation.judge import attributed, holds, lacks
from voxpop.evaluation.measures import Goal, Measure, Miss, count, share, tabled
from voxpop.evaluation.questions import Question, read
from voxpop.evaluation.told import Told


async def run(bench: Bench) -> list[Measure]:
    """Of each kind of question how many were treated as is due; sentences shown that their posts do not support."""
    if bench.questions is None:
        raise Skipped("needs --questions, a file of your own (docs/evaluation.md)")
    told: list[tuple[Question, Told]] = []
    for question in bench.steps(bench.some(read(bench.questions, bench.data))):
        store = await bench.recorded(question.posts)
        assistant = bench.assistant(store, authorities=question.authorities)
        told.append(
            (question, await bench.ask(assistant, question.id, question.ask, question.as_of, question.before))
        )
    verdicts = [(q, t, treated(q, t)) for q, t in told]
    sentences = [(q, lacks(s.text, t.posts(s)), s.text) for q, t in told for s in t.sentences]
    return [
        share(
            "questions.right",
            "your questions treated as is due",
            sum(not why for _, _, why in verdicts),
            len(verdicts),
            table=tabled((q.expect, not why) for q, _, why in verdicts),
            misses=tuple(Miss(q.id, why, t.said) for q, t, why in verdicts if why),
        ),
        count(
            "questions.unsupported",
            "sentences shown to your questions that their posts do not support",
            [Miss(q.id, why, text) for q, why, text in sentences if why],
            len(sentences),
            Goal("<=", 0.01 * len(sentences)),
        ),
    ]


def treated(question: Question, told: Told) -> str:
    """Why an answer is not what is due; empty where it is."""
    if question.expect == "abstain":
        return "answered" if told.answered else ""
    if not told.answered:
        return "abstained"
    if question.expect == "contested" and not all(attributed(s.text, told.posts(s)) for s in told.sentences):
        return "told in no one's name"
    if question.answers and not any(holds(told.said, answer) for answer in question.answers):
        return "holds none of the answers"
    return ""
