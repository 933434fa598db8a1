"""Models: fetching them into one canonical directory form, their tokenizers, and building torch modules from them."""
