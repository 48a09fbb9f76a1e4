"""Models on disk and in memory: which versions are loaded, and what they can be asked.

May import `serving.config` and `serving.inference`, and `storage` of `linnaeus`.
"""

__all__ = [
    "catalog",
    "config_polling",
    "loading",
    "model_config",
    "saved_models",
    "servable",
    "version_folder",
    "versions",
]
