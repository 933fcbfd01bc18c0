"""English texts of a length asked for."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jina_rag.embedder import Embedder


def make_texts(tokens: int, count: int, embedder: "Embedder") -> list[str]:
    """Different English texts of about so many tokens each, prompt and special tokens included; always the same."""
    import numpy as np

    rng = np.random.default_rng(tokens)
    words = " ".join(SENTENCES).split()
    (none,), (all_of_them,) = embedder.count_tokens(["1"]), embedder.count_tokens([" ".join(words)])
    n_words = max(1, round((tokens - none) * len(words) / max(1, all_of_them - none)))
    texts = []
    for number in range(count):
        chosen: list[str] = []
        while len(chosen) < n_words:
            chosen += SENTENCES[rng.integers(len(SENTENCES))].split()
        texts.append(" ".join([str(number), *chosen[: n_words - 1]]))
    return texts


SENTENCES = (
    "The library opens at nine on weekdays and closes before the last train leaves.",
    "Mars looks red because the iron in its soil has rusted over a very long time.",
    "Please keep the receipt, since a repair is only free within two years of purchase.",
    "Bread rises when yeast turns sugar into gas that the dough holds back.",
    "A contract may be ended by either side with three months' notice in writing.",
    "The bridge was closed to lorries after engineers found cracks in two of its pillars.",
    "Whales sleep with one half of the brain at a time so that they keep breathing.",
    "Whoever moves house should tell the bank, the insurer and the tax office.",
    "The new timetable adds a later bus on Fridays and drops the one at noon.",
    "Salt lowers the temperature at which water freezes, which is why roads are salted.",
    "Students who miss the examination for a good reason may sit it again in autumn.",
    "The valley is known for its apples, its steep vineyards and its narrow railway.",
    "To reset the device, hold both buttons until the light turns from green to white.",
    "An invoice must name the seller, the buyer, the date and the amount of tax.",
    "Glaciers carry stones far from where they broke off and leave them in long ridges.",
    "The orchestra rehearses in the old gymnasium while the concert hall is repaired.",
    "Vaccines show the body a harmless part of a germ so that it learns to fight it.",
    "Our guests reach the hut on foot in two hours, and the luggage comes by cable car.",
    "Copper conducts heat better than steel, so good pans have it in their base.",
    "The council voted to plant three hundred trees along the road to the harbour.",
    "Each sample was weighed twice, and the mean of the two figures went into the table.",
    "In winter the ferry runs only when the wind stays below forty knots.",
    "The museum lends its maps to schools and shows the fragile ones on screens.",
    "Rice needs less water when the field dries out between two floodings.",
)
