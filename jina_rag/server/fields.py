"""The fields that requests of both APIs have."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from jina_rag.server.prompts import PromptName, SpelledPrompt, choose_prompt


def _check_texts(value: object) -> list[str]:
    texts: Any = [value] if isinstance(value, str) else value
    if texts == []:
        raise PydanticCustomError("empty", "cannot be empty. Send a text or a list of texts.")
    types = set(map(type, texts)) if isinstance(texts, list) else set()
    if types == {str}:
        return list(texts)
    if types and types <= {int, list}:
        raise PydanticCustomError(
            "tokens",
            "holds token ids, and they would be those of another model's vocabulary. Send texts; in LangChain's "
            "OpenAIEmbeddings set check_embedding_ctx_length=False.",
        )
    raise PydanticCustomError("texts", "must be a string or a list of strings, at least one.")


Texts = Annotated[
    list[str],
    PlainValidator(_check_texts),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}],
            "description": "A text or a list of texts. Arrays of token ids are refused.",
        }
    ),
]
Truncate = Annotated[bool | None, Field(description="Cut texts that are too long instead of refusing them.")]
PromptField = Annotated[
    SpelledPrompt | None, Field(description="query, document or none (the texts carry their prompt).")
]


class Body(BaseModel):
    """A JSON object whose fields are all known: ignoring one could give other vectors than the client believes."""

    model_config = ConfigDict(extra="forbid", strict=True)


class EmbedFields(Body):
    """How to embed."""

    truncate: Truncate = None
    prompt_name: PromptField = None
    input_type: Annotated[SpelledPrompt | None, Field(description="The same, as Elastic and Cohere call it.")] = None
    task: Annotated[SpelledPrompt | None, Field(description="The same, as Jina calls it.")] = None
    normalize: Annotated[bool | None, Field(description="Vectors of unit length; true unless false is sent.")] = None
    dimensions: Annotated[int | None, Field(ge=1, description="A width that the model was trained for.")] = None

    def prompt(self, suffix: PromptName | None = None) -> PromptName | None:
        """The prompt that the fields name, or else the model's name did. Raises as `choose_prompt` does."""
        fields = {"prompt_name": self.prompt_name, "input_type": self.input_type, "task": self.task}
        return choose_prompt(fields, suffix)
