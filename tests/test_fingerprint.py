import dataclasses
import json

import pytest

from jina_rag import Fingerprint, FingerprintMismatchError
from jina_rag.testing import fake_embedder

FINGERPRINT = fake_embedder().fingerprint
CHANGES = {
    "model": "another",
    "quantization": "Q8_0",
    "weights": "0" * 64,
    "dimensions": 32,
    "query_prompt": "Query:",
    "document_prompt": "",
    "pooling": "last",
}


def test_every_field_is_tried_below() -> None:
    assert {field.name for field in dataclasses.fields(Fingerprint)} == set(CHANGES)


@pytest.mark.parametrize("field", CHANGES)
def test_a_change_of_any_field_is_refused_by_name(field: str) -> None:
    other = dataclasses.replace(FINGERPRINT, **{field: CHANGES[field]})  # type: ignore[arg-type]
    assert other.digest != FINGERPRINT.digest
    with pytest.raises(FingerprintMismatchError, match=rf"^Here.*{field} .* there and .* here\. Rebuild it\.\n"):
        FINGERPRINT.check(other, where="Here", remedy="Rebuild it.")


def test_an_equal_one_passes_and_survives_json() -> None:
    again = Fingerprint.from_json(FINGERPRINT.to_json())
    assert again == FINGERPRINT
    assert again.digest == FINGERPRINT.digest
    FINGERPRINT.check(again, where="Here", remedy="")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model": "x", "unknown": 1}', "null"])
def test_a_damaged_one_is_refused(text: str) -> None:
    with pytest.raises(FingerprintMismatchError, match="Rebuild the index"):
        Fingerprint.from_json(text)


@pytest.mark.parametrize("change", CHANGES)
def test_a_files_checksum_says_which_model_it_is(change: str) -> None:
    """Then names are names: the same file may be called otherwise."""
    file = dataclasses.replace(FINGERPRINT, weights="1" * 64)
    other = dataclasses.replace(file, **{change: CHANGES[change]})  # type: ignore[arg-type]
    assert (file.digest == other.digest) == (change in ("model", "quantization"))
    if file.digest == other.digest:
        file.check(other, where="Here", remedy="")


@pytest.mark.parametrize(("field", "value"), [("dimensions", "64"), ("model", None), ("weights", 1)])
def test_fields_of_another_type_are_refused(field: str, value: object) -> None:
    stored = json.dumps(dataclasses.asdict(FINGERPRINT) | {field: value})
    with pytest.raises(FingerprintMismatchError, match=f"{field} is"):
        Fingerprint.from_json(stored)
