"""The engines that can run a model: a module or a package each, all behind `base.EmbeddingBackend`."""
