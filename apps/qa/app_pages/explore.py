"""Explore the index: a map of it, what is near a passage, what shorter vectors cost, and how similar some texts are."""

import streamlit as st
from charts import CHOSEN, heat_map, map_chart
from escaping import escape
from first_start import is_ready
from matryoshka import MOST_COMPARED, Trial, compare, rank_table, trained_widths
from service import errors_shown, service
from vector_map import (
    MOST_POINTS,
    Plane,
    Sample,
    chunk_label,
    colored_documents,
    first_words,
    fit_plane,
    index_version,
    map_points,
    take_sample,
)

from jina_rag.formatting import file_size
from jina_rag.models import BUNDLED_MODEL
from jina_rag.rag import DocumentIndex
from jina_rag.rag.chunking import Chunk
from jina_rag.rag.text.cleaning import remove_invisible

N_HITS = 10
MOST_TEXTS, LONGEST_TEXT = 12, 500
MULTILINGUAL = """\
The last ferry leaves the island at a quarter to six.
Die letzte Fähre verlässt die Insel um Viertel vor sechs.
Le dernier bateau quitte l'île à six heures moins le quart.
島を出る最終のフェリーは5時45分に出発します。
Our soup of the day is made with leeks and potatoes.
La sopa del día lleva puerros y patatas."""
SECTIONS = {"map": "Map", "shorter": "Shorter vectors", "texts": "Compare texts"}


def main() -> None:
    """Draw the page."""
    with errors_shown():
        if not is_ready():
            return
        st.title("Explore", anchor=False)
        index = service().index
        section = st.segmented_control(
            "Section", SECTIONS, format_func=SECTIONS.__getitem__, default="map", required=True,
            key="section", persist_state="session", label_visibility="collapsed",
        )  # fmt: skip
        {"map": draw_map, "shorter": draw_shorter, "texts": draw_texts}[section or "map"](index)


def draw_map(index: DocumentIndex) -> None:
    """The map, and what is near a passage that is chosen on it or below it."""
    version = index_version(index)
    sample, plane = mapped(version)
    question = question_field("Mark what a question finds")
    query = index.embedder.embed_query(question) if question else None
    hits = [chunk for chunk, _ in index.nearest(query, N_HITS)] if query is not None else []
    points = map_points(sample.chunks, plane.place(sample.vectors))
    marked = map_points(hits, plane.place(index.vectors([chunk.id for chunk in hits]))) if hits else []
    place = plane.place(query) if query is not None else None
    st.altair_chart(
        map_chart(points, colored_documents(sample.chunks), marked, place),
        alt=f"A map of {len(points)} passages as points; passages of similar meaning are near each other.",
        key="map",
        on_select=choose_on_map,
        selection_mode=CHOSEN,
    )
    st.caption(map_caption(index, sample, plane))
    draw_neighbours(index)


def map_caption(index: DocumentIndex, sample: Sample, plane: Plane) -> str:
    """How to read the map, and how far it can be trusted."""
    n_chunks, n_shown = index.count_chunks(), len(sample.chunks)
    shown = f"all {n_shown:,} passages" if n_shown >= n_chunks else f"{n_shown:,} of {n_chunks:,} passages"
    return (
        f"Each point is a passage; this map has {shown}. Near points are mostly similar passages. It is flat, though, "
        f"and shows {plane.share:.0%} of the differences between vectors of {index.embedder.dimensions:,} dimensions: "
        "what a question finds need not be near it. Point at one to read how it begins; click it for its neighbours."
    )


def choose_on_map() -> None:
    """Take the point that was clicked for the passage whose neighbours are shown."""
    points = st.session_state["map"].selection.get(CHOSEN, [])
    chunk = service().index.chunk(points[0]["id"]) if points else None
    if chunk:
        st.session_state["document"], st.session_state["passage"] = chunk.source, chunk.id


def draw_neighbours(index: DocumentIndex) -> None:
    """The passages nearest to one that is chosen."""
    st.subheader("Nearest neighbours of a passage", anchor=False)
    names = {document.source: document.title for document in index.documents()}
    left, right = st.columns([2, 3])
    source = left.selectbox(
        "Document", sorted(names, key=names.__getitem__), format_func=lambda source: remove_invisible(names[source]),
        key="document",
    )  # fmt: skip
    chunks = {chunk.id: chunk for chunk in index.chunks_of(source)}
    chosen = right.selectbox("Passage", chunks, format_func=lambda id_: chunk_label(chunks[id_]), key="passage")
    if chosen is None:
        return
    draw_passage(chunks[chosen])
    found = index.nearest(index.vectors([chosen])[0], 6)
    for chunk, cosine in [(chunk, cosine) for chunk, cosine in found if chunk.id != chosen][:5]:
        draw_passage(chunk, cosine)


def draw_passage(chunk: Chunk, cosine: float | None = None) -> None:
    """A passage with its place."""
    with st.container(border=True):
        near = ":blue-badge[chosen]" if cosine is None else f":gray-badge[cosine {cosine:.3f}]"
        st.markdown(f"{near} {escape(chunk.place)}")
        st.text(remove_invisible(chunk.text) if cosine is None else first_words(chunk, 300))


def draw_shorter(index: DocumentIndex) -> None:
    """The same search over vectors that are kept whole, shorter and in fewer bits."""
    spec, dimensions = index.embedder.spec, index.embedder.dimensions
    st.write(
        "Vectors that are cut shorter, or kept in fewer bits, take less memory and find a little less. Here the same "
        "question is searched in every way, and each is compared with the whole vectors."
    )
    if not spec.matryoshka_dimensions:
        st.info(
            f"{escape(spec.name)} has no Matryoshka training, so its vectors are not cut: they keep their "
            f"{dimensions:,} dimensions. A Jina model would be compared down to 32.",
            icon=":material/info:",
        )
    question = question_field("A question to search for")
    if not question:
        st.caption("Type a question to compare.")
        return
    version = index_version(index)
    trials, chunks = compared(version, question), sample_to_search(version).chunks
    draw_trials(trials)
    st.caption(shorter_caption(len(chunks), index.count_chunks(), len(trials[0].ranking)))
    with st.expander("Where the best of the whole vectors end up"):
        draw_ranks(trials, chunks)


def draw_trials(trials: list[Trial]) -> None:
    """A row for each way of keeping vectors."""
    whole = trials[0]
    st.dataframe(
        [
            {
                "Vectors": "whole (" + trial.name + ")" if trial is whole else trial.name,
                "Same as whole": trial.overlap / len(whole.ranking),
                "Best in common": f"{trial.overlap} of {len(whole.ranking)}",
                "Memory for a million": file_size(trial.bytes_per_vector * 1e6),
                "Time of a search": f"{trial.seconds * 1000:.2f} ms",
            }
            for trial in trials
        ],
        column_config={
            "Same as whole": st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1),
        },
        hide_index=True,
        alt="For each way of keeping vectors: how much it finds of what whole vectors find, memory and time.",
    )


def shorter_caption(n_compared: int, n_chunks: int, k: int) -> str:
    """What the figures are and aren't."""
    of = "" if n_compared == n_chunks else f" of {n_chunks:,}, spread evenly"
    return (
        f"Best {k} of {n_compared:,} passages{of}. One question tells little, and among few passages every way finds "
        "much the same: try several. Memory is for the vectors alone. The times are of a plain search in numpy, which "
        "has no quick product for int8: a database that has one is faster there."
    )


def draw_ranks(trials: list[Trial], chunks: list[Chunk]) -> None:
    """For each of the best by whole vectors: its rank in each way."""
    best = [{"Passage": chunk_label(chunks[place])} for place in trials[0].ranking]
    table = [{**passage, **ranks} for passage, ranks in zip(best, rank_table(trials), strict=True)]
    st.dataframe(
        table, hide_index=True, alt="The rank of each passage in each way; empty where it is not among the best."
    )
    st.caption("An empty cell: not among the best in this way.")


def draw_texts(index: DocumentIndex) -> None:
    """How similar texts are that the reader types."""
    written = st.text_area(
        "Texts, one on each line", MULTILINGUAL, height=190, max_chars=MOST_TEXTS * LONGEST_TEXT, key="texts",
        persist_state="session",
        help=f"Up to {MOST_TEXTS}. They are embedded as passages.",
    )  # fmt: skip
    lines = [line.strip() for line in written.splitlines() if line.strip()]
    texts = tuple(lines[:MOST_TEXTS])
    if len(lines) > MOST_TEXTS:
        st.warning(f"Only the first {MOST_TEXTS} texts are compared.")
    if len(texts) < 2:
        st.info("Write at least two texts, each on a line of its own.")
        return
    vectors = index.embedder.embed_documents(texts)
    cosines = index.embedder.similarity(vectors, vectors)
    st.altair_chart(
        heat_map(cosines), alt=f"The cosine similarity of each of {len(texts)} texts with each.", key="heat"
    )
    for number, text in enumerate(texts, start=1):
        st.text(f"{number}  {remove_invisible(text)}")
    spec = index.embedder.spec
    st.caption(f"Cosine similarity by {escape(spec.name)}: 1 is the same direction, near 0 unrelated.")
    if spec.name == BUNDLED_MODEL:
        st.caption("This model was trained on English. That texts in other languages mean the same, it mostly misses.")


def question_field(label: str) -> str:
    """The question of this page; its sections share it."""
    question = st.text_input(label, max_chars=LONGEST_TEXT, key="explored", persist_state="session")
    return (question or "").strip()


# What takes time is kept for all sessions. `version` only tells indexes apart.


@st.cache_resource(max_entries=2, show_spinner="Drawing the map")
def mapped(version: str) -> tuple[Sample, Plane]:  # noqa: ARG001
    """The passages on the map, and the plane of the map."""
    sample = take_sample(service().index, MOST_POINTS)
    return sample, fit_plane(sample.vectors)


@st.cache_resource(max_entries=1, show_spinner="Reading the vectors")
def sample_to_search(version: str) -> Sample:  # noqa: ARG001
    """The passages that the ways of keeping vectors are compared over."""
    return take_sample(service().index, MOST_COMPARED)


@st.cache_data(max_entries=64, show_spinner="Searching in every way")
def compared(version: str, question: str) -> list[Trial]:
    """A trial of each way for a question."""
    embedder = service().embedder
    query, vectors = embedder.embed_query(question), sample_to_search(version).vectors
    return compare(query, vectors, trained_widths(embedder.spec.matryoshka_dimensions, embedder.dimensions), N_HITS)


main()
