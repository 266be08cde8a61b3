"""What a word is by the way it is written: a number, markup, a name."""

import enum
import re
import string
from collections.abc import Sequence

#: What is written for programs, not for readers: tags, addresses, entities.
_MARKUP = re.compile(r"</?[A-Za-z][^<>]*>|<!--.*?-->|https?://\S+|www\.\S+|&#?\w+;", re.DOTALL)
#: What a sentence ends with, before closing quotation marks and brackets.
_ENDS = (".", "!", "?", ":", ";", "…", ">")
_CLOSING = "\"')]}*_\u201d\u2019\u00bb"
_LONGEST_CLOSE = 20


class Spelling(enum.IntEnum):
    """How a word is written at one place."""

    #: In lower case, or in capitals throughout.
    PLAIN = 0
    #: With a capital first, in the midst of a sentence.
    CAPITAL = 1
    #: As the first of a sentence, where a capital says nothing.
    FIRST = 2
    #: With a digit in it.
    NUMBER = 3
    #: Within a tag, an address or an entity.
    MARKUP = 4


def spellings(text: str, spans: Sequence[tuple[int, int]]) -> list[Spelling]:
    """Say how each word of a text is written.

    Args:
        text: The text.
        spans: Where its words are, as `tuner.data.text.word_spans` gives them.
    """
    # As long as the text, so that places stay; no letter is left of what is markup.
    visible = _MARKUP.sub(lambda found: ">" * len(found[0]), text)
    result = []
    before = 0
    for begin, end in spans:
        word = visible[begin:end]
        letters = word.strip(string.punctuation)
        if not letters:
            result.append(Spelling.MARKUP)
        elif any(map(str.isdigit, letters)):
            result.append(Spelling.NUMBER)
        elif _begins_sentence(visible, before, begin + word.index(letters[0])):
            result.append(Spelling.FIRST)
        elif letters[0].isupper() and letters[1:2].islower():  # not "I", "I'm" or "WORST"
            result.append(Spelling.CAPITAL)
        else:
            result.append(Spelling.PLAIN)
        before = end
    return result


def _begins_sentence(text: str, before: int, first: int) -> bool:
    """Say whether a letter may begin a sentence; the word before it ends at `before`."""
    # A line break, a dash, a quotation mark or a tag in between leaves it open.
    if before == 0 or text[before:first].strip(" (["):
        return True
    return text[max(0, before - _LONGEST_CLOSE) : before].rstrip(_CLOSING).endswith(_ENDS)
