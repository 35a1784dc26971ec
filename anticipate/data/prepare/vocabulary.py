"""Names of verbs and nouns, from the names of the actions."""

from collections import Counter
from collections.abc import Sequence

from anticipate.data.prepare.short_term_release import Vocabulary


def name_classes(
    actions: Sequence[str],
    pairs: Sequence[tuple[int, int]],
    separator: str,
    num_verbs: int,
    num_nouns: int,
) -> Vocabulary:
    """Return the vocabulary of a release.

    A verb or noun takes the name that most of its actions give it (EPIC-Kitchens-55 calls the verb
    `take` also `grab` and `pick-up`); one without any action is named after its number.

    Args:
        actions: Name of each action: verb, separator, noun.
        pairs: Verb and noun of each action.
        separator: What stands between verb and noun.
        num_verbs: Size of the verb label space.
        num_nouns: Size of the noun label space.
    """
    words = [action.partition(separator)[::2] for action in actions]
    spaces = []
    for position, (kind, size) in enumerate((("verb", num_verbs), ("noun", num_nouns))):
        found = Counter(
            (pair[position], word[position]) for pair, word in zip(pairs, words, strict=True)
        )
        names = [f"{kind} {number}" for number in range(size)]
        for (number, name), _ in reversed(found.most_common()):
            names[number] = name
        spaces.append(tuple(names))
    verbs, nouns = spaces
    return Vocabulary(tuple(" ".join(word) for word in words), verbs, nouns, tuple(pairs))
