"""The engines that can run a model: one file each, all behind `base.EmbeddingBackend`."""
