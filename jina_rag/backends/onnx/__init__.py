"""The same GGUF file in ONNX Runtime: faster at many texts on processors where its matrix products are."""
