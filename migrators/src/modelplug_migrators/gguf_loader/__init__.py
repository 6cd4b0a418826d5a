"""The family `gguf-loader`: GGUF Loader, LLM Toolkit, and flat files of llama-cpp-python keywords."""
